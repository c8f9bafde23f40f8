import { readFile } from 'node:fs/promises'
import { AirsealError, isObject, sha256Hex, type JsonObject } from '../core/index.ts'
import { SITE_OPTIONS, shown, type Command } from './command.ts'
import { connect, type Connection } from './connection.ts'

export const command: Command = {
  name: 'bundle peer',
  summary: 'Makes another side known by its trust bundle.',
  usage: 'FILE',
  takesArguments: true,
  description: `
FILE is the trust bundle of a side whose bundles are imported here, or whose receipts are taken here. Somebody must have brought it on a way that
is trusted: from now on its roots decide what counts as signed by that side. Newer trust of a side that is known already must be signed by
the roots in force.`,
  options: SITE_OPTIONS,
  examples: ['airseal bundle peer sender-trust.json'],
  exitCodes: [[3, 'service or key not available']],
  async run(input, terminal) {
    const [file = ''] = input.required('FILE')
    const connection = await connect(input, terminal)
    try {
      const answer = await addPeer(connection, file)
      terminal.stdout(input.json ? `${JSON.stringify(answer)}\n` : peerText(answer))
      return 0
    } finally {
      await connection.close()
    }
  },
}

/** Makes the side known whose trust bundle is in the file. @throws AirsealError USAGE, TRUST_… */
export async function addPeer(connection: Connection, file: string): Promise<JsonObject> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `${file} can't be read`, { cause })
  })
  const answer = await connection.call('bundle/peer', { trust: bytes.toString('utf8') })
  return { ...(isObject(answer) ? answer : {}), sha256: sha256Hex(bytes) }
}

export function peerText(answer: JsonObject): string {
  return `${shown(answer['enclave'])} is known with trust version ${shown(answer['version'])}; the file has SHA-256 ${shown(answer['sha256'])}: compare it with the other side's\n`
}
