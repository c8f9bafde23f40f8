import { AirsealError, fromBase64, fromPem, parseJson } from '../core/index.ts'
import { bad, objectAt, type Source, stringAt } from './protojson.ts'

const BEGIN = '-----BEGIN CERTIFICATE-----'
const END = '-----END CERTIFICATE-----'
const MAX_PEM = 256 * 1024

/**
 * Certificates in a PEM text, DER, in their order; the text holds nothing else but white space.
 * @throws AirsealError BUNDLE_INVALID
 */
export function parseCertificates(text: string, limit = 16): readonly Uint8Array[] {
  const source: Source = { code: 'BUNDLE_INVALID', what: 'the certificates' }
  if (text.length > MAX_PEM) throw bad(source, 'they are too large')
  const found: Uint8Array[] = []
  for (let rest = text.trim(); rest !== '';) {
    const end = rest.indexOf(END)
    if (!rest.startsWith(BEGIN) || end < 0) throw bad(source, 'they are not PEM certificates')
    if (found.length === limit) throw bad(source, `they are more than ${limit}`)
    found.push(certificateFrom(rest.slice(0, end + END.length)))
    rest = rest.slice(end + END.length).trim()
  }
  return found
}

function certificateFrom(pem: string): Uint8Array {
  try {
    return fromPem(pem).der
  } catch (cause) {
    throw new AirsealError('BUNDLE_INVALID', 'the certificates are not PEM', { cause })
  }
}

/**
 * The chain in the annotations `dev.sigstore.cosign/certificate` and `…/chain`, leaf first; null when there is no certificate.
 * @throws AirsealError BUNDLE_INVALID
 */
export function parseCertificateAnnotations(
  certificate: string | undefined,
  chain: string | undefined,
): readonly Uint8Array[] | null {
  const source: Source = { code: 'BUNDLE_INVALID', what: 'the certificate annotation' }
  const leaf = parseCertificates(certificate ?? '')
  const others = parseCertificates(chain ?? '')
  if (leaf.length === 0) {
    if (others.length > 0) throw bad(source, 'it is missing, and there is a chain')
    return null
  }
  if (leaf.length !== 1) throw bad(source, 'it holds more than one certificate')
  return [...leaf, ...others]
}

/**
 * The time stamp in the annotation `dev.sigstore.cosign/rfc3161timestamp`: none or one TimeStampResp, DER.
 * @throws AirsealError BUNDLE_INVALID
 */
export function parseTimestampAnnotation(text: string | undefined): readonly Uint8Array[] {
  if (text === undefined || text === '') return []
  const source: Source = { code: 'BUNDLE_INVALID', what: 'the time-stamp annotation' }
  const members = objectAt(source, parseJson(text, { maxDepth: 4, ...source }), 'annotation', [
    'SignedRFC3161Timestamp',
  ])
  const name = 'SignedRFC3161Timestamp'
  const der = fromBase64(stringAt(source, members[name], name), name, source.code)
  if (der.length === 0) throw bad(source, `${name} is missing`)
  return [der]
}
