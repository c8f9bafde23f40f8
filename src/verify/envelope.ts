import { hash } from 'node:crypto'
import { AirsealError, digestHex, sha256Hex } from '../core/index.ts'
import type { HashName } from '../core/index.ts'
import {
  type Envelope,
  IN_TOTO_TYPE,
  pae,
  parseStatement,
  type Statement,
} from '../sigstore/index.ts'
import type { Claim, Examination, Question } from './examine.ts'
import { refusal, type Refusal } from './reasons.ts'

export interface EnvelopeEvidence extends Pick<
  Claim,
  'entries' | 'proofRequired' | 'keyHint' | 'certificates' | 'timestamps' | 'unchecked'
> {
  readonly envelope: Envelope
  /** Exact stored text; null when the envelope is part of a bundle. */
  readonly text: string | null
  /** Predicate type that is demanded; null accepts any, which only files allow. */
  readonly wantedType: string | null
  /** What the time stamps cover; absent: the signature. */
  readonly stamped?: Uint8Array
}

/** Takes an envelope apart: an in-toto statement about the digest asked for, of the type asked for, with exactly one signature. */
export function claimOfEnvelope(
  examination: Examination,
  { digest }: Question,
  evidence: EnvelopeEvidence,
): Claim | Refusal {
  const { envelope } = evidence
  examination.note({ payloadSha256: sha256Hex(envelope.payload) })
  const [only] = envelope.signatures
  if (only === undefined || envelope.signatures.length !== 1) {
    return refusal(
      'PAYLOAD_INVALID',
      `the envelope has ${envelope.signatures.length} signatures, want 1`,
    )
  }
  if (envelope.payloadType !== IN_TOTO_TYPE) {
    return refusal('PAYLOAD_INVALID', 'the envelope does not hold an in-toto statement')
  }
  const statement = readStatement(envelope.payload)
  if ('reason' in statement) return statement
  examination.note({ predicateType: statement.predicateType })
  if (evidence.wantedType !== null && statement.predicateType !== evidence.wantedType) {
    return refusal(
      'PREDICATE_TYPE_MISMATCH',
      `the statement is of type ${statement.predicateType.slice(0, 200)}, want ${evidence.wantedType}`,
    )
  }
  // Only sha256 by its name: the right hex under another algorithm names other content.
  const subject = statement.subjects.find(
    (candidate) => candidate.digest.get('sha256') === digestHex(digest),
  )
  if (subject === undefined) {
    return refusal('DIGEST_MISMATCH', 'no subject of the statement has the digest')
  }
  const message = pae(envelope.payloadType, envelope.payload)
  return {
    signed: { message },
    signature: only.sig,
    signedHash: (algorithm: HashName) => hash(algorithm, message, 'hex'),
    envelope: { payload: envelope.payload, payloadType: envelope.payloadType, text: evidence.text },
    entries: evidence.entries,
    proofRequired: evidence.proofRequired,
    keyHint: evidence.keyHint,
    certificates: evidence.certificates,
    timestamps: evidence.timestamps,
    stamped: evidence.stamped ?? only.sig,
    annotations: subject.annotations,
    reference: null,
    statement: { statement, subjectName: subject.name },
    unchecked: evidence.unchecked,
  }
}

function readStatement(payload: Uint8Array): Statement | Refusal {
  try {
    return parseStatement(payload)
  } catch (thrown) {
    if (!(thrown instanceof AirsealError)) throw thrown
    return refusal('PAYLOAD_INVALID', thrown.message)
  }
}
