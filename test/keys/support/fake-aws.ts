// A fake of AWS KMS (JSON 1.1) for faults that no stand-in makes on demand, and for Ed25519, which none has. Written from the
// service's public reference; it checks no signatures of requests.
import { createHash, randomUUID, sign, type KeyObject } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { KEY_ALGORITHMS, type KeyAlgorithm } from '../../../src/core/index.ts'
import type { Lifetime } from '../../support/processes.ts'
import { pairOf, signDigest } from './sign-digest.ts'

/** What the next Sign request meets; when the list is empty, nothing. */
export type AwsFault =
  | { readonly status: number; readonly type: string; readonly headers?: Record<string, string> }
  | 'reset'
  | 'silent'
  | 'other-key'
  | 'other-key-named'
  | 'double-hash'
  | 'truncated'

export interface FakeAws {
  readonly endpoint: string
  readonly faults: AwsFault[]
  /** Alias → ARN; tests move them. */
  readonly aliases: Map<string, string>
  /** Sign requests seen. */
  signs(): number
  /** X-Amz-Date of the requests, the newest last. */
  readonly dates: string[]
  makeKey(algorithm: string): string
  setState(arn: string, state: string): void
}

interface FakeKey {
  readonly algorithm: KeyAlgorithm
  readonly arn: string
  readonly privateKey: KeyObject
  readonly spki: Buffer
  state: string
}

type Fields = Readonly<Record<string, string | undefined>>

export async function startFakeAws(t: Lifetime): Promise<FakeAws> {
  const keys = new Map<string, FakeKey>()
  const aliases = new Map<string, string>()
  const faults: AwsFault[] = []
  const dates: string[] = []
  let signs = 0

  function makeKey(name: string): string {
    const algorithm = KEY_ALGORITHMS.get(name)
    if (algorithm === undefined) throw new Error(`no algorithm ${name}`)
    const arn = `arn:aws:kms:us-east-1:111122223333:key/${randomUUID()}`
    const { privateKey, publicKey } = pairOf(algorithm)
    const spki = publicKey.export({ format: 'der', type: 'spki' })
    keys.set(arn, { algorithm, arn, privateKey, spki, state: 'Enabled' })
    return arn
  }

  function find(id = ''): FakeKey {
    const key = keys.get(aliases.get(id) ?? id)
    if (key === undefined) throw new Fault(400, 'NotFoundException')
    return key
  }

  function answer(operation: string, fields: Fields): unknown {
    switch (operation) {
      case 'CreateKey': {
        const facts = [...KEY_ALGORITHMS.values()].find(
          ({ aws }) => aws.keySpec === fields['KeySpec'],
        )
        return { KeyMetadata: metadata(find(makeKey(facts?.name ?? ''))) }
      }
      case 'CreateAlias':
        aliases.set(fields['AliasName'] ?? '', fields['TargetKeyId'] ?? '')
        return {}
      case 'DescribeKey':
        return { KeyMetadata: metadata(find(fields['KeyId'])) }
      case 'GetPublicKey': {
        const { arn, spki, algorithm } = find(fields['KeyId'])
        const PublicKey = spki.toString('base64')
        return { KeyId: arn, PublicKey, SigningAlgorithms: [algorithm.aws.signing] }
      }
      case 'Sign':
        return signed(find(fields['KeyId']), fields)
      default:
        throw new Fault(400, 'UnknownOperationException')
    }
  }

  function signed(key: FakeKey, fields: Fields): unknown {
    signs += 1
    const fault = faults.shift()
    if (typeof fault === 'object') throw new Fault(fault.status, fault.type, fault.headers)
    if (fault === 'reset' || fault === 'silent') throw new Fault(0, fault)
    if (key.state !== 'Enabled') throw new Fault(400, 'DisabledException')
    const isOther = fault === 'other-key' || fault === 'other-key-named'
    const used = isOther ? find(makeKey(key.algorithm.name)) : key
    const given = Buffer.from(fields['Message'] ?? '', 'base64')
    const hash = key.algorithm.hash
    const input =
      fault === 'double-hash' && hash !== null ? createHash(hash).update(given).digest() : given
    const signature = signInput(used, input, fields['MessageType'])
    return {
      KeyId: fault === 'other-key-named' ? used.arn : key.arn,
      Signature: (fault === 'truncated' ? signature.subarray(0, -1) : signature).toString('base64'),
      SigningAlgorithm: fields['SigningAlgorithm'],
    }
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    dates.push(String(request.headers['x-amz-date']))
    const target = String(request.headers['x-amz-target'])
    let status = 200
    let body: unknown
    let headers: Record<string, string> = {}
    try {
      const fields = JSON.parse(Buffer.concat(chunks).toString()) as Fields
      body = answer(target.replace('TrentService.', ''), fields)
    } catch (error) {
      const fault = error instanceof Fault ? error : new Fault(500, 'KMSInternalException')
      if (fault.type === 'reset') request.socket.resetAndDestroy()
      if (fault.status === 0) return
      status = fault.status
      headers = fault.headers
      body = { __type: fault.type, message: 'made by the test' }
    }
    response.writeHead(status, { 'Content-Type': 'application/x-amz-json-1.1', ...headers })
    response.end(JSON.stringify(body))
  }

  const server = createServer((request, response) => void serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const setState = (arn: string, state: string) => (find(arn).state = state)
  return { endpoint, faults, aliases, dates, makeKey, setState, signs: () => signs }
}

class Fault extends Error {
  readonly status: number
  readonly type: string
  readonly headers: Record<string, string>

  constructor(status: number, type: string, headers: Record<string, string> = {}) {
    super(type)
    this.status = status
    this.type = type
    this.headers = headers
  }
}

function metadata({ arn, state, algorithm }: FakeKey): unknown {
  return {
    Arn: arn,
    KeyId: arn.split('/').at(-1),
    KeyUsage: 'SIGN_VERIFY',
    KeyState: state,
    KeySpec: algorithm.aws.keySpec,
    Origin: 'AWS_KMS',
  }
}

function signInput({ algorithm, privateKey }: FakeKey, input: Buffer, type?: string): Buffer {
  if (algorithm.kind === 'ed25519') {
    if (type !== 'RAW') throw new Fault(400, 'ValidationException')
    return sign(null, input, privateKey)
  }
  if (type !== 'DIGEST') throw new Fault(400, 'ValidationException')
  return signDigest(algorithm, privateKey, input)
}
