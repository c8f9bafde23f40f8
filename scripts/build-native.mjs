// Compiles native/ecdsa.c where a C compiler is present. Optional speed, never a condition: whatever goes wrong, one line says so and
// the exit code is 0, since airseal then verifies with its portable code.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(root, 'native', 'ecdsa.c')
const folder = join(root, 'native', 'build', `${process.platform}-${process.arch}`)
const target = join(folder, 'ecdsa.node')

/** Headers of the pinned runtime; beside the program for a runtime from elsewhere. */
function headers() {
  const require = createRequire(join(root, 'package.json'))
  const places = [join(dirname(dirname(process.execPath)), 'include', 'node')]
  try {
    const pinned = require.resolve(`node-${process.platform}-${process.arch}/package.json`)
    places.unshift(join(dirname(pinned), 'include', 'node'))
  } catch {
    // Not installed for this platform.
  }
  return places.find(
    (place) => existsSync(join(place, 'node_api.h')) && existsSync(join(place, 'openssl', 'evp.h')),
  )
}

function compiler() {
  for (const name of [process.env.CC, 'cc', 'gcc', 'clang']) {
    if (!name) continue
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' })
      return name
    } catch {
      // Try the next one.
    }
  }
  return undefined
}

function build() {
  if (!existsSync(source))
    return 'native verification: no source in this package, portable code is used'
  if (existsSync(target) && statSync(target).mtimeMs > statSync(source).mtimeMs) {
    return 'native verification: up to date'
  }
  const include = headers()
  if (include === undefined) return 'native verification: no Node headers, portable code is used'
  const cc = compiler()
  if (cc === undefined) return 'native verification: no C compiler, portable code is used'
  mkdirSync(folder, { recursive: true })
  const fresh = `${target}.${process.pid}`
  try {
    // -z now: a symbol that the runtime lacks stops the loading, not a later verification.
    const hardening = ['-fstack-protector-strong', '-Wl,-z,relro,-z,now']
    const flags = process.platform === 'linux' ? hardening : ['-undefined', 'dynamic_lookup']
    const options = ['-std=c11', '-O2', '-Wall', '-Wextra', '-shared', '-fPIC', ...flags]
    execFileSync(cc, [...options, `-I${include}`, source, '-o', fresh], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    renameSync(fresh, target)
    return `native verification: built with ${cc}`
  } finally {
    rmSync(fresh, { force: true })
  }
}

try {
  console.log(build())
} catch (error) {
  const line =
    String(error.stderr ?? error.message)
      .split('\n')
      .find((text) => /error|:/.test(text)) ?? ''
  console.log(
    `native verification: not built, portable code is used (${line.trim().slice(0, 160)})`,
  )
}
