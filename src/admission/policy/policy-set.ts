import { parseAllDocuments } from 'yaml'
import {
  AirsealError,
  asAirsealError,
  isObject,
  publicKeyFromPem,
  type Json,
  type JsonObject,
} from '../../core/index.ts'
import { parseImagePolicy, type ImagePolicy } from '../image-validating/policy.ts'
import { parseKyvernoPolicy, type KyvernoPolicy, type ParseOptions } from './kyverno.ts'
import type { Labels } from './selector.ts'

/** A policy in one of the dialects. */
export type Policy =
  | (KyvernoPolicy & { readonly dialect: 'kyverno' })
  | (ImagePolicy & { readonly dialect: 'image-validating' })

/** One document of a policy file, checked. */
export type PolicyDocument =
  | {
      readonly kind: 'policy'
      readonly name: string
      readonly policy: Policy
      readonly source: JsonObject
    }
  | {
      readonly kind: 'secret'
      readonly name: string
      readonly pem: string
      readonly source: JsonObject
    }
  | { readonly kind: 'config-map'; readonly name: string; readonly source: JsonObject }
  | {
      readonly kind: 'namespace'
      readonly name: string
      readonly labels: Labels
      readonly source: JsonObject
    }

/** Everything that policies and their surroundings say, as it was given to airseal. */
export interface PolicySet {
  readonly policies: readonly Policy[]
  readonly secrets: ReadonlyMap<string, string>
  readonly configMaps: ReadonlyMap<string, JsonObject>
  readonly namespaces: ReadonlyMap<string, Labels>
}

const MAX_TEXT = 4 * 1024 * 1024
const MAX_DOCUMENTS = 200

const POLICY_VERSIONS: Readonly<Record<string, readonly string[]>> = {
  ClusterPolicy: ['kyverno.io/v1', 'kyverno.io/v2beta1'],
  Policy: ['kyverno.io/v1', 'kyverno.io/v2beta1'],
  ImageValidatingPolicy: [
    'policies.kyverno.io/v1',
    'policies.kyverno.io/v1beta1',
    'policies.kyverno.io/v1alpha1',
  ],
  NamespacedImageValidatingPolicy: ['policies.kyverno.io/v1', 'policies.kyverno.io/v1beta1'],
}

/** The documents of a YAML or JSON text, as JSON. @throws AirsealError POLICY_INVALID */
export function readDocuments(text: string): readonly JsonObject[] {
  if (text.length > MAX_TEXT)
    throw new AirsealError('POLICY_INVALID', `the policy file is larger than ${MAX_TEXT} bytes`)
  const documents = parseAllDocuments(text, {
    strict: true,
    uniqueKeys: true,
    schema: 'core',
    merge: false,
  })
  if (!Array.isArray(documents)) return []
  if (documents.length > MAX_DOCUMENTS)
    throw new AirsealError(
      'POLICY_INVALID',
      `the policy file has more than ${MAX_DOCUMENTS} documents`,
    )
  return documents.flatMap((document) => {
    const [problem] = document.errors
    if (problem !== undefined)
      throw new AirsealError('POLICY_INVALID', `not YAML: ${problem.message.split('\n')[0] ?? ''}`)
    let value: Json
    try {
      value = document.toJS({ maxAliasCount: 100 }) as Json
    } catch (cause) {
      throw new AirsealError('POLICY_INVALID', 'the policy file has too many aliases', { cause })
    }
    if (value === null) return []
    if (!isObject(value))
      throw new AirsealError('POLICY_INVALID', 'a document of the policy file is no object')
    if (value['kind'] !== 'List') return [value]
    return Array.isArray(value['items']) ? value['items'].filter(isObject) : []
  })
}

/**
 * Reads one document: a policy, or what policies refer to (Secret with public keys, ConfigMap, Namespace).
 * @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED, naming the document
 */
