import type { JsonObject } from '../../core/index.ts'
import type { ObjectVerdict, PatchOperation } from '../judge/object.ts'

/** What is told of all objects of a review. */
export interface ReviewVerdict {
  readonly allowed: boolean
  readonly message: string | null
  readonly warnings: readonly string[]
  readonly patch: readonly PatchOperation[]
  /** For the audit log of the API server. */
  readonly notes: Readonly<Record<string, string>>
}

const MAX_WARNINGS_BYTES = 4_000
const MAX_NOTE = 2_000

/** The AdmissionReview that is sent back. Patch and patch type come together or not at all, and never with a refusal. */
export function answerReview(uid: string, verdict: ReviewVerdict): JsonObject {
  const { allowed, message, warnings, patch, notes } = verdict
  const response: JsonObject = {
    uid,
    allowed,
    ...(allowed &&
      patch.length > 0 && {
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      }),
    ...(warnings.length > 0 && { warnings: bounded(warnings) }),
    ...(Object.keys(notes).length > 0 && { auditAnnotations: notes }),
    ...(!allowed && {
      status: {
        status: 'Failure',
        code: 403,
        reason: 'Forbidden',
        message: message ?? 'airseal refuses it',
      },
    }),
  }
  return { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response }
}

/** The API server cuts what is longer in total. */
function bounded(warnings: readonly string[]): string[] {
  const kept: string[] = []
  let size = 0
  for (const warning of warnings) {
    size += Buffer.byteLength(warning)
    if (size > MAX_WARNINGS_BYTES) break
    kept.push(warning)
  }
  return kept
}

/** Puts the verdicts on the items of a List together: one refusal refuses all. */
export function together(
  verdicts: readonly { readonly base: string; readonly verdict: ObjectVerdict }[],
  trustVersion: string,
): ReviewVerdict {
  const refused = verdicts.filter(({ verdict }) => !verdict.allowed)
  const digests = Object.assign({}, ...verdicts.map(({ verdict }) => verdict.digests)) as Record<
    string,
    string
  >
  const uncovered = [...new Set(verdicts.flatMap(({ verdict }) => verdict.uncovered))]
  return {
    allowed: refused.length === 0,
    message:
      refused.length === 0 ? null : refused.map(({ verdict }) => verdict.message ?? '').join('\n'),
    warnings: [...new Set(verdicts.flatMap(({ verdict }) => verdict.warnings))],
    patch:
      refused.length > 0
        ? []
        : verdicts.flatMap(({ base, verdict }) =>
            verdict.patch.map((one) => ({ ...one, path: `${base}${one.path}` })),
          ),
    notes: {
      'trust-version': trustVersion,
      ...(Object.keys(digests).length > 0 && {
        digests: JSON.stringify(digests).slice(0, MAX_NOTE),
      }),
      ...(uncovered.length > 0 && {
        'images-without-policy': uncovered.join(' ').slice(0, MAX_NOTE),
      }),
    },
  }
}
