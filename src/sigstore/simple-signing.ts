import { AirsealError, fromUtf8, isDigest, isObject, parseJson, utf8 } from '../core/index.ts'
import type { Digest, Json, JsonObject } from '../core/index.ts'
import { goJson, sortedByUtf8 } from './go-json.ts'

/** Media type of the layer that holds a simple-signing payload. */
export const SIMPLE_SIGNING_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json'

const CRITICAL_TYPE = 'cosign container image signature'

/** Largest payload that is read; containers/image stops at 4 MiB, real ones stay under 2 KiB. */
const MAX_PAYLOAD = 1024 * 1024

export interface SimpleSigning {
  /** `critical.identity.docker-reference`: repository, for Podman with tag. */
  readonly reference: string
  readonly digest: Digest
  /** Members of `optional`; empty for null or absent. */
  readonly optional: JsonObject
}

/** What a simple-signing payload says. */
export interface SimpleSigningInput {
  /** Registry and repository, no tag, for example `registry.example/team/app`. */
  readonly repository: string
  readonly digest: Digest
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

/**
 * The bytes that a legacy signature signs, byte for byte as cosign writes them (fixed member order, sorted annotations,
 * `optional` null without annotations, no newline).
 */
export function simpleSigningPayload(input: SimpleSigningInput): Uint8Array {
  const annotations = input.annotations ?? {}
  return utf8(
    goJson({
      critical: {
        identity: { 'docker-reference': input.repository },
        image: { 'docker-manifest-digest': input.digest },
        type: CRITICAL_TYPE,
      },
      optional: Object.keys(annotations).length === 0 ? null : sortedByUtf8(annotations),
    }),
  )
}

/**
 * Reads attacker-controlled payload bytes as strictly as containers/image does: exact members, none twice, the type checked.
 * Unlike cosign, which does not look at `critical.type`.
 * @throws AirsealError BUNDLE_INVALID
 */
export function parseSimpleSigning(bytes: Uint8Array): SimpleSigning {
  if (bytes.length > MAX_PAYLOAD) throw invalid(`is larger than ${MAX_PAYLOAD} bytes`)
  const text = fromUtf8(bytes, 'the signed payload', 'BUNDLE_INVALID')
  const root = parseJson(text, { maxDepth: 32, code: 'BUNDLE_INVALID', what: 'the signed payload' })
  const top = members(root, 'payload', ['critical', 'optional'])
  const critical = members(top['critical'], 'critical', ['identity', 'image', 'type'])
  const identity = members(critical['identity'], 'critical.identity', ['docker-reference'])
  const image = members(critical['image'], 'critical.image', ['docker-manifest-digest'])
  if (critical['type'] !== CRITICAL_TYPE)
    throw invalid(`has a critical.type other than "${CRITICAL_TYPE}"`)
  const reference = identity['docker-reference']
  if (typeof reference !== 'string') throw invalid('has no docker-reference')
  const digest = image['docker-manifest-digest']
  if (typeof digest !== 'string' || !isDigest(digest))
    throw invalid('has no sha256 docker-manifest-digest')
  const optional = top['optional'] ?? {}
  if (!isObject(optional)) throw invalid('has an "optional" that is no object')
  return { reference, digest, optional }
}

function members(value: Json | undefined, where: string, allowed: readonly string[]): JsonObject {
  if (!isObject(value)) throw invalid(`has no object "${where}"`)
  for (const name of Object.keys(value)) {
    if (!allowed.includes(name))
      throw invalid(`has an unknown member "${name.slice(0, 80)}" in ${where}`)
  }
  return value
}

function invalid(problem: string): AirsealError {
  return new AirsealError('BUNDLE_INVALID', `the signed payload ${problem}`)
}
