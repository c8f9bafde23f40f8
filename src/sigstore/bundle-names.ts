import type { HashName } from '../core/index.ts'

/** Names of digests in Sigstore's protobuf. */
export const MESSAGE_HASHES: ReadonlyMap<string, HashName> = new Map([
  ['SHA2_256', 'sha256'],
  ['SHA2_384', 'sha384'],
  ['SHA2_512', 'sha512'],
])
