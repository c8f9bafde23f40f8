import { canonicalJson } from '../core/index.ts'
import { parseTrustedRoot } from '../sigstore/index.ts'
import {
  trustFromRoot,
  type IndexRange,
  type Revocations,
  type Trust,
  type TrustedKey,
} from '../verify/index.ts'
import { before, holdsSomething } from './ranges.ts'
import type {
  ForeignRoot,
  SignedTrustBundle,
  SignerKey,
  TrustDocument,
  TrustRevocations,
} from './model.ts'

/** Logs and authorities that are believed. */
export type Believed = Required<Omit<Trust, 'keys' | 'revoked'>>

/** What a bundle says, in the terms of verification. */
export interface BundleTrust {
  /** Our keys by name, and those of carried enclaves as `ENCLAVE/NAME`. */
  readonly keys: readonly TrustedKey[]
  /** Our logs and authorities, and the logs of carried enclaves. */
  readonly believed: Believed
  readonly revoked: Revocations
  /** Carried roots by name. They count only for who asks for them by name: a vendor's authority must not vouch for our people. */
  readonly foreign: ReadonlyMap<string, Pick<BundleTrust, 'keys' | 'believed'>>
}

const NOTHING: Believed = { logs: [], authorities: [], timestampAuthorities: [], ctLogs: [] }

/**
 * The trust of a bundle that is in force. A revocation only narrows: where a key's own ranges and a revocation disagree, both must hold.
 * @throws AirsealError TRUST_INVALID for a certificate that can't be read
 */
export function trustOf({ document }: Pick<SignedTrustBundle, 'document'>): BundleTrust {
  const own = ownTrust(document)
  const enclaves = document.foreign.flatMap((root) =>
    root.kind === 'enclave'
      ? [enclaveTrust(root.name, root.bundle.document, document.revocations)]
      : [],
  )
  const known = new Set(own.believed.logs.map(({ logId }) => logId))
  const logs = enclaves.flatMap(({ believed }) =>
    believed.logs.filter(({ logId }) => !known.has(logId) && known.add(logId)),
  )
  return {
    keys: [...own.keys, ...enclaves.flatMap(({ keys }) => keys)],
    believed: { ...own.believed, logs: [...own.believed.logs, ...logs] },
    revoked: {
      // Ours last: where both revoke something, our reason is told.
      digests: new Map([
        ...enclaves.flatMap(({ revoked }) => [...revoked.digests]),
        ...own.revoked.digests,
      ]),
      entries: new Map([
        ...enclaves.flatMap(({ revoked }) => [...revoked.entries]),
        ...own.revoked.entries,
      ]),
    },
    foreign: new Map(
      document.foreign.map((root) => [root.name, foreignTrust(root, document.revocations)]),
    ),
  }
}

function ownTrust(
  document: TrustDocument,
  ...outer: readonly TrustRevocations[]
): Omit<BundleTrust, 'foreign'> {
  const { revocations, trustedRoot, keys } = document
  return {
    keys: keys.flatMap((key) => trustedKey(key, [revocations, ...outer])),
    believed: trustFromRoot(parseTrustedRoot(canonicalJson(trustedRoot))),
    revoked: {
      digests: new Map(revocations.images.map(({ digest, reason }) => [digest, reason])),
      entries: new Map(revocations.entries.map(({ leafHash, reason }) => [leafHash, reason])),
    },
  }
}

/** Keys of another enclave count where that enclave logs, and nowhere else. */
function enclaveTrust(
  name: string,
  document: TrustDocument,
  ours: TrustRevocations,
): Omit<BundleTrust, 'foreign'> {
  const own = ownTrust(document, ours)
  const everywhere = own.believed.logs.map(({ logId }) => ({ logId, first: null, last: null }))
  return {
    ...own,
    keys: own.keys.map((key) => ({
      ...key,
      name: `${name}/${key.name}`,
      validIn: key.validIn ?? everywhere,
    })),
  }
}

function foreignTrust(
  root: ForeignRoot,
  ours: TrustRevocations,
): Pick<BundleTrust, 'keys' | 'believed'> {
  switch (root.kind) {
    case 'sigstore':
      return {
        keys: [],
        believed: trustFromRoot(parseTrustedRoot(canonicalJson(root.trustedRoot))),
      }
    case 'key':
      return {
        keys: ours.keys.some(({ keyId }) => keyId === root.key.id)
          ? []
          : [{ name: root.name, key: root.key, validFor: null }],
        believed: NOTHING,
      }
    case 'enclave':
      return enclaveTrust(root.name, root.bundle.document, ours)
  }
}

/** None for a key that counts nowhere. */
function trustedKey(signer: SignerKey, revocations: readonly TrustRevocations[]): TrustedKey[] {
  const { name, key, state, validFor, validIn } = signer
  const own: readonly IndexRange[] | null = validIn ?? (state === 'compromised' ? [] : null)
  const ranges = revocations.reduce((left, { keys }) => {
    const revoked = keys.find(({ keyId }) => keyId === key.id)
    return revoked === undefined ? left : before(left, revoked.from)
  }, own)
  const where = ranges?.filter(holdsSomething) ?? null
  return where?.length === 0 ? [] : [{ name, key, validFor, validIn: where }]
}
