import { digestHex, fromUtf8, isObject, parseJson, utf8 } from '../core/index.ts'
import type { Digest, Json, JsonObject } from '../core/index.ts'
import { goJson, sortedByUtf8 } from './go-json.ts'
import { arrayAt, bad, objectAt, type Source, stringAt } from './protojson.ts'

/** Predicate type of what `cosign sign` signs: a signature, not an attestation. */
export const COSIGN_SIGN_TYPE = 'https://sigstore.dev/cosign/sign/v1'

const STATEMENT_V01 = 'https://in-toto.io/Statement/v0.1'
const STATEMENT_V1 = 'https://in-toto.io/Statement/v1'
const STATEMENT_MEMBERS = ['_type', 'subject', 'predicateType', 'predicate']
const SUBJECT_MEMBERS = [
  'name',
  'uri',
  'digest',
  'content',
  'downloadLocation',
  'mediaType',
  'annotations',
]

/** Bounds of sigstore-go, so that both accept the same statements. */
const MAX_SUBJECTS = 1024
const MAX_DIGESTS = 32

/** in-toto Statement v0.1 or v1. */
export interface Statement {
  readonly type: string
  readonly subjects: readonly Subject[]
  readonly predicateType: string
  /** Null when absent, which cosign 3.0 wrote for signatures. */
  readonly predicate: Json
}

export interface Subject {
  readonly name: string
  /** Algorithm name to lower-case hex. */
  readonly digest: ReadonlyMap<string, string>
  readonly annotations: JsonObject
}

/** Bytes of the statement that a bundle signature signs: in-toto v1, one subject without name, empty predicate. */
export function signStatement(
  digest: Digest,
  annotations: Readonly<Record<string, string>> = {},
): Uint8Array {
  const subject = { digest: { sha256: digestHex(digest) } }
  const noted =
    Object.keys(annotations).length === 0 ? {} : { annotations: sortedByUtf8(annotations) }
  return utf8(
    goJson({
      _type: STATEMENT_V1,
      subject: [{ ...subject, ...noted }],
      predicateType: COSIGN_SIGN_TYPE,
      predicate: {},
    }),
  )
}

export interface AttestationInput {
  /** Registry and repository, no tag and no digest. */
  readonly subjectName: string
  readonly digest: Digest
  /** URI, see {@link predicateTypeUri}. */
  readonly predicateType: string
  readonly predicate: Json
}

/** Bytes of an attestation's statement: in-toto v0.1, the version that every consumer of cosign attestations reads. */
export function attestationStatement(input: AttestationInput): Uint8Array {
  return utf8(
    JSON.stringify({
      _type: STATEMENT_V01,
      predicateType: input.predicateType,
      subject: [{ name: input.subjectName, digest: { sha256: digestHex(input.digest) } }],
      predicate: input.predicate,
    }),
  )
}

/**
 * Reads attacker-controlled statement bytes: unknown members refused as Go's protojson does, at least one subject, every subject with a digest.
 * @throws AirsealError BUNDLE_INVALID
 */
export function parseStatement(bytes: Uint8Array): Statement {
  const source: Source = { code: 'BUNDLE_INVALID', what: 'the in-toto statement' }
  const text = fromUtf8(bytes, source.what, source.code)
  const root = objectAt(source, parseJson(text, source), 'statement', STATEMENT_MEMBERS)
  const type = stringAt(source, root['_type'], '_type')
  if (type !== STATEMENT_V01 && type !== STATEMENT_V1) {
    throw bad(source, '_type is not in-toto Statement v0.1 or v1')
  }
  const predicateType = stringAt(source, root['predicateType'], 'predicateType')
  if (predicateType === '') throw bad(source, 'predicateType is missing')
  const subjects = arrayAt(source, root['subject'], 'subject', MAX_SUBJECTS)
  if (subjects.length === 0) throw bad(source, 'it has no subject')
  return {
    type,
    subjects: subjects.map((subject, index) => parseSubject(source, subject, `subject[${index}]`)),
    predicateType,
    predicate: root['predicate'] ?? null,
  }
}

function parseSubject(source: Source, value: Json, path: string): Subject {
  const subject = objectAt(source, value, path, SUBJECT_MEMBERS)
  const digest = subject['digest']
  if (!isObject(digest)) throw bad(source, `${path}.digest is missing`)
  const digests = Object.entries(digest)
  if (digests.length === 0) throw bad(source, `${path}.digest is empty`)
  if (digests.length > MAX_DIGESTS)
    throw bad(source, `${path}.digest has more than ${MAX_DIGESTS} members`)
  const annotations = subject['annotations'] ?? null
  if (annotations !== null && !isObject(annotations))
    throw bad(source, `${path}.annotations is not an object`)
  return {
    name: stringAt(source, subject['name'], `${path}.name`),
    digest: new Map(
      digests.map(([algorithm, hex]) => {
        if (typeof hex !== 'string' || hex === '')
          throw bad(source, `${path}.digest has an empty value`)
        return [algorithm, hex]
      }),
    ),
    annotations: annotations ?? {},
  }
}
