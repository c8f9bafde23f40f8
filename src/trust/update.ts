import { AirsealError, canonicalJson, sha256Hex } from '../core/index.ts'
import { requireThreshold } from './bundle.ts'
import type { SignedTrustBundle, TrustDocument, TrustRoots } from './model.ts'

/**
 * Whether `next` may take the place of `current`. Versions never go down; the roots in force sign each step; roots change by one version at
 * a time, and that step is signed by the old and by the new threshold, as in TUF (specification 1.0.34 §5.3.4). Steps that `current` has not
 * seen are taken from the chain of `next`. Time is not looked at: see {@link requireTimely}.
 * @returns false: `next` is the very version that is in force
 * @throws AirsealError TRUST_ENCLAVE, TRUST_ROLLBACK, TRUST_THRESHOLD, TRUST_CHAIN
 */
export function verifyTrustUpdate(current: SignedTrustBundle, next: SignedTrustBundle): boolean {
  const from = current.document
  const to = next.document
  if (from.enclave !== to.enclave) {
    throw new AirsealError(
      'TRUST_ENCLAVE',
      `the trust bundle is of ${to.enclave}, the one in force of ${from.enclave}`,
    )
  }
  if (current.digest === next.digest) return false
  if (to.version <= from.version) {
    throw new AirsealError(
      'TRUST_ROLLBACK',
      to.version === from.version
        ? `there are two trust bundles of version ${to.version}: ${next.digest} differs from ${current.digest}, which is in force`
        : `version ${to.version} is older than version ${from.version}, which is in force`,
    )
  }
  let at = current
  const steps = next.chain.filter(
    ({ document }) =>
      document.roots.version > from.roots.version &&
      document.version > from.version &&
      document.version < to.version,
  )
  for (const step of [...steps, next]) {
    verifyStep(at, step)
    at = step
  }
  return true
}

function verifyStep(from: SignedTrustBundle, to: SignedTrustBundle): void {
  const [old, now] = [from.document, to.document]
  if (old.enclave !== now.enclave || now.version <= old.version) {
    throw new AirsealError('TRUST_CHAIN', 'the chain of the trust bundle is out of order')
  }
  const step = now.roots.version - old.roots.version
  if (step < 0) {
    throw new AirsealError(
      'TRUST_ROLLBACK',
      `roots of version ${now.roots.version} are older than version ${old.roots.version}, which is in force`,
    )
  }
  if (step > 1) {
    throw new AirsealError(
      'TRUST_CHAIN',
      `the roots went from version ${old.roots.version} to ${now.roots.version}: the bundle that made version ${old.roots.version + 1} is missing`,
    )
  }
  if (step === 0 && !sameRoots(old.roots, now.roots)) {
    throw new AirsealError(
      'TRUST_CHAIN',
      `the roots changed, yet their version is still ${now.roots.version}`,
    )
  }
  requireThreshold(
    to.envelope,
    old.roots,
    `the roots in force (version ${old.roots.version} of ${old.enclave})`,
  )
}

function sameRoots(a: TrustRoots, b: TrustRoots): boolean {
  const text = ({ threshold, keys }: TrustRoots): string =>
    canonicalJson([threshold, keys.map(({ name, key }) => [name, key.id])])
  return text(a) === text(b)
}

/** What the successor of `current` must carry, so that everyone who knew older roots can follow: every bundle that brought new roots. */
export function chainAfter(current: SignedTrustBundle): readonly SignedTrustBundle[] {
  const { chain, document } = current
  const known = chain.at(-1)?.document.roots.version ?? 1
  return document.roots.version > known ? [...chain, { ...current, chain: [] }] : chain
}

/** Clocks of two machines may differ by so much, milliseconds. */
const CLOCK_TOLERANCE_MS = 24 * 60 * 60 * 1000

/**
 * Refuses to go on with a clock that is behind the trust in force: nothing about age could be said.
 * @param now - milliseconds since 1970
 * @throws AirsealError TRUST_CLOCK
 */
export function requireClock(
  { version, created }: Pick<TrustDocument, 'version' | 'created'>,
  now: number,
): void {
  if (now >= created - CLOCK_TOLERANCE_MS) return
  throw new AirsealError(
    'TRUST_CLOCK',
    `the clock of this machine says ${momentOf(now)}, and trust version ${version} was made ${momentOf(created)}: the clock is behind`,
  )
}

/**
 * Refuses a bundle that comes too late or, by this machine's clock, too early.
 * @param now - milliseconds since 1970
 * @throws AirsealError TRUST_CLOCK, TRUST_EXPIRED
 */
export function requireTimely(
  document: Pick<TrustDocument, 'version' | 'created' | 'expires'>,
  now: number,
): void {
  requireClock(document, now)
  const { version, created, expires } = document
  if (now <= expires) return
  throw new AirsealError(
    'TRUST_EXPIRED',
    `trust version ${version}, made ${momentOf(created)}, expired ${momentOf(expires)}; the clock of this machine says ${momentOf(now)}`,
  )
}

function momentOf(time: number): string {
  return new Date(time).toISOString()
}

/** Names a set of roots: what two people compare over the telephone before one believes the other. 64 hex digits. */
export function rootsFingerprint({ version, threshold, keys }: TrustRoots): string {
  return sha256Hex(
    canonicalJson({ version, threshold, keys: keys.map(({ key }) => key.id).sort() }),
  )
}
