// Stand-ins for AWS KMS that others wrote. Neither is AWS.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, startProcess, waitUntil, type Lifetime } from '../../support/processes.ts'
import { requiredProgram } from '../../support/programs.ts'

export const REGION = 'us-east-1'
const TUNNEL = new URL('tunnel.ts', import.meta.url).pathname

/** The SDK's usual chain finds these. They open nothing. */
export function useTestCredentials(): void {
  process.env['AWS_ACCESS_KEY_ID'] = 'AKIDTEST'
  process.env['AWS_SECRET_ACCESS_KEY'] = 'secret'
}

async function answers(endpoint: string): Promise<boolean> {
  await fetch(endpoint, { signal: AbortSignal.timeout(1_000) })
  return true
}

/** moto server. @returns its endpoint */
export async function startMoto(t: Lifetime): Promise<string> {
  const port = await freePort()
  const args = ['-H', '127.0.0.1', '-p', String(port)]
  const started = startProcess(t, requiredProgram('moto_server'), args)
  const endpoint = `http://127.0.0.1:${port}`
  await waitUntil(started, () => answers(endpoint), 60_000)
  return endpoint
}

/** local-kms, which listens on every interface: it gets a network namespace with nothing but a loopback. @returns its endpoint */
export async function startLocalKms(t: Lifetime): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'airseal-local-kms-'))
  const data = join(directory, 'data')
  mkdirSync(data)
  const socket = join(directory, 'socket')
  const shell = 'ip link set lo up && exec "$@"'
  const inside = [process.execPath, TUNNEL, socket, '8080', requiredProgram('local-kms')]
  const args = ['--net', '--', 'sh', '-c', shell, 'sh', ...inside]
  const env = { ...process.env, KMS_DATA_PATH: data, KMS_REGION: REGION }
  const started = startProcess(t, requiredProgram('unshare'), args, { env })
  const server = createServer((from) => {
    const to = connect(socket)
    from.on('error', () => to.destroy())
    to.on('error', () => from.destroy())
    from.pipe(to).pipe(from)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    rmSync(directory, { recursive: true, force: true })
  })
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  await waitUntil(started, () => answers(endpoint))
  return endpoint
}
