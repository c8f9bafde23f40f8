import {
  AirsealError,
  canonicalJson,
  fromUtf8,
  isObject,
  parseJson,
  publicKeyFromPem,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { parseTrustedRoot } from '../sigstore/index.ts'
import {
  isProposal,
  parseTrustBundle,
  parseTrustProposal,
  requireTimely,
  rootsFingerprint,
  verifyTrustUpdate,
  type ForeignRoot,
  type SignedTrustBundle,
  type TrustDocument,
} from '../trust/index.ts'
import type { Outcome, TrustKeeper } from './trust-keeper.ts'

export interface ImportOptions {
  /** Name under which a root is carried; a bundle has one of its own. */
  readonly name: string | null
  /** Fingerprint of the roots of an enclave that is not known yet, compared by another way. */
  readonly pin: string | null
  /** Where it was fetched, for people. */
  readonly source: string
  /** When, milliseconds since 1970. */
  readonly fetched: number
}

/** What a file turned out to be. */
export type Imported = Outcome & { readonly kind: 'own' | ForeignRoot['kind'] }

/**
 * Takes a trust bundle of this enclave or another, a proposal, a Sigstore trusted root or a PEM key. All or nothing: what fails leaves the
 * trust in force as it was, byte for byte.
 * @throws AirsealError TRUST_BUNDLE_INVALID, TRUST_THRESHOLD, TRUST_ROLLBACK, TRUST_CHAIN, TRUST_UNPINNED, TRUST_EXPIRED, TRUST_CLOCK, TRUST_INVALID
 */
export async function importTrust(
  keeper: TrustKeeper,
  caller: Caller,
  file: Uint8Array,
  options: ImportOptions,
  now: number,
): Promise<Imported> {
  const text = fromUtf8(file, 'the file', 'TRUST_BUNDLE_INVALID')
  if (text.startsWith('-----BEGIN')) {
    const key = publicKeyFromPem(text)
    return carry(keeper, caller, { kind: 'key', ...headOf(options), key })
  }
  const value = parseJson(text, { maxDepth: 32, code: 'TRUST_BUNDLE_INVALID', what: 'the file' })
  if (isProposal(value))
    return { kind: 'own', ...(await keeper.publish(caller, parseTrustProposal(file))) }
  if (isTrustedRoot(value)) {
    parseTrustedRoot(canonicalJson(value))
    return carry(keeper, caller, { kind: 'sigstore', ...headOf(options), trustedRoot: value })
  }
  const bundle = parseTrustBundle(file)
  if (bundle.document.enclave === keeper.bundle().document.enclave)
    return { kind: 'own', ...(await keeper.install(caller, bundle)) }
  requireTimely(bundle.document, now)
  return carry(
    keeper,
    caller,
    {
      kind: 'enclave',
      name: bundle.document.enclave,
      source: options.source,
      fetched: options.fetched,
      bundle,
    },
    options.pin,
  )
}

async function carry(
  keeper: TrustKeeper,
  caller: Caller,
  root: ForeignRoot,
  pin: string | null = null,
): Promise<Imported> {
  const add = (document: TrustDocument): TrustDocument => {
    const known = document.foreign.find(({ name }) => name === root.name)
    if (known !== undefined && known.kind !== root.kind) {
      throw new AirsealError(
        'CONFLICT',
        `a ${known.kind} root is carried under the name ${root.name} already`,
      )
    }
    if (root.kind === 'enclave' && !mayFollow(known, root.bundle, pin)) return document
    const others = document.foreign.filter(({ name }) => name !== root.name)
    const foreign = [...others, root].sort((a, b) => (a.name < b.name ? -1 : 1))
    return { ...document, foreign }
  }
  const detail: JsonObject = { root: root.name, kind: root.kind, source: root.source }
  const outcome = await keeper.edit(caller, 'import', add, detail)
  return { kind: root.kind, ...outcome }
}

/** @returns false for the very version that is carried */
function mayFollow(
  known: ForeignRoot | undefined,
  next: SignedTrustBundle,
  pin: string | null,
): boolean {
  if (known?.kind === 'enclave') return verifyTrustUpdate(known.bundle, next)
  const { enclave, roots } = next.document
  const fingerprint = rootsFingerprint(roots)
  if (pin === fingerprint) return true
  throw new AirsealError(
    'TRUST_UNPINNED',
    pin === null
      ? `the enclave ${enclave} is not known here; its roots have the fingerprint ${fingerprint}`
      : `the roots of ${enclave} have the fingerprint ${fingerprint}, not ${pin.slice(0, 80)}`,
    { details: { enclave, fingerprint } },
  )
}

function headOf({ name, source, fetched }: ImportOptions): {
  name: string
  source: string
  fetched: number
} {
  if (name === null)
    throw new AirsealError('REQUEST_INVALID', 'name: a root or key is carried under a name')
  return { name, source, fetched }
}

function isTrustedRoot(value: Json): value is JsonObject {
  const type = isObject(value) ? value['mediaType'] : null
  return typeof type === 'string' && type.startsWith('application/vnd.dev.sigstore.trustedroot')
}