export function readPolicyDocument(source: JsonObject, options: ParseOptions): PolicyDocument {
  const { kind, apiVersion } = source
  const metadata = isObject(source['metadata']) ? source['metadata'] : {}
  const name = typeof metadata['name'] === 'string' ? metadata['name'] : ''
  const where = `${typeof kind === 'string' ? kind.slice(0, 60) : 'document'} ${name.slice(0, 80)}`
  try {
    if (typeof kind !== 'string' || typeof apiVersion !== 'string')
      throw new AirsealError('POLICY_INVALID', 'it has no kind or apiVersion')
    if (name === '') throw new AirsealError('POLICY_INVALID', 'metadata.name is missing')
    const versions = POLICY_VERSIONS[kind]
    if (versions !== undefined) {
      if (!versions.includes(apiVersion))
        throw new AirsealError(
          'POLICY_UNSUPPORTED',
          `apiVersion ${apiVersion.slice(0, 80)} is not supported by airseal; ${versions.join(', ')} are`,
        )
      const policy = kind.endsWith('ImageValidatingPolicy')
        ? ({ ...parseImagePolicy(source, options), dialect: 'image-validating' } as const)
        : ({ ...parseKyvernoPolicy(source, options), dialect: 'kyverno' } as const)
      return { kind: 'policy', name: qualified(policy.namespace, name), policy, source }
    }
    const place = qualified(
      typeof metadata['namespace'] === 'string' ? metadata['namespace'] : 'default',
      name,
    )
    if (kind === 'Secret' && apiVersion === 'v1')
      return { kind: 'secret', name: place, pem: secretKeys(source), source: publicPart(source) }
    if (kind === 'ConfigMap' && apiVersion === 'v1')
      return { kind: 'config-map', name: place, source }
    if (kind === 'Namespace' && apiVersion === 'v1')
      return { kind: 'namespace', name, labels: labelsOf(metadata, name), source }
    throw new AirsealError(
      'POLICY_UNSUPPORTED',
      `kind ${kind.slice(0, 60)} (${apiVersion.slice(0, 60)}) is not supported by airseal`,
    )
  } catch (thrown) {
    const { code, message } = asAirsealError(thrown)
    throw new AirsealError(code, `${where}: ${message}`, { cause: thrown })
  }
}

function qualified(namespace: string | null, name: string): string {
  return namespace === null ? name : `${namespace}/${name}`
}

/** The API server sets this label itself. */
function labelsOf(metadata: JsonObject, name: string): Labels {
  const labels = isObject(metadata['labels']) ? metadata['labels'] : {}
  return { ...(labels as Labels), 'kubernetes.io/metadata.name': name }
}

/** Only public keys are read, under the name that cosign and Kyverno use. */
function secretKeys(source: JsonObject): string {
  const data = isObject(source['data']) ? source['data']['cosign.pub'] : undefined
  const plain = isObject(source['stringData']) ? source['stringData']['cosign.pub'] : undefined
  const text =
    typeof plain === 'string'
      ? plain
      : typeof data === 'string'
        ? Buffer.from(data, 'base64').toString('utf8')
        : null
  if (text === null)
    throw new AirsealError(
      'POLICY_INVALID',
      'the Secret has no cosign.pub: airseal reads public keys only',
    )
  return publicKeyFromPem(text).pem
}

/** What else is in a Secret is none of airseal's business, and is not stored. */
function publicPart(source: JsonObject): JsonObject {
  const { apiVersion, kind, metadata } = source
  const place = isObject(metadata)
    ? { name: metadata['name'] ?? null, namespace: metadata['namespace'] ?? 'default' }
    : {}
  return {
    apiVersion: apiVersion ?? 'v1',
    kind: kind ?? 'Secret',
    metadata: place,
    stringData: { 'cosign.pub': secretKeys(source) },
  }
}

export function policySet(documents: readonly PolicyDocument[]): PolicySet {
  const secrets = new Map<string, string>()
  const configMaps = new Map<string, JsonObject>()
  const namespaces = new Map<string, Labels>()
  const policies: Policy[] = []
  for (const document of documents) {
    if (document.kind === 'policy') policies.push(document.policy)
    else if (document.kind === 'secret') secrets.set(document.name, document.pem)
    else if (document.kind === 'config-map') configMaps.set(document.name, document.source)
    else namespaces.set(document.name, document.labels)
  }
  return { policies, secrets, configMaps, namespaces }
}
