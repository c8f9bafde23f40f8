import { fromHex, verifyDigest } from '../core/index.ts'
import type { HashName } from '../core/index.ts'
import type { EntryKind } from './kind.ts'
import { base64Member, objectMember, stringMember } from './members.ts'
import { entryError } from './problems.ts'
import { derSignature } from './signatures.ts'

const HASHES: ReadonlyMap<string, { name: HashName; pattern: RegExp }> = new Map([
  ['sha256', { name: 'sha256', pattern: /^[0-9a-fA-F]{64}$/ }],
  ['sha384', { name: 'sha384', pattern: /^[0-9a-fA-F]{96}$/ }],
  ['sha512', { name: 'sha512', pattern: /^[0-9a-fA-F]{128}$/ }],
])

/** hashedrekord 0.0.1: a signature over a digest, without what was hashed. */
export const hashedrekord: EntryKind = async (spec, _purpose, verifiers) => {
  const hash = objectMember(objectMember(spec, 'data', 'spec'), 'hash', 'spec.data')
  const algorithm = stringMember(hash, 'algorithm', 'spec.data.hash')
  const value = stringMember(hash, 'value', 'spec.data.hash')
  const facts = HASHES.get(algorithm)
  if (facts === undefined)
    throw entryError('spec.data.hash.algorithm should be one of [sha256 sha384 sha512]')
  if (!facts.pattern.test(value))
    throw entryError(`spec.data.hash.value is not a ${algorithm} in hex`)
  const signature = objectMember(spec, 'signature', 'spec')
  const content = base64Member(signature, 'content', 'spec.signature')
  const publicKey = objectMember(signature, 'publicKey', 'spec.signature')
  const sent = stringMember(publicKey, 'content', 'spec.signature.publicKey')
  const verifier = verifiers.read(
    sent,
    () => base64Member(publicKey, 'content', 'spec.signature.publicKey').bytes,
  )
  const { key } = verifier
  // Rekor's default list: each key with the hash of its own size; for Ed25519 the variant that signs a digest.
  if (facts.name !== (key.algorithm.hash ?? 'sha512')) {
    throw entryError(`entry algorithms are not allowed: ${key.algorithm.name} with ${algorithm}`)
  }
  const digest = fromHex(value.toLowerCase(), 'spec.data.hash.value', 'ENTRY_INVALID')
  if (!(await verifyDigest(key, facts.name, digest, derSignature(key, content.bytes)))) {
    throw entryError(
      key.algorithm.kind === 'ed25519'
        ? 'verifying signature: ed25519: invalid signature (this kind wants Ed25519ph over a SHA-512 digest)'
        : 'verifying signature: invalid signature for this key and digest',
    )
  }
  // The digest's letter case is kept, as Rekor keeps it. All other text is base64 or from a table: nothing needs escaping.
  return {
    spec: `{"data":{"hash":{"algorithm":"${algorithm}","value":"${value}"}},"signature":{"content":"${content.text}","publicKey":{"content":"${verifier.content}"}}}`,
    searchKeys: [`${algorithm}:${value.toLowerCase()}`, verifier.searchKey, ...verifier.subjects],
  }
}
