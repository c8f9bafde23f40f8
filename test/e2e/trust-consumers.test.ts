import { execPath } from 'node:process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { needs, program } from '../support/programs.ts'

/** The files that airseal makes for its consumers, as they are made, read by these consumers on a machine without any route. */

const PROGRAMS = [
  'crane',
  'kyverno',
  'policy-tester',
  'containers-policy',
  'unshare',
  'ip',
] as const
const CHILD = fileURLToPath(new URL('./trust-consumers/child.ts', import.meta.url))

const LIMIT_MS = 600_000
t.setTimeout(LIMIT_MS)

await t.test(
  'consumers on a machine without a route',
  { ...needs(...PROGRAMS), timeout: LIMIT_MS },
  async (t) => {
    const loopback = 'ip link set lo up && exec "$0" "$@"'
    const unshare = program('unshare') ?? ''
    await t.spawn(unshare, ['--map-root-user', '--net', 'sh', '-c', loopback, execPath, CHILD], {
      timeout: LIMIT_MS,
    })
  },
)
