// A fake of Google Cloud KMS: gRPC over the .proto files that the npm package ships, for a service that nothing else here stands in for.
// It checks no credentials.
import { sign, type KeyObject } from 'node:crypto'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { crc32c } from '../../../keys/crc32c.ts'
import { KEY_ALGORITHMS, type KeyAlgorithm } from '../../../src/core/index.ts'
import type { Lifetime } from '../../support/processes.ts'
import { pairOf, signDigest } from './sign-digest.ts'

/** What the next AsymmetricSign meets. */
export type GoogleFault =
  | 'unavailable'
  | 'exhausted'
  | 'denied'
  | 'silent'
  | 'wrong-crc'
  | 'no-crc'
  | 'unverified-digest'
  | 'wrong-name'
  | 'other-key'
  | 'truncated'

export interface FakeGoogle {
  readonly endpoint: string
  readonly faults: GoogleFault[]
  /** Damages the next public key on its way. */
  damagePem(): void
  signs(): number
  /** A version of a key; its number is the next one. @returns its name */
  addVersion(key: string, algorithm: string, change?: Partial<FakeVersion>): string
  version(name: string): FakeVersion
}

export interface FakeVersion {
  readonly algorithm: KeyAlgorithm
  /** What the service calls it. */
  algorithmName: string
  readonly privateKey: KeyObject
  readonly pem: string
  state: string
  protectionLevel: string
  importJob: string
}

type Call<T> = grpc.ServerUnaryCall<T, unknown>
type Fields = Readonly<Record<string, unknown>>

const PACKAGES = createRequire(import.meta.url)
const PROTOS = ['@google-cloud/kms', 'google-gax'].map((name) => {
  const entry = PACKAGES.resolve(name)
  return join(entry.slice(0, entry.indexOf(name) + name.length), 'build', 'protos')
})

