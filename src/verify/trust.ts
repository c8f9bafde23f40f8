import { AirsealError, asAirsealError, publicKeyFromSpki } from '../core/index.ts'
import type { RootAuthority, TrustedRoot, Validity } from '../sigstore/index.ts'
import { type Link, parseCertificate, readProfile } from '../x509/index.ts'
import type { Trust, TrustedAuthority, TrustedCtLog } from './model.ts'

/**
 * The logs and authorities of a trusted root. Certificate-transparency logs with keys of other kinds are left out, so that timestamps of
 * theirs meet an unknown log.
 * @throws AirsealError TRUST_INVALID for a certificate that airseal would refuse
 */
export function trustFromRoot(root: TrustedRoot): Required<Omit<Trust, 'keys' | 'revoked'>> {
  return {
    logs: root.logs.map(({ baseUrl, publicKey, logId, validFor }) => ({
      key: publicKey,
      logId,
      validFor,
      host: hostOf(baseUrl),
      hostAndPort: URL.canParse(baseUrl) ? new URL(baseUrl).host : undefined,
    })),
    authorities: root.certificateAuthorities.map(authorityOf),
    timestampAuthorities: root.timestampAuthorities.map(authorityOf),
    ctLogs: root.ctLogs.flatMap(({ spki, logId, validFor }): TrustedCtLog[] => {
      try {
        return [{ logId, key: publicKeyFromSpki(spki), validFor }]
      } catch {
        return []
      }
    }),
  }
}

/**
 * An own PKI: one anchor, with the intermediate certificates that are known.
 * @param chain - DER, the anchor last
 * @throws AirsealError TRUST_INVALID
 */
export function pinnedAuthority(
  name: string,
  chain: readonly Uint8Array[],
  validFor: Validity,
): TrustedAuthority {
  return { name, chain: readChain(name, chain), validFor, pinned: true }
}

function authorityOf({ uri, chain, validFor }: RootAuthority): TrustedAuthority {
  return { name: uri, chain: readChain(uri, chain), validFor, pinned: false }
}

function readChain(name: string, chain: readonly Uint8Array[]): readonly Link[] {
  try {
    return chain.map((der) => {
      const certificate = parseCertificate(der)
      return { certificate, profile: readProfile(certificate) }
    })
  } catch (cause) {
    const { message } = asAirsealError(cause)
    throw new AirsealError('TRUST_INVALID', `the authority ${name.slice(0, 200)}: ${message}`, {
      cause,
    })
  }
}

/** Host of a URL without port; the text itself when it is no URL, so that it matches no origin by accident. */
function hostOf(baseUrl: string): string {
  return URL.canParse(baseUrl) ? new URL(baseUrl).hostname : baseUrl
}
