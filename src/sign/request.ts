import { AirsealError, fromBase64, isObject, type Json, type JsonObject } from '../core/index.ts'

export type SignatureFormats = 'both' | 'legacy' | 'bundle'

/** What to sign, from a command or from `POST /v1/sign`. */
export interface SignRequest {
  readonly images: readonly string[]
  /** Name of a key; null: the one signing key. */
  readonly key: string | null
  /** Sign the children of an index as well. */
  readonly recursive: boolean
  readonly annotations: Readonly<Record<string, string>>
  /** null: as configured. */
  readonly signatures: SignatureFormats | null
  /** Accept a tag, resolved once. */
  readonly resolveTag: boolean
  /** Repository name written into legacy payloads instead of the image's own. */
  readonly identity: string | null
}

/** What to attest, from a command or from `POST /v1/attest`. */
export interface AttestRequest extends Omit<SignRequest, 'annotations' | 'identity' | 'recursive'> {
  /** Name of a predicate type or an absolute URI. */
  readonly type: string
  /** Bytes of the predicate document. */
  readonly predicate: Uint8Array
}

const MAX_IMAGES = 100
const MAX_ANNOTATIONS = 64
const MAX_TEXT = 4096

/** @throws AirsealError REQUEST_INVALID naming the member */
export function parseSignRequest(body: Json): SignRequest {
  const members = takeMembers(body, [
    'images',
    'key',
    'recursive',
    'annotations',
    'signatures',
    'resolveTag',
    'identity',
  ])
  return {
    ...parseCommon(members),
    recursive: flag(members, 'recursive'),
    annotations: parseAnnotations(members['annotations'] ?? null),
    identity: text(members, 'identity'),
  }
}

/** @throws AirsealError REQUEST_INVALID naming the member */
export function parseAttestRequest(body: Json): AttestRequest {
  const members = takeMembers(body, [
    'images',
    'key',
    'signatures',
    'resolveTag',
    'type',
    'predicate',
    'predicateBase64',
  ])
  const type = text(members, 'type')
  if (type === null)
    throw invalid('type', 'is required: a predicate type such as cyclonedx, or a URI')
  return { ...parseCommon(members), type, predicate: parsePredicate(members) }
}

/** A JSON predicate comes as itself; other documents (and bytes that must stay as they are) as base64. */
function parsePredicate(members: JsonObject): Uint8Array {
  const { predicate, predicateBase64 } = members
  if ((predicate === undefined) === (predicateBase64 === undefined)) {
    throw invalid('predicate', 'or predicateBase64 is required, not both')
  }
  if (predicate !== undefined) return Buffer.from(JSON.stringify(predicate))
  if (typeof predicateBase64 !== 'string') throw invalid('predicateBase64', 'must be a string')
  return fromBase64(predicateBase64, 'predicateBase64')
}

function parseCommon(
  members: JsonObject,
): Pick<SignRequest, 'images' | 'key' | 'signatures' | 'resolveTag'> {
  const images = members['images']
  if (!Array.isArray(images) || images.length === 0 || images.length > MAX_IMAGES) {
    throw invalid('images', `must be a list of 1 to ${MAX_IMAGES} references`)
  }
  if (!images.every((image) => typeof image === 'string' && image.length <= MAX_TEXT)) {
    throw invalid('images', 'must hold references as strings')
  }
  const signatures = text(members, 'signatures')
  if (
    signatures !== null &&
    signatures !== 'both' &&
    signatures !== 'legacy' &&
    signatures !== 'bundle'
  ) {
    throw invalid('signatures', 'must be both, legacy or bundle')
  }
  return {
    images: images as string[],
    key: text(members, 'key'),
    signatures,
    resolveTag: flag(members, 'resolveTag'),
  }
}

function parseAnnotations(value: Json): Readonly<Record<string, string>> {
  if (value === null) return {}
  if (!isObject(value)) throw invalid('annotations', 'must be an object of strings')
  const entries = Object.entries(value)
  if (entries.length > MAX_ANNOTATIONS)
    throw invalid('annotations', `has more than ${MAX_ANNOTATIONS} members`)
  for (const [name, item] of entries) {
    if (
      name === '' ||
      typeof item !== 'string' ||
      name.length > MAX_TEXT ||
      item.length > MAX_TEXT
    ) {
      throw invalid(`annotations.${name}`, `must be a string of at most ${MAX_TEXT} characters`)
    }
  }
  return Object.fromEntries(entries) as Record<string, string>
}

function takeMembers(body: Json, known: readonly string[]): JsonObject {
  if (!isObject(body)) throw new AirsealError('REQUEST_INVALID', 'the body must be a JSON object')
  for (const name of Object.keys(body)) {
    if (!known.includes(name)) throw invalid(name, `is not known; known: ${known.join(', ')}`)
  }
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null))
}

function text(members: JsonObject, name: string): string | null {
  const value = members[name]
  if (value === undefined) return null
  if (typeof value !== 'string' || value === '' || value.length > MAX_TEXT)
    throw invalid(name, 'must be a non-empty string')
  return value
}

function flag(members: JsonObject, name: string): boolean {
  const value = members[name]
  if (value === undefined) return false
  if (typeof value !== 'boolean') throw invalid(name, 'must be true or false')
  return value
}

function invalid(name: string, message: string): AirsealError {
  return new AirsealError('REQUEST_INVALID', `${name} ${message}`)
}
