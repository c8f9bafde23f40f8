// Runs mutants of the verifier for StrykerJS inside one process: a process a mutant would take hours. A mutant that never ends is ended with
// the process, which Stryker starts anew.
import { registerHooks } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { commonTokens, declareClassPlugin, PluginKind, tokens } from '@stryker-mutator/api/plugin'
import { DryRunStatus, MutantRunStatus, TestStatus } from '@stryker-mutator/api/test-runner'
import { collected } from './mutation-tap.mjs'

const TAP = new URL('./mutation-tap.mjs', import.meta.url).href
const CHECKS = 'test/verify/every-check.ts'

class InProcessRunner {
  static inject = tokens(commonTokens.logger)
  #state

  capabilities() {
    return { reloadEnvironment: false }
  }

  async init() {
    registerHooks({
      resolve: (specifier, context, next) =>
        specifier === 'tap' ? { url: TAP, shortCircuit: true } : next(specifier, context),
    })
    this.#state = globalThis.__stryker__ ??= {}
    await import(pathToFileURL(resolve(CHECKS)).href)
  }

  async dryRun() {
    const tests = []
    for (const { name, run } of collected) {
      this.#state.currentTestId = name
      const started = performance.now()
      const failure = await failureOf(run)
      const common = { id: name, name, timeSpentMs: performance.now() - started }
      tests.push(
        failure === null
          ? { ...common, status: TestStatus.Success }
          : { ...common, status: TestStatus.Failed, failureMessage: failure },
      )
    }
    this.#state.currentTestId = undefined
    return { status: DryRunStatus.Complete, tests, mutantCoverage: this.#state.mutantCoverage }
  }

  async mutantRun({ activeMutant, testFilter, hitLimit }) {
    Object.assign(this.#state, { activeMutant: activeMutant.id, hitCount: 0, hitLimit })
    // The tests that took part in the dry run; the cheap ones come first.
    const chosen = collected.filter(
      ({ name }) => testFilter === undefined || testFilter.includes(name),
    )
    let done = 0
    try {
      for (const { name, run } of chosen) {
        done++
        const failure = await failureOf(run)
        if (this.#state.hitCount > hitLimit)
          return { status: MutantRunStatus.Timeout, reason: 'hit limit' }
        if (failure !== null) {
          return {
            status: MutantRunStatus.Killed,
            failureMessage: failure,
            killedBy: [name],
            nrOfTests: done,
          }
        }
      }
      return { status: MutantRunStatus.Survived, nrOfTests: done }
    } finally {
      this.#state.activeMutant = undefined
    }
  }
}

async function failureOf(run) {
  try {
    await run()
    return null
  } catch (error) {
    return String(error?.message ?? error)
  }
}

export const strykerPlugins = [
  declareClassPlugin(PluginKind.TestRunner, 'in-process', InProcessRunner),
]
