import { AirsealError, isObject, type Json, type JsonObject } from '../../core/index.ts'
import { type FoundImage, pointerPart } from './found.ts'
import { parseImageName } from './name.ts'

/** Images of one object at most. */
export const MAX_IMAGES = 1_000

const TEMPLATE = ['spec', 'template', 'spec']

/** Group and kind → where the pod is in the object. */
const PODS: ReadonlyMap<string, readonly string[]> = new Map([
  ['/Pod', ['spec']],
  ['/PodTemplate', ['template', 'spec']],
  ['/ReplicationController', TEMPLATE],
  ['apps/Deployment', TEMPLATE],
  ['apps/ReplicaSet', TEMPLATE],
  ['apps/StatefulSet', TEMPLATE],
  ['apps/DaemonSet', TEMPLATE],
  ['batch/Job', TEMPLATE],
  ['batch/CronJob', ['spec', 'jobTemplate', 'spec', 'template', 'spec']],
])

const CONTAINERS = ['initContainers', 'containers', 'ephemeralContainers'] as const

/** Where the pod of such an object is; null for objects without one. */
export function podPath(group: string, kind: string): readonly string[] | null {
  return PODS.get(`${group}/${kind}`) ?? null
}

/** The pod's specification; null when the object has none. */
export function podSpec(object: JsonObject, path: readonly string[]): JsonObject | null {
  let value: Json | undefined = object
  for (const part of path) value = isObject(value) ? value[part] : undefined
  return isObject(value) ? value : null
}

/**
 * Every image of a workload: initial, ordinary and ephemeral containers in their order, then image volumes, which Kyverno does not look at. A blank image is
 * none: the API server refuses it in Pods and allows it in templates, where nothing can be pulled.
 * @throws AirsealError REVIEW_INVALID for an object of another shape than Kubernetes gives it, TOO_LARGE beyond {@link MAX_IMAGES}
 */
export function workloadImages(
  object: JsonObject,
  path: readonly string[],
  withVolumes: boolean,
): FoundImage[] {
  const spec = podSpec(object, path)
  if (spec === null) return []
  const base = `/${path.join('/')}`
  const found: FoundImage[] = []
  const add = (group: string, key: string, text: Json | undefined, pointer: string): void => {
    if (text === undefined || text === null) return
    if (typeof text !== 'string')
      throw new AirsealError('REVIEW_INVALID', `${pointer} must be a text`)
    if (text.trim() === '') return
    const image = parseImageName(text)
    found.push({ group, key, text, image, pointer, pinnable: true })
    if (found.length > MAX_IMAGES)
      throw new AirsealError('TOO_LARGE', `the object has more than ${MAX_IMAGES} images`)
  }
  for (const group of CONTAINERS) {
    for (const [index, container] of items(spec, group, base).entries()) {
      add(group, nameOf(container, index), container['image'], `${base}/${group}/${index}/image`)
    }
  }
  if (!withVolumes) return found
  for (const [index, volume] of items(spec, 'volumes', base).entries()) {
    const { image } = volume
    if (!isObject(image)) continue
    const pointer = `${base}/volumes/${index}/image/reference`
    add('volumes', nameOf(volume, index), image['reference'], pointer)
  }
  return found
}

function items(spec: JsonObject, name: string, base: string): readonly JsonObject[] {
  const value = spec[name] ?? []
  if (!Array.isArray(value))
    throw new AirsealError('REVIEW_INVALID', `${base}/${name} must be a list`)
  return value.map((item) => {
    if (!isObject(item))
      throw new AirsealError('REVIEW_INVALID', `${base}/${name} must hold objects`)
    return item
  })
}

function nameOf(item: JsonObject, index: number): string {
  const { name } = item
  return typeof name === 'string' && name !== '' ? name : pointerPart(index)
}
