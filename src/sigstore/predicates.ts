import { AirsealError, fromUtf8, isObject, parseJson } from '../core/index.ts'
import type { Json } from '../core/index.ts'
import { COSIGN_SIGN_TYPE } from './statement.ts'

const CUSTOM_PREDICATE_TYPE = 'https://cosign.sigstore.dev/attestation/v1'

interface PredicateKind {
  readonly uri: string
  /** How the file becomes the predicate: `wrapped` and `text` take any UTF-8 text, `object` takes a JSON object. */
  readonly shape: 'wrapped' | 'text' | 'object'
  /** Members that the format requires; one name of each list must be there. */
  readonly required: readonly (readonly string[])[]
}

/** The values of `--type` (cosign's names) and what their files must hold. */
const KINDS: ReadonlyMap<string, PredicateKind> = new Map([
  ['custom', { uri: CUSTOM_PREDICATE_TYPE, shape: 'wrapped', required: [] }],
  ['slsaprovenance', slsa02()],
  ['slsaprovenance02', slsa02()],
  [
    'slsaprovenance1',
    {
      uri: 'https://slsa.dev/provenance/v1',
      shape: 'object',
      required: [['buildDefinition'], ['runDetails']],
    },
  ],
  ['spdx', { uri: 'https://spdx.dev/Document', shape: 'text', required: [] }],
  // SPDX 2 documents say spdxVersion, SPDX 3 documents are JSON-LD.
  [
    'spdxjson',
    { uri: 'https://spdx.dev/Document', shape: 'object', required: [['spdxVersion', '@context']] },
  ],
  ['cyclonedx', { uri: 'https://cyclonedx.org/bom', shape: 'object', required: [['bomFormat']] }],
  ['link', { uri: 'https://in-toto.io/Link/v1', shape: 'object', required: [['name']] }],
  [
    'vuln',
    {
      uri: 'https://cosign.sigstore.dev/attestation/vuln/v1',
      shape: 'object',
      required: [['scanner'], ['metadata']],
    },
  ],
  [
    'openvex',
    { uri: 'https://openvex.dev/ns', shape: 'object', required: [['@context'], ['statements']] },
  ],
])

function slsa02(): PredicateKind {
  return {
    uri: 'https://slsa.dev/provenance/v0.2',
    shape: 'object',
    required: [['builder'], ['buildType']],
  }
}

/** The short names that `--type` takes, besides absolute URIs. */
export const PREDICATE_NAMES: readonly string[] = [...KINDS.keys()]

/** The predicate type URI of a `--type` value. @throws AirsealError PREDICATE_INVALID when it is neither a known name nor an absolute URI */
export function predicateTypeUri(type: string): string {
  const known = KINDS.get(type)
  if (known !== undefined) return known.uri
  // RFC 3986 §4.3; no spaces or control characters, since the URI is shown and compared literally.
  if (/^[A-Za-z][A-Za-z0-9+.-]*:[\x21-\x7e]{1,1000}$/.test(type)) return type
  throw new AirsealError(
    'PREDICATE_INVALID',
    `--type "${type.slice(0, 100)}" is neither an absolute URI nor one of ${PREDICATE_NAMES.join(', ')}`,
  )
}

export interface Predicate {
  readonly predicateType: string
  readonly predicate: Json
}

/**
 * The predicate that `--type` makes of a file.
 * @param now - milliseconds since 1970, for the time stamp of a custom predicate
 * @throws AirsealError PREDICATE_INVALID, naming what does not fit
 */
export function predicateOf(type: string, fileBytes: Uint8Array, now: number): Predicate {
  const predicateType = predicateTypeUri(type)
  if (predicateType === COSIGN_SIGN_TYPE) {
    throw new AirsealError(
      'PREDICATE_INVALID',
      `${COSIGN_SIGN_TYPE} is the type of signatures: use sign, an attestation must not pass for one`,
    )
  }
  const text = fromUtf8(fileBytes, 'the predicate file', 'PREDICATE_INVALID')
  const kind = KINDS.get(type)
  // Whoever names the custom URI gets the custom wrapping, as with cosign: the type promises that shape.
  const shape = predicateType === CUSTOM_PREDICATE_TYPE ? 'wrapped' : (kind?.shape ?? 'object')
  if (shape === 'text') return { predicateType, predicate: text }
  if (shape === 'wrapped') {
    const seconds = `${new Date(now).toISOString().slice(0, 19)}Z`
    return { predicateType, predicate: { Data: text, Timestamp: seconds } }
  }
  const predicate = parseJson(text, { code: 'PREDICATE_INVALID', what: 'the predicate file' })
  if (!isObject(predicate)) {
    throw new AirsealError('PREDICATE_INVALID', `a predicate of type ${type} must be a JSON object`)
  }
  // A whole statement given as predicate is the common mistake: it would be wrapped in a second one.
  if ('_type' in predicate && 'predicateType' in predicate) {
    throw new AirsealError(
      'PREDICATE_INVALID',
      'the file is a whole in-toto statement; give only its predicate',
    )
  }
  for (const names of kind?.required ?? []) {
    if (!names.some((name) => Object.hasOwn(predicate, name))) {
      throw new AirsealError(
        'PREDICATE_INVALID',
        `a predicate of type ${type} needs the member ${names.map((name) => `"${name}"`).join(' or ')}`,
      )
    }
  }
  return { predicateType, predicate }
}
