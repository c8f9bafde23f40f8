import { basename } from 'node:path'
import { isDigest, isObject, type Digest, type Json, type JsonObject } from '../core/index.ts'
import type { KeyUse, RegisteredKey } from '../keyring/index.ts'
import type { StoredAuditRow } from '../log/index.ts'
import { parseEnvelope, parseSimpleSigning, parseStatement } from '../sigstore/index.ts'
import { envelope, type Intent } from './intent.ts'
import { locationName, type JobDocument, type Location } from './job.ts'
import type { Subject } from './subjects.ts'

/** A signature as its audit row names it. */
export interface RecordedSignature {
  readonly action: Intent['action']
  readonly location: Location
  readonly digest: Digest
  readonly keyId: string
  /** See {@link Intent}. */
  readonly name: JsonObject
}

/** What the audit row of a signature says; null for rows of anything else. */
export function readSignature({
  action,
  key,
  digest,
  detail,
}: StoredAuditRow): RecordedSignature | null {
  if (action !== 'sign' && action !== 'attest') return null
  const { keyName: _keyName, use: _use, location: place, ...name } = detail
  const location = readLocation(place)
  if (key === undefined || digest === undefined || location === null || !isDigest(digest))
    return null
  return { action, location, digest, keyId: key, name }
}

function readLocation(place: Json | undefined): Location | null {
  if (!isObject(place)) return null
  const { kind, registry, repository, directory } = place
  if (kind === 'layout' && typeof directory === 'string') return { kind, directory }
  const isRegistry =
    kind === 'registry' && typeof registry === 'string' && typeof repository === 'string'
  return isRegistry ? { kind, registry, repository } : null
}

/** The same payload under another key. */
export function countersignature(
  subject: Subject,
  key: RegisteredKey,
  { action, name }: RecordedSignature,
  { content, artifacts, location }: JobDocument,
): Intent {
  const common = { subject, key, action, name, artifacts, use: useOf(action, content, location) }
  if (content.kind === 'simple-signing') {
    const { payload } = content
    return {
      ...common,
      makeContent: async (signer) => ({
        kind: 'simple-signing',
        payload,
        signature: await signer.sign(payload),
      }),
    }
  }
  const { payload } = parseEnvelope(content.text)
  return { ...common, makeContent: (signer) => envelope(signer, payload, content.predicateType) }
}

/** What the new key's policy judges, read from what is signed. */
function useOf(
  action: Intent['action'],
  content: JobDocument['content'],
  location: Location,
): Pick<KeyUse, 'repositories' | 'annotations' | 'predicateType'> {
  const place = locationName(location)
  if (content.kind === 'simple-signing') {
    const { reference, optional } = parseSimpleSigning(content.payload)
    // A layout has no name of its own; its folder's stands for it.
    const isOwn = location.kind === 'layout' && reference === basename(location.directory)
    const repositories = isOwn ? [place] : [...new Set([place, reference])]
    return { repositories, annotations: textsOf(optional), predicateType: null }
  }
  const { subjects, predicateType } = parseStatement(parseEnvelope(content.text).payload)
  const annotations = textsOf(
    Object.fromEntries(subjects.flatMap((one) => Object.entries(one.annotations))),
  )
  return {
    repositories: [place],
    annotations: action === 'sign' ? annotations : {},
    predicateType: action === 'sign' ? null : predicateType,
  }
}

function textsOf(annotations: JsonObject): Record<string, string> {
  return Object.fromEntries(
    Object.entries(annotations).map(([name, value]) => [
      name,
      typeof value === 'string' ? value : JSON.stringify(value),
    ]),
  )
}
