import { readFile } from 'node:fs/promises'
import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { shown, type Input, type Terminal } from './command.ts'
import { connect, runningService, siteDirectory, type Connection } from './connection.ts'
import { withProgress } from './progress.ts'

/** What is given after the verb. @throws AirsealError USAGE */
function argumentsOf(input: Input, what: string): readonly string[] {
  const [, ...rest] = input.positionals
  if (rest.length === 0)
    throw new AirsealError('USAGE', `policy ${input.positionals[0] ?? ''}: no ${what} given`)
  return rest
}

/** The files as one text of several documents. @throws AirsealError USAGE */
async function textOf(paths: readonly string[]): Promise<string> {
  const texts = await Promise.all(
    paths.map((path) =>
      readFile(path === '-' ? '/dev/stdin' : path, 'utf8').catch((cause: unknown) => {
        throw new AirsealError('USAGE', `${path} can't be read`, { cause })
      }),
    ),
  )
  return texts.join('\n---\n')
}

async function withConnection<T>(
  input: Input,
  terminal: Terminal,
  work: (connection: Connection) => Promise<T>,
  open: typeof connect = connect,
): Promise<T> {
  const connection = await open(input, terminal)
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}

function print(terminal: Terminal, input: Input, answer: Json, text: () => string): void {
  terminal.stdout(input.json ? `${JSON.stringify(answer)}\n` : text())
}

function objects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}

function memberOf(answer: Json, name: string): readonly JsonObject[] {
  return isObject(answer) ? objects(answer[name]) : []
}

export async function addPolicies(input: Input, terminal: Terminal): Promise<number> {
  const text = await textOf(argumentsOf(input, 'FILE'))
  const answer = await withConnection(input, terminal, (site) =>
    site.call('admission/add', { text }),
  )
  print(terminal, input, answer, () =>
    memberOf(answer, 'policies')
      .map(({ name, revision }) => `${shown(name)} is in force (revision ${shown(revision)})\n`)
      .join(''),
  )
  return 0
}

export async function listPolicies(input: Input, terminal: Terminal): Promise<number> {
  const answer = await withConnection(input, terminal, (site) => site.call('admission/list', {}))
  print(terminal, input, answer, () => {
    const rows = memberOf(answer, 'policies').map(
      ({ name, revision }) => `${shown(name)}  revision ${shown(revision)}\n`,
    )
    return rows.join('')
  })
  return 0
}

export async function showPolicy(input: Input, terminal: Terminal): Promise<number> {
  const [name = ''] = argumentsOf(input, 'NAME')
  const answer = await withConnection(input, terminal, (site) =>
    site.call('admission/show', { name }),
  )
  const { stringify } = await import('yaml')
  print(terminal, input, answer, () => (isObject(answer) ? stringify(answer['document']) : ''))
  return 0
}

export async function removePolicy(input: Input, terminal: Terminal): Promise<number> {
  const [name = ''] = argumentsOf(input, 'NAME')
  const answer = await withConnection(input, terminal, (site) =>
    site.call('admission/remove', { name }),
  )
  print(terminal, input, answer, () => `${name} is no longer in force\n`)
  return 0
}

export async function lintPolicies(input: Input, terminal: Terminal): Promise<number> {
  const text = await textOf(argumentsOf(input, 'FILE'))
  const answer = await withConnection(
    input,
    terminal,
    (site) => site.call('policy/lint', { text }),
    localOrService,
  )
  const findings = memberOf(answer, 'findings')
  print(terminal, input, answer, () => {
    const found = findings.map(
      ({ policy, message, remedy }) =>
        `${shown(policy)}: ${shown(message)}\n    ${shown(remedy)}\n`,
    )
    const notes = memberOf(answer, 'notes').map(
      ({ policy, rule, message }) =>
        `note: ${shown(policy)}${rule === null ? '' : `, rule ${shown(rule)}`}: ${shown(message)}\n`,
    )
    const count = findings.length
    return [...found, ...notes, `${count} ${count === 1 ? 'finding' : 'findings'}\n`].join('')
  })
  return findings.length === 0 ? 0 : 1
}

export async function testManifests(input: Input, terminal: Terminal): Promise<number> {
  const policies = await textOf(argumentsOf(input, 'FILE'))
  const paths = input.texts('resource')
  if (paths.length === 0) throw new AirsealError('USAGE', 'policy test: no --resource given')
  const resources = await textOf(paths)
  const answer = await withConnection(
    input,
    terminal,
    (site) =>
      withProgress(
        terminal,
        input.json,
        'judging the manifests',
        site.call('admission/test', { policies, resources }),
      ),
    localOrService,
  )
  const results = memberOf(answer, 'results')
  print(terminal, input, answer, () => results.map(resultText).join('') + summaryText(results))
  return results.every(({ allowed }) => allowed === true) ? 0 : 1
}

function resultText({ resource, allowed, message, rules, patch, warnings }: JsonObject): string {
  const lines = objects(rules).map(
    ({ policy, rule, status, message: why }) =>
      `  ${shown(status).padEnd(5)} ${shown(policy)}/${shown(rule)}: ${shown(why)}\n`,
  )
  const pins = objects(patch)
    .filter(({ op }) => op === 'replace')
    .map(({ path, value }) => `  pin   ${shown(path)} = ${shown(value)}\n`)
  const said = Array.isArray(warnings) ? warnings.map((one) => `  warn  ${shown(one)}\n`) : []
  const verdict = allowed === true ? 'allowed' : `denied: ${shown(message)}`
  return `${shown(resource)}: ${verdict}\n${lines.join('')}${pins.join('')}${said.join('')}`
}

function summaryText(results: readonly JsonObject[]): string {
  const count = (status: string): number =>
    results.flatMap(({ rules }) => objects(rules)).filter((rule) => rule['status'] === status)
      .length
  return `\npass: ${count('pass')}, fail: ${count('fail')}, error: ${count('error')}, skip: ${count('skip')}\n`
}

/** The service when one runs; else this process, by the public files of the data directory, or by what the policies bring alone. */
async function localOrService(input: Input, terminal: Terminal): Promise<Connection> {
  if (input.text('server') !== null) return connect(input, terminal)
  const directory = siteDirectory(input, terminal)
  const service = await runningService(directory)
  if (service !== null) return service
  const { localAdmission } = await import('./local-admission.ts')
  return localAdmission(directory, input)
}
