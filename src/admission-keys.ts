import type { Config } from './config.ts'
import { isObject, parseJson, publicKeyFromPem, type Json } from './core/index.ts'
import type { Records } from './log/index.ts'
import type { CurrentTrust } from './site-trust.ts'
import type { TrustedKey } from './verify/index.ts'

/** The signing key of the configuration goes by this name in the trust. */
const SIGNING_KEY = 'signing'

/**
 * Finds trusted keys by the KMS URI that policies call them by: that of the configuration, those of the registry of keys, and `admission.keyAliases`. A
 * registered key that is not trusted now is not found.
 */
export async function keyUris(
  { keys, admission }: Config,
  records: Pick<Records, 'documents'>,
  trust: CurrentTrust,
): Promise<KeyUris> {
  let registered = await registeredKeys(records)
  trust.onChange(() => {
    registeredKeys(records)
      .then((now) => (registered = now))
      .catch(() => undefined)
  })
  const aliases = admission.keyAliases.map((line) => line.trim().split(/\s+/, 2))
  const find = (uri: string): readonly TrustedKey[] => {
    const names = aliases.filter(([alias]) => alias === uri).map(([, name]) => name)
    if (keys.signing === uri) names.push(SIGNING_KEY)
    const ids = registered.filter((one) => one.uri === uri).map(({ keyId }) => keyId)
    return trust
      .current()
      .keys.filter(({ name, key }) => names.includes(name) || ids.includes(key.id))
  }
  const known = (): Set<string> =>
    new Set([
      ...aliases.map(([alias = '']) => alias),
      ...(keys.signing === null ? [] : [keys.signing]),
      ...registered.map(({ uri }) => uri),
    ])
  return {
    find,
    all: () => new Map([...known()].map((uri) => [uri, find(uri).map(({ key }) => key.id)])),
  }
}

/** Which trusted keys go by which KMS URI. */
export interface KeyUris {
  find(uri: string): readonly TrustedKey[]
  /** Ids (SHA-256 of the SPKI, hex) by URI. */
  all(): ReadonlyMap<string, readonly string[]>
}

interface Registered {
  readonly uri: string
  readonly keyId: string
}

async function registeredKeys(records: Pick<Records, 'documents'>): Promise<readonly Registered[]> {
  return (await records.documents('key')).flatMap(({ text }): Registered[] => {
    const record: Json = parseJson(text)
    if (!isObject(record)) return []
    const { uri, publicKeyPem } = record
    return typeof uri === 'string' && typeof publicKeyPem === 'string'
      ? [{ uri, keyId: publicKeyFromPem(publicKeyPem).id }]
      : []
  })
}
