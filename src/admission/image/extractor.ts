import { AirsealError, isObject, type Json, type JsonObject } from '../../core/index.ts'
import { type FoundImage, pointerPart } from './found.ts'
import { parseImageName } from './name.ts'
import { MAX_IMAGES } from './workloads.ts'

/** Where a policy finds the images of a kind (`imageExtractors` of Kyverno). */
export interface Extractor {
  /** Parts of the path; `*` is every item of a list or member of an object. */
  readonly path: readonly string[]
  /** Member that holds the image, below the path; null: the last part of the path. */
  readonly value: string | null
  /** Group under which variables see them. */
  readonly name: string
  /** Member whose value names each image; null: its position. */
  readonly key: string | null
  /** Changes the text before it is read as an image; then the place can't be pinned. */
  readonly transform: ((text: string) => Json) | null
}

/**
 * Images by the policy's own paths. Where something on the way is missing there is no image, as with Kyverno; unlike there, images with the same
 * key do not hide each other.
 * @throws AirsealError REVIEW_INVALID where something has the wrong shape, REFERENCE_INVALID, TOO_LARGE
 */
export function extractImages(object: JsonObject, extractors: readonly Extractor[]): FoundImage[] {
  return extractors.flatMap((extractor) => {
    const { path, value, name, key, transform } = extractor
    const holder = value === null ? path.slice(0, -1) : path
    const member = value ?? path.at(-1) ?? ''
    const found: FoundImage[] = []
    for (const place of walk(object, holder)) {
      if (!isObject(place.value)) throw wrong(place.pointer, 'must be an object')
      const text = place.value[member] ?? null
      const pointer = `${place.pointer}/${pointerPart(member)}`
      if (text === null || text === '') continue
      if (typeof text !== 'string') throw wrong(pointer, 'must be a text')
      const plain = transform === null ? text : transform(text)
      if (typeof plain !== 'string') throw wrong(pointer, 'gives no text after jmesPath')
      const named = key === null ? null : place.value[key]
      found.push({
        group: name,
        key: typeof named === 'string' ? named : String(found.length),
        text: plain,
        image: parseImageName(plain),
        pointer,
        pinnable: transform === null,
      })
      if (found.length > MAX_IMAGES)
        throw new AirsealError('TOO_LARGE', `the object has more than ${MAX_IMAGES} images`)
    }
    return found
  })
}

interface Place {
  readonly value: Json
  readonly pointer: string
}

function walk(object: JsonObject, path: readonly string[]): readonly Place[] {
  let places: readonly Place[] = [{ value: object, pointer: '' }]
  for (const part of path) {
    places = places.flatMap(({ value, pointer }): Place[] => {
      if (part !== '*') {
        if (!isObject(value)) throw wrong(pointer, 'must be an object')
        const next = value[part] ?? null
        return next === null ? [] : [{ value: next, pointer: `${pointer}/${pointerPart(part)}` }]
      }
      if (Array.isArray(value))
        return value.map((item, index) => ({ value: item, pointer: `${pointer}/${index}` }))
      if (!isObject(value)) throw wrong(pointer, 'must be a list or an object')
      return Object.entries(value).map(([name, item]) => ({
        value: item,
        pointer: `${pointer}/${pointerPart(name)}`,
      }))
    })
    if (places.length > MAX_IMAGES)
      throw new AirsealError('TOO_LARGE', `the object has more than ${MAX_IMAGES} images`)
  }
  return places
}

function wrong(pointer: string, problem: string): AirsealError {
  return new AirsealError('REVIEW_INVALID', `${pointer} ${problem}`)
}
