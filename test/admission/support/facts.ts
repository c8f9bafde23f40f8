import { generateKeyPairSync } from 'node:crypto'
import {
  sha256Hex,
  utf8,
  type Digest,
  type Json,
  type JsonObject,
} from '../../../src/core/index.ts'
import {
  judgeObject,
  parseReview,
  policySet,
  readPolicyDocument,
  type EvidenceSource,
  type Facts,
  type Finding,
  type ObjectVerdict,
} from '../../../src/admission/index.ts'

/** A fresh P-256 public key, PEM. */
export function newKey(): { readonly pem: string } {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  return { pem: publicKey.export({ type: 'spki', format: 'pem' }) as string }
}

const NO_LOGS: Facts['trust'] = {
  version: 'test',
  keys: [],
  believed: { logs: [], authorities: [], ctLogs: [], timestampAuthorities: [] },
  revoked: { digests: new Map(), entries: new Map() },
}

/** What tests say of an image: which keys (PEM) signed it, and which statements are attested by which key. */
export interface Known {
  readonly signedBy?: readonly string[]
  readonly attested?: readonly {
    readonly by: string
    readonly type: string
    readonly predicate: Json
  }[]
  readonly fault?: { readonly code: string }
}

export function digestOfText(text: string): Digest {
  return `sha256:${sha256Hex(utf8(text))}`
}

export interface Asked {
  readonly image: string
  readonly predicateType: string | null
}

/** Answers by a table, by repository. */
function sourceOf(images: Readonly<Record<string, Known>>, asked: Asked[] = []): EvidenceSource {
  const find = (registry: string, path: string): Known | undefined => images[`${registry}/${path}`]
  return {
    resolve: ({ registry, path, tag }) =>
      Promise.resolve(digestOfText(`${registry}/${path}:${tag}`)),
    judge: ({ image, predicateType, demand }) => {
      asked.push({ image: `${image.registry}/${image.path}`, predicateType })
      const known = find(image.registry, image.path)
      if (known?.fault !== undefined) {
        const { code } = known.fault
        return Promise.resolve({
          outcome: 'error',
          code,
          message: 'down',
          remedy: null,
          signers: [],
          statements: [],
        })
      }
      const keys = demand.trust.keys.map(({ key }) => key.pem)
      if (predicateType === null) {
        const signers = (known?.signedBy ?? []).filter((pem) => keys.includes(pem))
        return Promise.resolve(finding(signers, []))
      }
      const found = (known?.attested ?? []).filter(
        ({ by, type }) => keys.includes(by) && type === predicateType,
      )
      return Promise.resolve(
        finding(
          found.map(({ by }) => by),
          found.map(({ type, predicate }): JsonObject => ({ predicateType: type, predicate })),
        ),
      )
    },
  }
}

function finding(signers: readonly string[], statements: readonly JsonObject[]): Finding {
  return signers.length > 0
    ? { outcome: 'verified', code: null, message: 'signed', remedy: null, signers, statements }
    : {
        outcome: 'rejected',
        code: 'NO_SIGNATURES',
        message: 'there is no signature',
        remedy: 'Sign it.',
        signers: [],
        statements: [],
      }
}

export interface JudgeOptions {
  readonly documents: readonly object[]
  readonly object: object
  readonly oldObject?: object
  readonly images?: Readonly<Record<string, Known>>
  readonly phase?: 'mutate' | 'validate'
  readonly parity?: boolean
  readonly uncovered?: 'allow' | 'deny'
  readonly request?: Record<string, unknown>
  readonly asked?: Asked[]
}

/** Judges one object the way a review would. */
export async function judge(options: JudgeOptions): Promise<ObjectVerdict> {
  const {
    documents,
    object,
    oldObject,
    images = {},
    phase = 'validate',
    parity = false,
    uncovered = 'allow',
  } = options
  const set = policySet(documents.map((one) => readPolicyDocument(one as JsonObject, { parity })))
  const whole = object as {
    apiVersion: string
    kind: string
    metadata: { namespace?: string; name?: string }
  }
  const [group = '', version = ''] = whole.apiVersion.includes('/')
    ? whole.apiVersion.split('/')
    : ['', whole.apiVersion]
  const { subjects } = parseReview({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: 'u',
      kind: { group, version, kind: whole.kind },
      operation: oldObject === undefined ? 'CREATE' : 'UPDATE',
      namespace: whole.metadata.namespace ?? 'default',
      name: whole.metadata.name ?? '',
      object,
      ...(oldObject !== undefined && { oldObject }),
      userInfo: { username: 'somebody', groups: ['people'] },
      ...options.request,
    } as unknown as Json,
  })
  const facts: Facts = {
    trust: NO_LOGS,
    keysByUri: () => [],
    secret: (namespace, name) => set.secrets.get(`${namespace}/${name}`) ?? null,
    configMap: (namespace, name) => set.configMaps.get(`${namespace}/${name}`) ?? null,
    namespaceLabels: (name) => set.namespaces.get(name) ?? null,
    now: Date.parse('2026-11-24T00:00:00Z'),
    parity,
  }
  return judgeObject(
    set.policies,
    subjects[0]!.subject,
    { facts, source: sourceOf(images, options.asked), phase },
    uncovered,
  )
}
