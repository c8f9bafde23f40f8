import { logKeyFromPem } from './receipts.ts'
import type { LogKey } from './receipts.ts'

/** A log that speaks the Rekor v1 API on loopback, with every process that it is made of. */
export interface LogServer {
  readonly name: string
  readonly port: number
  readonly pids: readonly number[]
  stop(): Promise<void>
}

/** The log's public key, as the log itself serves it. */
export async function logKey(server: LogServer): Promise<LogKey> {
  return logKeyFromPem(await get(server, '/api/v1/log/publicKey'))
}

/** Number of leaves in the log's tree. */
export async function treeSize(server: LogServer): Promise<number> {
  const info = JSON.parse(await get(server, '/api/v1/log')) as { treeSize: number }
  return info.treeSize
}

async function get(server: LogServer, path: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`)
  const text = await response.text()
  if (!response.ok) {
    throw new Error(`${server.name}: GET ${path} answered ${response.status}: ${text}`)
  }
  return text
}
