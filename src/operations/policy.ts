import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { isPolicyDocument, parsePolicyDocument } from '../evidence/index.ts'
import type { StoredDocument } from '../log/index.ts'
import { readPolicyText } from '../policy-store.ts'
import type { Operations } from './operation.ts'
import { auditRow, type SiteParts } from './site-parts.ts'

/** `airseal policy`: what is demanded of images, by name. */
export function policyOperations(site: SiteParts): Operations {
  const { policies } = site
  return {
    'policy/add': {
      permission: 'manage',
      run: async (body, caller) => {
        const text = textOf(body, 'text')
        const document = await readPolicyText(text)
        if (!isPolicyDocument(document)) {
          throw new AirsealError(
            'POLICY_INVALID',
            'the document is not apiVersion airseal/v1, kind VerificationPolicy',
          )
        }
        const { name, demands } = await parsePolicyDocument(document)
        const row = auditRow(site, caller, 'policy-add', { name, demands: demands.length })
        return summary(await policies.put(name, text, row))
      },
    },
    'policy/list': {
      permission: 'manage',
      run: async () => ({ policies: (await policies.all()).map(summary) }),
    },
    'policy/show': {
      permission: 'manage',
      run: async (body) => {
        const name = textOf(body, 'name')
        const stored = await policies.stored(name)
        if (stored === null)
          throw new AirsealError(
            'POLICY_UNKNOWN',
            `there is no policy named "${name.slice(0, 80)}"`,
          )
        return { ...summary(stored), text: stored.text }
      },
    },
  }
}

function summary({ name, revision, time }: StoredDocument): JsonObject {
  return { name, revision, time: new Date(time).toISOString() }
}

function textOf(body: Json, name: string): string {
  const value = isObject(body) ? body[name] : null
  if (typeof value === 'string' && value !== '') return value
  throw new AirsealError('REQUEST_INVALID', `${name} must be a text`)
}
