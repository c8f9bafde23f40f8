import { join } from 'node:path'
import type { LogServer } from './log-server.ts'
import { answers, freePort } from './workspace.ts'
import type { Workspace } from './workspace.ts'

export const AIRSEAL = join(import.meta.dirname, '..', 'bin', 'airseal')

/** airseal as `npm start` runs it; `data` is created when it does not exist. `name` names its log file. */
export async function startAirseal(
  workspace: Workspace,
  name: string,
  data: string,
): Promise<LogServer> {
  const port = await freePort()
  const server = workspace.start(name, AIRSEAL, [
    'serve',
    '--init',
    '--data',
    data,
    '--listen',
    `127.0.0.1:${port}`,
  ])
  await workspace.waitFor(server, () => answers(`http://127.0.0.1:${port}/readyz`))
  return { name: 'airseal', port, pids: [server.pid], stop: () => server.stop() }
}
