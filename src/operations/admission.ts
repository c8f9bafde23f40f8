import type { Admission } from '../admission-service.ts'
import { siteFacts } from '../admission-state.ts'
import type { PolicyDocument } from '../admission/index.ts'
import {
  AirsealError,
  canonicalJson,
  isObject,
  parseJson,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { readObjects, type TestObject } from '../admission-objects.ts'
import type { Caller } from '../http/index.ts'
import type { StoredDocument } from '../log/index.ts'
import type { Operations } from './operation.ts'
import { auditRow, type SiteParts } from './site-parts.ts'

/** Kind under which policies for admission, and what they refer to, are stored. */
const KIND = 'admission-policy'
/** Stands in the place of a document that was removed, so that its name keeps its history. */
const REMOVED = '{}'

/** Policies for admission: added, listed, removed, tested, linted. */
export function admissionOperations(site: SiteParts): Operations {
  const { admission, records } = site
  const stored = async (): Promise<readonly StoredDocument[]> =>
    (await records.documents(KIND)).filter(({ text }) => text !== REMOVED)
  return {
    'admission/add': { permission: 'manage', run: (body, caller) => add(site, body, caller) },
    'admission/list': {
      permission: 'manage',
      run: async () => ({ policies: (await stored()).map(summary) }),
    },
    'admission/show': {
      permission: 'manage',
      run: async (body) => {
        const { name } = textMembers(body, ['name'])
        const found = await records.document(KIND, name ?? '')
        if (found === null || found.text === REMOVED) throw unknown(name ?? '')
        return { ...summary(found), document: parseJson(found.text) }
      },
    },
    'admission/remove': { permission: 'manage', run: (body, caller) => remove(site, body, caller) },
    'admission/test': {
      permission: 'manage',
      run: async (body) => {
        const { policies, resources, namespaces } = textMembers(
          body,
          ['policies', 'resources'],
          ['namespaces'],
        )
        return testPolicies(admission, policies ?? '', resources ?? '', namespaces ?? '')
      },
    },
    'policy/lint': {
      permission: 'verify',
      run: (body) => {
        const { text } = textMembers(body, ['text'])
        return Promise.resolve(admission.lint(text ?? '') as unknown as Json)
      },
    },
  }
}

/** Reads what is stored, so that it counts. A document that can't be read any more stops the start: fewer policies than before must never be in force unseen. */
export async function loadPolicies(
  site: Pick<SiteParts, 'records'>,
  admission: Admission,
): Promise<void> {
  const documents = await site.records.documents(KIND)
  const read = documents.flatMap(({ text }) => (text === REMOVED ? [] : admission.read(text)))
  admission.use(read)
}

async function add(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { text } = textMembers(body, ['text'])
  const documents = site.admission.read(text ?? '')
  if (documents.length === 0) throw new AirsealError('POLICY_INVALID', 'the file holds no policy')
  const names = documents.map(nameOf)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) throw new AirsealError('POLICY_INVALID', `the file has ${twice} twice`)
  const changes = await Promise.all(
    documents.map(async ({ source }, at) => {
      const name = names[at] ?? ''
      const before = await site.records.document(KIND, name)
      return { kind: KIND, name, expected: before?.revision ?? null, text: canonicalJson(source) }
    }),
  )
  const stored = await site.records.putDocuments(
    changes,
    auditRow(site, caller, 'admission/add', { names }),
  )
  await loadPolicies(site, site.admission)
  return { policies: stored.map(summary) }
}

async function remove(site: SiteParts, body: Json, caller: Caller): Promise<Json> {
  const { name } = textMembers(body, ['name'])
  const found = await site.records.document(KIND, name ?? '')
  if (found === null || found.text === REMOVED) throw unknown(name ?? '')
  const audit = auditRow(site, caller, 'admission/remove', { names: [found.name] })
  await site.records.putDocument({
    kind: KIND,
    name: found.name,
    expected: found.revision,
    text: REMOVED,
    audit,
  })
  await loadPolicies(site, site.admission)
  return { removed: found.name }
}

/** Judges manifests by policies, as the API server would have them judged one after the other. */
export async function testPolicies(
  admission: Admission,
  policies: string,
  resources: string,
  namespaces: string,
): Promise<Json> {
  const objects = readObjects(resources)
  const set = siteFacts([...admission.read(policies), ...admission.read(namespaces)], objects)
  const results: JsonObject[] = []
  for (const object of objects) results.push(await testObject(admission, object, set))
  return { results }
}

async function testObject(
  admission: Admission,
  { title, subject }: TestObject,
  set: Parameters<Admission['judge']>[1],
): Promise<JsonObject> {
  const { mutated, validated, rules } = await admission.judge(subject, set)
  const last = validated ?? mutated
  return {
    resource: title,
    allowed: last.allowed,
    message: last.message,
    warnings: [...new Set([...mutated.warnings, ...(validated?.warnings ?? [])])],
    patch: mutated.patch.map((one) => ({ ...one })),
    rules,
  }
}

function nameOf(document: PolicyDocument): string {
  const { kind } = document.source
  return `${typeof kind === 'string' ? kind : document.kind}/${document.name}`
}

function summary({ name, revision, time }: StoredDocument): JsonObject {
  return { name, revision, time }
}

function unknown(name: string): AirsealError {
  return new AirsealError('NOT_FOUND', `there is no policy ${name.slice(0, 120)}`)
}

/** Members of a body that are texts. @throws AirsealError REQUEST_INVALID for any other */
function textMembers(
  body: Json,
  required: readonly string[],
  optional: readonly string[] = [],
): Readonly<Record<string, string | undefined>> {
  if (!isObject(body)) throw new AirsealError('REQUEST_INVALID', 'the body must be a JSON object')
  const known = [...required, ...optional]
  for (const [name, value] of Object.entries(body)) {
    if (!known.includes(name) || typeof value !== 'string')
      throw new AirsealError(
        'REQUEST_INVALID',
        `${name.slice(0, 80)} is not known or no text; known: ${known.join(', ')}`,
      )
  }
  const missing = required.find((name) => body[name] === undefined)
  if (missing !== undefined) throw new AirsealError('REQUEST_INVALID', `${missing} is missing`)
  return body as Record<string, string | undefined>
}
