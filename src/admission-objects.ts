import { readDocuments, type Subject } from './admission/index.ts'
import { AirsealError, isObject, type JsonObject } from './core/index.ts'

/** A manifest on disk, as the API server would get it. */
export interface TestObject {
  readonly title: string
  readonly subject: Subject
  /** Set for a Namespace: its labels count for the objects in it. */
  readonly source: JsonObject
}

/** Reads manifests (YAML or JSON, several documents, Lists). Each is taken as a CREATE by nobody in particular. @throws AirsealError POLICY_INVALID */
export function readObjects(text: string): readonly TestObject[] {
  const objects = readDocuments(text).map((source): TestObject => {
    const { apiVersion, kind, metadata } = source
    if (typeof apiVersion !== 'string' || typeof kind !== 'string' || !isObject(metadata))
      throw new AirsealError('POLICY_INVALID', 'a manifest has no apiVersion, kind or metadata')
    const [group = '', version = ''] = apiVersion.includes('/')
      ? apiVersion.split('/', 2)
      : ['', apiVersion]
    const name = typeof metadata['name'] === 'string' ? metadata['name'] : ''
    const namespace = typeof metadata['namespace'] === 'string' ? metadata['namespace'] : 'default'
    const object = {
      ...source,
      metadata: { ...metadata, ...(group === '' && kind === 'Namespace' ? {} : { namespace }) },
    }
    return {
      title: `${kind} ${namespace}/${name}`,
      source,
      subject: {
        group,
        version,
        kind,
        subresource: '',
        operation: 'CREATE',
        name,
        namespace,
        object,
        oldObject: null,
        user: null,
        request: {
          operation: 'CREATE',
          namespace,
          name,
          object,
          kind: { group, version, kind },
          userInfo: {},
        },
      },
    }
  })
  if (objects.length === 0) throw new AirsealError('POLICY_INVALID', 'there is no manifest to test')
  return objects
}
