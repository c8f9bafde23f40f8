import { canonicalJson, isObject, type Json, type JsonObject } from '../core/index.ts'
import { envelopeJson, parseTrustedRoot } from '../sigstore/index.ts'
import { invalid, Members, timeText } from './members.ts'
import type { ForeignRoot, SignedTrustBundle } from './model.ts'

/** Reads a bundle that a document carries. */
export type ReadBundle = (bundle: Json) => SignedTrustBundle

const HEAD = ['name', 'kind', 'fetched', 'source'] as const

/** Reads one carried root. @throws AirsealError TRUST_BUNDLE_INVALID, TRUST_INVALID */
export function readForeign(value: Json, path: string, readBundle: ReadBundle): ForeignRoot {
  const kind = isObject(value) ? value['kind'] : null
  const members = (member: string): Members => new Members(value, path, [...HEAD, member])
  const head = (from: Members) => ({
    name: from.name('name'),
    fetched: from.time('fetched'),
    source: from.text('source'),
  })
  switch (kind) {
    case 'sigstore': {
      const from = members('trustedRoot')
      const trustedRoot = from.value('trustedRoot')
      if (!isObject(trustedRoot)) invalid(from.at('trustedRoot'), 'is not an object')
      parseTrustedRoot(canonicalJson(trustedRoot))
      return { ...head(from), kind, trustedRoot }
    }
    case 'key': {
      const from = members('publicKey')
      return { ...head(from), kind, key: from.publicKey('publicKey') }
    }
    case 'enclave': {
      const from = members('bundle')
      const bundle = readBundle(from.value('bundle'))
      if (from.name('name') !== bundle.document.enclave)
        invalid(from.at('name'), "is not the bundle's enclave")
      return { ...head(from), kind, bundle }
    }
    default:
      return invalid(`${path}.kind`, 'is none of sigstore, key, enclave')
  }
}

/** JSON of one carried root. */
export function writeForeign(root: ForeignRoot): JsonObject {
  const head = {
    name: root.name,
    kind: root.kind,
    fetched: timeText(root.fetched),
    source: root.source,
  }
  switch (root.kind) {
    case 'sigstore':
      return { ...head, trustedRoot: root.trustedRoot }
    case 'key':
      return { ...head, publicKey: root.key.pem }
    case 'enclave':
      return { ...head, bundle: envelopeJson(root.bundle.envelope) }
  }
}
