import { accessSync, constants, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** Where `.ci/install-clients` puts what it builds. */
const TOOLS =
  process.env['AIRSEAL_TOOLS'] ??
  join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'airseal-tools')

/** Programs of the system, with the package that brings them. All others are built at the version that `.ci/install-clients` names. */
const PACKAGES: ReadonlyMap<string, string> = new Map([
  ['docker-registry', 'docker-registry'],
  ['systemd-analyze', 'systemd'],
  ['openssl', 'openssl'],
  ['softhsm2-util', 'softhsm2'],
  ['certutil', 'libnss3-tools'],
  ['cc', 'gcc'],
  ['unshare', 'util-linux'],
  ['nsenter', 'util-linux'],

  ['ip', 'iproute2'],
  ['strace', 'strace'],
])

const INSTALL = new URL('../../.ci/install-clients', import.meta.url)

/** The version of a program that `.ci/install-clients` asks for; null when it isn't built from a released module. */
export function pinnedVersion(name: string): string | null {
  const text = readFileSync(INSTALL, 'utf8')
  return new RegExp(`\\binstall(?:_with_replaces)? ${name} (v\\S+) `).exec(text)?.[1] ?? null
}

/** Path of a program, or null. A built one counts only at its pinned version: another may behave differently. */
export function program(name: string): string | null {
  if (PACKAGES.has(name)) return onPath(name)
  const path = join(TOOLS, 'bin', name)
  if (!isExecutable(path)) return null
  const version = pinnedVersion(name)
  return version === null || stampOf(name) === version ? path : null
}

/** Path of a program that `needs` has found. */
export function requiredProgram(name: string): string {
  const path = program(name)
  if (path === null) throw new Error(howToInstall(name))
  return path
}

/** What a test asks of its environment, as options of `t.test`. */
export interface Skippable {
  readonly skip?: string
}

/**
 * Options for a test that drives real programs: `t.test(title, needs('crane', 'cosign3'), …)`. What is missing makes it a
 * visible skip with the command that installs it, or, under AIRSEAL_REQUIRE_PROGRAMS, an error.
 */
export function needs(...names: readonly string[]): Skippable {
  const missing = names.filter((name) => program(name) === null).map(howToInstall)
  if (missing.length === 0) return {}
  if (process.env['AIRSEAL_REQUIRE_PROGRAMS']) throw new Error(missing.join('; '))
  return { skip: missing.join('; ') }
}

function howToInstall(name: string): string {
  const debian = PACKAGES.get(name)
  const command = debian === undefined ? `.ci/install-clients ${name}` : `apt-get install ${debian}`
  return `${name} is not there: run ${command}`
}

function stampOf(name: string): string | null {
  try {
    return readFileSync(join(TOOLS, 'stamp', name), 'utf8').trim()
  } catch {
    return null
  }
}

function onPath(name: string): string | null {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.map((folder) => join(folder, name)).find(isExecutable) ?? null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
