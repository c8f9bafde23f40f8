import { AirsealError, isObject, type Json, type JsonObject } from '../../core/index.ts'
import type { Matchable } from '../policy/match.ts'
import type { Subject } from '../judge/subject.ts'

/** An AdmissionReview (admission.k8s.io/v1), read. */
export interface Review {
  readonly uid: string
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT'
  readonly dryRun: boolean
  /** One for the object, or one for each item of a List; empty where there is nothing to judge. */
  readonly subjects: readonly {
    readonly subject: Subject
    /** JSON pointer from the object that was sent. */ readonly base: string
  }[]
}

const OPERATIONS = ['CREATE', 'UPDATE', 'DELETE', 'CONNECT'] as const
/** Subresources by which images come in; all others leave the pod as it is, or have no images. */
const MAX_ITEMS = 1_000

/**
 * Reads what the API server sends. Anything malformed is refused with 400: an answer that allows must never follow from a request that was not
 * understood.
 * @throws AirsealError REVIEW_INVALID, TOO_LARGE
 */
export function parseReview(body: Json): Review {
  if (!isObject(body)) throw bad('the body must be an AdmissionReview')
  if (body['apiVersion'] !== 'admission.k8s.io/v1' || body['kind'] !== 'AdmissionReview')
    throw bad('apiVersion and kind must be admission.k8s.io/v1, AdmissionReview')
  const request = member(body, 'request')
  const uid = textOf(request, 'uid')
  if (uid === '' || uid.length > 128) throw bad('request.uid must have 1 to 128 characters')
  const operation = OPERATIONS.find((one) => one === request['operation'])
  if (operation === undefined)
    throw bad(`request.operation must be one of ${OPERATIONS.join(', ')}`)
  const dryRun = request['dryRun'] ?? false
  if (typeof dryRun !== 'boolean') throw bad('request.dryRun must be true or false')
  const head = { uid, operation, dryRun }
  // What is deleted is not started; a connection carries no object.
  if (operation === 'DELETE' || operation === 'CONNECT') return { ...head, subjects: [] }
  const object = member(request, 'object')
  const oldObject = request['oldObject'] ?? null
  if (operation === 'UPDATE' && !isObject(oldObject)) throw bad('request.oldObject is missing')
  const kind = member(request, 'kind')
  const common = {
    subresource: textOf(request, 'subResource'),
    operation,
    user: userOf(request['userInfo'] ?? null),
    request,
  }
  const gvk = {
    group: textOf(kind, 'group'),
    version: textOf(kind, 'version'),
    kind: textOf(kind, 'kind'),
  }
  if (gvk.kind === '' || gvk.version === '') throw bad('request.kind must name version and kind')
  if (object['kind'] !== gvk.kind)
    throw bad('request.object is of another kind than request.kind says')
  const whole: Subject = {
    ...common,
    ...gvk,
    name: textOf(request, 'name') || metadataText(object, 'name'),
    namespace: textOf(request, 'namespace'),
    object,
    oldObject: isObject(oldObject) ? oldObject : null,
  }
  return { ...head, subjects: expand(whole, '', 0) }
}

/** The items of a List, each by its own kind. */
function expand(subject: Subject, base: string, depth: number): Review['subjects'] {
  const { object, kind } = subject
  const { items } = object
  if (!kind.endsWith('List') || !Array.isArray(items)) return [{ subject, base }]
  if (depth > 3) throw bad('Lists are nested too deeply')
  if (items.length > MAX_ITEMS)
    throw new AirsealError('TOO_LARGE', `a List has more than ${MAX_ITEMS} items`)
  return items.flatMap((item, index) => {
    if (!isObject(item)) throw bad(`${base}/items/${index} must be an object`)
    const apiVersion = textOf(item, 'apiVersion')
    const [group = '', version = ''] = apiVersion.includes('/')
      ? apiVersion.split('/', 2)
      : ['', apiVersion]
    const named = textOf(item, 'kind')
    const own = {
      ...subject,
      // Items of a PodList need not say what they are.
      ...(named === '' ? { kind: kind.slice(0, -'List'.length) } : { group, version, kind: named }),
      name: metadataText(item, 'name'),
      namespace: metadataText(item, 'namespace') || subject.namespace,
      object: item,
      oldObject: null,
    }
    return expand(own, `${base}/items/${index}`, depth + 1)
  })
}

function userOf(value: Json): Matchable['user'] {
  if (!isObject(value)) return { name: '', groups: [] }
  const groups = value['groups'] ?? []
  return {
    name: textOf(value, 'username'),
    groups: Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [],
  }
}

function member(object: JsonObject, name: string): JsonObject {
  const value = object[name]
  if (!isObject(value)) throw bad(`${name} must be an object`)
  return value
}

function textOf(object: JsonObject, name: string): string {
  const value = object[name] ?? ''
  if (typeof value !== 'string') throw bad(`${name} must be a text`)
  return value
}

function metadataText(object: JsonObject, name: string): string {
  const metadata = object['metadata']
  return isObject(metadata) && typeof metadata[name] === 'string' ? metadata[name] : ''
}

function bad(message: string): AirsealError {
  return new AirsealError('REVIEW_INVALID', message)
}
