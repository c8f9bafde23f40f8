import type { Signer } from '../../keys/signer.ts'
import {
  canonicalJson,
  sha256Hex,
  type Clock,
  type Digest,
  type JsonObject,
} from '../core/index.ts'
import type { KeyUse, RegisteredKey } from '../keyring/index.ts'
import {
  attestationStatement,
  COSIGN_SIGN_TYPE,
  envelopeText,
  IN_TOTO_TYPE,
  pae,
  predicateOf,
  predicateTypeUri,
  signStatement,
  simpleSigningPayload,
} from '../sigstore/index.ts'
import {
  locationJson,
  locationName,
  type ArtifactKind,
  type SignedContent,
  type Location,
} from './job.ts'
import type { AttestRequest, SignatureFormats, SignRequest } from './request.ts'
import type { Subject } from './subjects.ts'

/** One signature to be made, or found made before. */
export interface Intent {
  readonly subject: Subject
  readonly key: RegisteredKey
  readonly action: 'sign' | 'attest'
  /** What the key's policy judges. */
  readonly use: Pick<KeyUse, 'repositories' | 'annotations' | 'predicateType'>
  /** What makes it the same signature as an earlier one, besides image, place and key. */
  readonly name: JsonObject
  readonly artifacts: readonly ArtifactKind[]
  makeContent(signer: Signer): Promise<SignedContent>
}

/** Names what is signed: equal for two requests exactly when one signature serves both. 64 hex digits. */
export function identityOf({ subject, key, action, name }: Intent): string {
  const { location, descriptor } = subject
  return signatureIdentity({
    action,
    location,
    digest: descriptor.digest,
    keyId: key.publicKey.id,
    name,
  })
}

export function signatureIdentity(signature: {
  readonly action: Intent['action']
  readonly location: Location
  readonly digest: Digest
  readonly keyId: string
  readonly name: JsonObject
}): string {
  const { action, location, digest, keyId, name } = signature
  return sha256Hex(
    canonicalJson({ action, location: locationJson(location), digest, key: keyId, ...name }),
  )
}

export function legacySignature(
  subject: Subject,
  key: RegisteredKey,
  request: SignRequest,
): Intent {
  const payload = simpleSigningPayload({
    repository: request.identity ?? subject.repository.identity,
    digest: subject.descriptor.digest,
    annotations: request.annotations,
  })
  return {
    subject,
    key,
    action: 'sign',
    use: useOf(subject, request),
    name: { format: 'legacy', payload: sha256Hex(payload) },
    artifacts: ['sig'],
    makeContent: async (signer) => ({
      kind: 'simple-signing',
      payload,
      signature: await signer.sign(payload),
    }),
  }
}

export function bundleSignature(
  subject: Subject,
  key: RegisteredKey,
  request: SignRequest,
): Intent {
  const statement = signStatement(subject.descriptor.digest, request.annotations)
  return {
    subject,
    key,
    action: 'sign',
    use: useOf(subject, request),
    name: { format: 'bundle', payload: sha256Hex(statement) },
    artifacts: ['bundle'],
    makeContent: (signer) => envelope(signer, statement, COSIGN_SIGN_TYPE),
  }
}

/** The policy judges every name that a signature bears: the place, and the name that was asked for. */
function useOf({ location }: Subject, { identity, annotations }: SignRequest): Intent['use'] {
  const names = [locationName(location), ...(identity === null ? [] : [identity])]
  return { repositories: names, annotations, predicateType: null }
}

export function attestation(
  subject: Subject,
  key: RegisteredKey,
  request: AttestRequest,
  formats: SignatureFormats,
  clock: Clock,
): Intent {
  const artifacts: ArtifactKind[] = []
  if (formats !== 'bundle') artifacts.push('att')
  if (formats !== 'legacy') artifacts.push('bundle')
  return {
    subject,
    key,
    action: 'attest',
    use: {
      repositories: [locationName(subject.location)],
      annotations: {},
      predicateType: predicateTypeUri(request.type),
    },
    // A custom predicate holds the time of signing, so the file names it, not the statement.
    name: {
      format: formats,
      predicateType: predicateTypeUri(request.type),
      type: request.type,
      predicate: sha256Hex(request.predicate),
    },
    artifacts,
    makeContent: (signer) => {
      const { predicate, predicateType } = predicateOf(request.type, request.predicate, clock())
      const { digest } = subject.descriptor
      const statement = attestationStatement({
        subjectName: subject.repository.identity,
        digest,
        predicateType,
        predicate,
      })
      return envelope(signer, statement, predicateType)
    },
  }
}

/** A statement in its envelope, signed. */
export async function envelope(
  signer: Signer,
  statement: Uint8Array,
  predicateType: string,
): Promise<SignedContent> {
  const sig = await signer.sign(pae(IN_TOTO_TYPE, statement))
  const text = envelopeText({
    payloadType: IN_TOTO_TYPE,
    payload: statement,
    signatures: [{ sig, keyid: '' }],
  })
  return { kind: 'envelope', text, predicateType }
}
