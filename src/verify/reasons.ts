import { oneLine } from '../core/index.ts'

/** What a reason says to people. */
export interface ReasonFacts {
  readonly sentence: string
  readonly remedy: string
}

/**
 * Why evidence was rejected. The codes are a contract; their order is one too: it goes from evidence that is absent or somebody else's to
 * evidence that failed late, and of several rejected pieces the latest failure is reported.
 */
export const REASONS = {
  NO_TRUSTED_KEYS: {
    sentence: 'No trusted key is selected, so nothing can be verified.',
    remedy: 'Give the public key, or name one that exists.',
  },
  POLICY_INVALID: {
    sentence: 'What is demanded makes no sense.',
    remedy:
      'Correct the policy: thresholds are whole numbers from 1, and an identity needs its issuer.',
  },
  NO_SIGNATURES: {
    sentence: 'There is no signature for this digest.',
    remedy: 'Sign the image, or check that its signatures were copied with it.',
  },
  NO_ATTESTATIONS: {
    sentence: 'There is no attestation for this digest.',
    remedy: 'Attest the image, or check that its attestations were copied with it.',
  },
  TOO_MANY: {
    sentence: 'There is more evidence than is judged.',
    remedy: 'Remove signatures that are not needed from the repository.',
  },
  UNSUPPORTED: {
    sentence: 'The evidence is of a kind that is not judged here.',
    remedy:
      'Give the key for signatures by a key, the identity and its issuer for signatures with a certificate.',
  },
  PREDICATE_TYPE_MISMATCH: {
    sentence: 'The statement is of another predicate type.',
    remedy: 'Ask for the type that was attested, or attest the one that is wanted.',
  },
  BUNDLE_INVALID: {
    sentence: 'The stored signature or bundle is malformed.',
    remedy: 'Sign the image again; look at who wrote to the repository.',
  },
  PAYLOAD_INVALID: {
    sentence: 'The signed payload is malformed or of another type.',
    remedy: 'Sign the image again with airseal or cosign.',
  },
  DIGEST_MISMATCH: {
    sentence: 'The signature is for another digest.',
    remedy: 'Check which digest was signed: an index and its platforms have different ones.',
  },
  KEY_MISMATCH: {
    sentence: 'The signature was made by none of the trusted keys.',
    remedy: 'Give the public key of the signer, or sign with a trusted key.',
  },
  SIGNATURE_INVALID: {
    sentence: 'The signature does not fit its payload.',
    remedy: 'Do not use the image; look at who wrote to the repository.',
  },
  CERTIFICATE_INVALID: {
    sentence: 'The certificate is malformed or not one for signing.',
    remedy: 'Sign again with a certificate for code signing; look at who wrote to the repository.',
  },
  TIMESTAMP_INVALID: {
    sentence: 'The time stamp is malformed, for another signature or not by its authority.',
    remedy: 'Do not use the image; look at who wrote to the repository.',
  },
  LOG_ENTRY_MISSING: {
    sentence: 'The signature carries no log entry.',
    remedy: 'Sign again with logging, or allow unlogged signatures in the policy.',
  },
  LOG_ENTRY_INVALID: {
    sentence: 'The log entry is malformed.',
    remedy: 'Sign the image again; look at who wrote to the repository.',
  },
  LOG_UNKNOWN: {
    sentence: 'The log entry is of a log that is not trusted.',
    remedy: 'Add the log to the trusted root, if it is yours.',
  },
  ENTRY_MISMATCH: {
    sentence: 'The log entry belongs to another signature.',
    remedy: 'Do not use the image; look at who wrote to the repository.',
  },
  SET_INVALID: {
    sentence: 'The signed entry timestamp is missing or not by the log.',
    remedy: 'Do not use the image; look at who wrote to the repository.',
  },
  LOG_TIME_INVALID: {
    sentence: 'The entry was logged in the future or outside the validity of the log key.',
    remedy: 'Check the clocks, and the validity in the trusted root.',
  },
  INCLUSION_PROOF_INVALID: {
    sentence: 'The inclusion proof is missing or does not lead to its root.',
    remedy: 'Do not use the image; look at who wrote to the repository.',
  },
  CHECKPOINT_INVALID: {
    sentence: 'The checkpoint is malformed, of another tree or not signed by the log.',
    remedy: 'Do not use the image; compare the host in the trusted root with the checkpoint.',
  },
  THRESHOLD_NOT_MET: {
    sentence:
      'Fewer distinct logs or time-stamping authorities vouch for the signature than are demanded.',
    remedy: 'Sign with more of them, or lower the threshold in the policy.',
  },
  SIGNING_TIME_MISSING: {
    sentence: 'Nothing that is trusted proves when the signature was made.',
    remedy: 'Sign with a time-stamping authority, and have it in the trusted root.',
  },
  CERTIFICATE_UNTRUSTED: {
    sentence: 'The certificate was not issued by a trusted authority.',
    remedy: 'Bring in the trusted root of the signer, if you trust it.',
  },
  CERTIFICATE_OUTSIDE_VALIDITY: {
    sentence: 'The certificate or its authority was not valid when the signature was made.',
    remedy: 'Sign again; check the clocks, and the validity in the trusted root.',
  },
  SCT_INVALID: {
    sentence: 'No trusted certificate-transparency log vouches for the certificate.',
    remedy: 'Bring in a trusted root with that log, or do without it in the policy.',
  },
  SUBJECT_MISMATCH: {
    sentence: 'The certificate names another signer.',
    remedy: 'Check the wanted identity against the one that signed.',
  },
  ISSUER_MISMATCH: {
    sentence: 'Another issuer vouched for the signer.',
    remedy: 'Check the wanted issuer against the one in the certificate.',
  },
  WORKFLOW_MISMATCH: {
    sentence: 'The certificate is of another workflow run.',
    remedy: 'Check the wanted workflow claims against those in the certificate.',
  },
  KEY_OUTSIDE_VALIDITY: {
    sentence: 'The key was not valid when the signature was made.',
    remedy: 'Sign with a key that is valid now.',
  },
  KEY_NOT_VALID_AT_INDEX: {
    sentence: 'The key did not count at this place of the log.',
    remedy: 'Sign with a key that is valid now; look at when the key was retired or compromised.',
  },
  ANNOTATION_MISMATCH: {
    sentence: 'The signature lacks a wanted annotation, or has another value for it.',
    remedy: 'Sign with the annotations that the policy asks for.',
  },
  IDENTITY_MISMATCH: {
    sentence: 'The signature names another repository.',
    remedy: 'Sign under the name that the policy asks for, or change the policy.',
  },
  CONDITION_NOT_MET: {
    sentence: 'The attestation does not meet a condition.',
    remedy: 'Look at the predicate; attest again when what it says has changed.',
  },
  SIGNERS_MISSING: {
    sentence: 'Fewer distinct signers than demanded signed it.',
    remedy: 'Have the missing ones sign; one signer with two keys of the same name counts once.',
  },
  ENTRY_REVOKED: {
    sentence: 'The log entry was revoked.',
    remedy: 'Do not use the image; the message says why the entry was revoked.',
  },
  DIGEST_REVOKED: {
    sentence: 'The image was revoked.',
    remedy: 'Do not use the image; the message says why it was revoked.',
  },
  CONTENT_MISMATCH: {
    sentence: 'Stored bytes differ from the digest that names them.',
    remedy: 'Do not use the image; look at who wrote to the repository.',
  },
  ENTRY_NOT_IN_LOG: {
    sentence: 'The local log does not hold the entry.',
    remedy: 'Do not use the image; check whether the log was rolled back to an older copy.',
  },
  LOG_DAMAGED: {
    sentence: 'The local log is damaged at this entry.',
    remedy: 'Keep the data directory as evidence and restore the last backup.',
  },
} as const satisfies Record<string, ReasonFacts>

/** One of the stable codes of {@link REASONS}. */
export type Reason = keyof typeof REASONS

const ORDER: readonly string[] = Object.keys(REASONS)

/** Position of a reason in the order of {@link REASONS}; greater is later. */
export function reasonRank(reason: Reason): number {
  return ORDER.indexOf(reason)
}

/** A check that failed: the reason, and what exactly was found. */
export interface Refusal {
  readonly reason: Reason
  /** One sentence for people; never quotes more than a few characters of hostile text. */
  readonly message: string
}

/** @param message - made one printable line: it may quote what an attacker wrote, and is shown in terminals */
export function refusal(reason: Reason, message: string): Refusal {
  return { reason, message: oneLine(message) }
}