export async function startFakeGoogle(t: Lifetime): Promise<FakeGoogle> {
  const keys = new Map<string, Map<string, FakeVersion>>()
  const faults: GoogleFault[] = []
  let signs = 0
  let isPemDamaged = false

  function addVersion(key: string, name: string, change: Partial<FakeVersion> = {}): string {
    const algorithm = KEY_ALGORITHMS.get(name)
    if (algorithm === undefined) throw new Error(`no algorithm ${name}`)
    const { privateKey, publicKey } = pairOf(algorithm)
    const versions = keys.get(key) ?? new Map<string, FakeVersion>()
    keys.set(key, versions)
    const version = `${key}/cryptoKeyVersions/${versions.size + 1}`
    versions.set(version, {
      algorithm,
      algorithmName: algorithm.google ?? '',
      privateKey,
      pem: publicKey.export({ format: 'pem', type: 'spki' }) as string,
      state: 'ENABLED',
      protectionLevel: 'HSM',
      importJob: '',
      ...change,
    })
    return version
  }

  function version(name: string): FakeVersion {
    const found = keys.get(name.split('/cryptoKeyVersions/')[0] ?? '')?.get(name)
    if (found === undefined) throw new Failure(grpc.status.NOT_FOUND)
    return found
  }

  const methods: Readonly<Record<string, (request: Fields) => unknown>> = {
    ListCryptoKeyVersions({ parent }) {
      const versions = keys.get(String(parent))
      if (versions === undefined) throw new Failure(grpc.status.NOT_FOUND)
      // As text, descending, as the service's order_by would: "9" before "10".
      const names = [...versions.keys()].sort().reverse()
      return { cryptoKeyVersions: names.map((name) => described(name, version(name))) }
    },
    GetCryptoKeyVersion: ({ name }) => described(String(name), version(String(name))),
    GetPublicKey({ name }) {
      const { pem, algorithmName } = version(String(name))
      const sent = isPemDamaged ? pem.replace('A', 'B') : pem
      isPemDamaged = false
      return {
        name,
        pem: sent,
        pemCrc32c: { value: crc32c(Buffer.from(pem)) },
        algorithm: algorithmName,
      }
    },
    CreateCryptoKey({ parent, cryptoKeyId, cryptoKey }) {
      const key = `${String(parent)}/cryptoKeys/${String(cryptoKeyId)}`
      if (keys.has(key)) throw new Failure(grpc.status.ALREADY_EXISTS)
      const { algorithm, protectionLevel } = (
        cryptoKey as { versionTemplate: Record<string, string> }
      ).versionTemplate
      const facts = [...KEY_ALGORITHMS.values()].find(({ google }) => google === algorithm)
      addVersion(key, facts?.name ?? '', { protectionLevel: protectionLevel ?? '' })
      return { name: key }
    },
    AsymmetricSign: (request) => signed(request),
  }

  function signed({ name, digest, digestCrc32c, data, dataCrc32c }: Fields): unknown {
    signs += 1
    const fault = faults.shift()
    if (fault === 'unavailable') throw new Failure(grpc.status.UNAVAILABLE)
    if (fault === 'exhausted') throw new Failure(grpc.status.RESOURCE_EXHAUSTED)
    if (fault === 'denied') throw new Failure(grpc.status.PERMISSION_DENIED)
    if (fault === 'silent') return null
    const held = version(String(name))
    const { algorithm } = held
    if (held.state !== 'ENABLED') throw new Failure(grpc.status.FAILED_PRECONDITION)
    const privateKey = fault === 'other-key' ? pairOf(algorithm).privateKey : held.privateKey
    const input = (algorithm.hash === null ? data : (digest as Fields)[algorithm.hash]) as Buffer
    const claimed = (algorithm.hash === null ? dataCrc32c : digestCrc32c) as { value: unknown }
    const isWhole = Number(claimed.value) === crc32c(input) && fault !== 'unverified-digest'
    const made =
      algorithm.hash === null
        ? sign(null, input, privateKey)
        : signDigest(algorithm, privateKey, input)
    const signature = fault === 'truncated' ? made.subarray(0, -1) : made
    const sum = fault === 'wrong-crc' ? (crc32c(signature) ^ 1) >>> 0 : crc32c(signature)
    return {
      name: fault === 'wrong-name' ? String(name).replace(/\d+$/, '99') : name,
      signature,
      ...(fault === 'no-crc' ? {} : { signatureCrc32c: { value: sum } }),
      ...(algorithm.hash === null
        ? { verifiedDataCrc32c: isWhole }
        : { verifiedDigestCrc32c: isWhole }),
    }
  }

  const definition = loadSync(['google/cloud/kms/v1/service.proto'], {
    includeDirs: PROTOS,
    enums: String,
    longs: String,
  })
  const service = definition['google.cloud.kms.v1.KeyManagementService'] as grpc.ServiceDefinition
  const handlers = Object.entries(methods).map(([method, handle]) => {
    const serve = (call: Call<Fields>, callback: grpc.sendUnaryData<unknown>) => {
      try {
        const answer = handle(call.request)
        if (answer !== null) callback(null, answer)
      } catch (error) {
        callback(error as grpc.ServiceError)
      }
    }
    return [method, serve] as const
  })
  const server = new grpc.Server()
  server.addService(service, Object.fromEntries(handlers))
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound)
      else reject(error)
    })
  })
  t.teardown(() => {
    server.forceShutdown()
  })
  return {
    endpoint: `http://127.0.0.1:${port}`,
    faults,
    damagePem: () => (isPemDamaged = true),
    signs: () => signs,
    addVersion,
    version,
  }
}

function described(
  name: string,
  { state, algorithmName, protectionLevel, importJob }: FakeVersion,
): unknown {
  return { name, state, algorithm: algorithmName, protectionLevel, importJob }
}

class Failure extends Error {
  readonly code: grpc.status

  constructor(code: grpc.status) {
    super('made by the test')
    this.code = code
  }
}
