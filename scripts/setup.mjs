// Makes a clone ready to run: dependencies (the pinned runtime among them) and the native addon. Every npm script begins
// with it, so it must be quick when nothing is to be done. Plain JavaScript for whatever Node started npm, from 20 on.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter, join, resolve } from 'node:path'

const root = resolve(import.meta.dirname ?? new URL('.', import.meta.url).pathname, '..')
const at = (...parts) => join(root, ...parts)

/** Milliseconds of the last change; 0 when it isn't there. */
const changed = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0

function say(text) {
  process.stderr.write(`setup: ${text}\n`)
}

function stop(text) {
  say(text)
  process.exit(3)
}

/** npm leaves this file behind when it has finished; a tree without it is half installed. */
const INSTALLED = at('node_modules', '.package-lock.json')

/** The packages that npm put there, against those the lock file asks for. Read only when the times don't tell. */
function sameAsLocked() {
  const packages = (path) => {
    const { '': _root, ...all } = JSON.parse(readFileSync(path, 'utf8')).packages
    return all
  }
  const wanted = packages(at('package-lock.json'))
  const there = packages(INSTALLED)
  // What is optional may rightly be missing: it is for another platform.
  return Object.entries(wanted).every(([path, { version, optional }]) =>
    there[path] ? there[path].version === version : optional === true,
  )
}

function dependenciesReady() {
  const installed = changed(INSTALLED)
  if (installed === 0) return false
  // After a fresh checkout the lock file is always younger, though nothing in it has changed.
  return installed >= changed(at('package-lock.json')) || sameAsLocked()
}

/** The npm that started us, where there is one, with the arguments that come first; its own settings of this run must not leak in. */
function npmCommand() {
  const npm = process.env.npm_execpath
  return npm && /\.[cm]?js$/.test(npm) ? [process.execPath, [npm]] : ['npm', []]
}

function installDependencies() {
  if (dependenciesReady()) return
  say('installing dependencies (npm ci), once…')
  const [command, npmArgs] = npmCommand()
  const args = [...npmArgs, 'ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
  const { error, status } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error) stop(`npm can't be started (${error.message}): install npm, then run this again`)
  if (status !== 0) {
    stop(
      'npm ci failed (see above). Without a network, copy node_modules from a machine of the same kind where it succeeded, then run this again',
    )
  }
}

/** Looked for before the build is started, so that a machine without one isn't slowed down at each start. */
function hasCompiler() {
  if (process.env.CC) return true
  const folders = (process.env.PATH ?? '').split(delimiter)
  return ['cc', 'gcc', 'clang'].some((name) =>
    folders.some((folder) => existsSync(join(folder, name))),
  )
}

/** The addon only makes verification faster: without a compiler airseal runs on JavaScript, and says so at start. */
function buildAddon() {
  const script = at('scripts', 'build-native.mjs')
  if (!existsSync(script)) return
  const sources = readdirSync(at('native')).filter((name) => /\.(c|h)$/.test(name))
  const newest = Math.max(0, ...[script, ...sources.map((name) => at('native', name))].map(changed))
  const folder = at('native', 'build')
  const built = existsSync(folder)
    ? Math.max(0, ...readdirSync(folder).map((name) => changed(join(folder, name))))
    : 0
  if (sources.length === 0 || built >= newest || !hasCompiler()) return
  const { error, status } = spawnSync(process.execPath, [script], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  })
  if (error || status !== 0)
    say('the native addon was not built; airseal works without it, verifying more slowly')
}

/**
 * pkcs11js comes as source, and npm runs no install scripts unless told to. It is compiled with the headers that the pinned runtime
 * brings: none are downloaded. Without compiler or Python only `pkcs11:` keys are missing, and they say so.
 */
function buildPkcs11() {
  const folder = at('node_modules', 'pkcs11js')
  const headers = at('node_modules', `node-linux-${process.arch}`)
  const built = join(folder, 'build', 'Release', 'pkcs11.node')
  if (!existsSync(folder) || !existsSync(headers) || existsSync(built)) return
  const paths = (process.env.PATH ?? '').split(delimiter)
  const has = (name) => paths.some((path) => existsSync(join(path, name)))
  if (!['c++', 'make', 'python3'].every(has)) return
  say('compiling pkcs11js, once…')
  const [command, npmArgs] = npmCommand()
  const args = [...npmArgs, 'rebuild', 'pkcs11js', '--ignore-scripts=false', '--loglevel=error']
  const env = { ...process.env, npm_config_nodedir: headers }
  spawnSync(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'], env })
  if (!existsSync(built)) say('pkcs11js was not built; pkcs11: keys will not work')
}

/** The pinned runtime is an optional package, so npm is silent when it could not bring it. */
function checkRuntime() {
  if (process.platform !== 'linux') return
  try {
    createRequire(at('package.json')).resolve(`node-linux-${process.arch}/package.json`)
  } catch {
    say(
      `the pinned runtime node-linux-${process.arch} is missing; airseal falls back to the Node on PATH, if that is new enough`,
    )
  }
}

installDependencies()
buildAddon()
buildPkcs11()
checkRuntime()
