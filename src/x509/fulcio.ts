import { AirsealError, fromUtf8 } from '../core/index.ts'
import { children, childrenOf, type Der, oidText, readDer, TAG } from './der.ts'
import { EXTENSION, type Profile, utf8Value } from './profile.ts'

const FULCIO = '1.3.6.1.4.1.57264.1'
const OTHER_NAME = `${FULCIO}.7`
/** Context tags of GeneralName (RFC 5280 §4.2.1.6). */
const NAME = { other: 0xa0, email: 0x81, dns: 0x82, uri: 0x86 } as const

/** Claims about a build on GitHub, by the names of cosign's options. */
export interface GithubWorkflow {
  readonly trigger: string | null
  readonly sha: string | null
  readonly name: string | null
  readonly repository: string | null
  readonly ref: string | null
}

/** Who a certificate says its key belongs to. */
export interface CertifiedIdentity {
  /** URI, email, DNS and Fulcio's own other-name entries of the subject alternative names. */
  readonly subjects: readonly string[]
  /** OpenID Connect issuer; null when the certificate names none (own PKI). */
  readonly issuer: string | null
  readonly workflow: GithubWorkflow
}

/**
 * Reads who a certificate names. The issuer is extension 8, or 1 in old certificates; two that differ are refused.
 * @throws AirsealError KEY_INVALID
 */
export function readIdentity({ extensions }: Profile): CertifiedIdentity {
  const raw = (number: number): string | null => {
    const extension = extensions.get(`${FULCIO}.${number}`)
    return extension === undefined
      ? null
      : fromUtf8(extension.value, 'the extension', 'KEY_INVALID')
  }
  const wrapped = extensions.get(`${FULCIO}.8`)
  const issuer = wrapped === undefined ? null : utf8Value(wrapped.value)
  const old = raw(1)
  if (issuer !== null && old !== null && issuer !== old) {
    throw new AirsealError('KEY_INVALID', 'the certificate names two issuers')
  }
  const altNames = extensions.get(EXTENSION.subjectAltName)
  return {
    subjects:
      altNames === undefined
        ? []
        : childrenOf(readDer(altNames.value), TAG.sequence).flatMap(nameText),
    issuer: issuer ?? old,
    workflow: { trigger: raw(2), sha: raw(3), name: raw(4), repository: raw(5), ref: raw(6) },
  }
}

/** The name as text; none for the types that name no signer. */
function nameText(name: Der): string[] {
  switch (name.tag) {
    case NAME.email:
    case NAME.dns:
    case NAME.uri: {
      // IA5String: ASCII, or two readers would see two names.
      const ascii = name.content.every((byte) => byte >= 0x20 && byte < 0x7f)
      if (!ascii || name.content.length === 0) {
        throw new AirsealError('KEY_INVALID', 'the certificate has a name that is not plain ASCII')
      }
      return [Buffer.from(name.content).toString('latin1')]
    }
    case NAME.other: {
      const [id, value] = children(name)
      if (oidText(id) !== OTHER_NAME || value?.tag !== 0xa0) return []
      return [utf8Value(value.content)]
    }
    default:
      return []
  }
}
