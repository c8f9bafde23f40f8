import { readFile } from 'node:fs/promises'
import {
  AirsealError,
  fromBase64,
  fromUtf8,
  isObject,
  parseJson,
  toBase64,
  type JsonObject,
} from '../core/index.ts'
import { LEGACY_ANNOTATIONS } from '../verify/index.ts'
import type { Input, Option } from './command.ts'
import { readOption } from './given-trust.ts'

/** Detached evidence about a file. `signed`: the bytes that `base64Signature` stands for, an envelope in the case of attestations. */
export type Detached =
  | { readonly format: 'bundle'; readonly text: string }
  | {
      readonly format: 'legacy'
      readonly signed: Uint8Array
      readonly annotations: Readonly<Record<string, string>>
    }

/** How detached evidence is named, with cosign's names. */
export const DETACHED_OPTIONS: Readonly<Record<string, Option>> = {
  bundle: {
    type: 'string',
    value: 'FILE',
    help: 'Sigstore bundle of version 0.1 to 0.3, or bundle of cosign 2',
  },
  signature: {
    type: 'string',
    value: 'FILE|TEXT',
    help: 'detached signature instead, base64; of attestations the envelope',
  },
  certificate: { type: 'string', value: 'FILE', help: 'its certificate, PEM' },
  'rfc3161-timestamp': {
    type: 'string',
    value: 'FILE',
    help: 'its time stamp, as cosign writes it',
  },
}

/** Reads the evidence that the options name. @throws AirsealError USAGE, BUNDLE_INVALID */
export async function detachedEvidence(input: Input): Promise<Detached> {
  const path = input.text('bundle')
  const signature = input.text('signature')
  if (path !== null && signature !== null)
    throw new AirsealError('USAGE', '--bundle and --signature are two signatures: give one')
  if (path !== null) {
    const text = fromUtf8(await readOption('bundle', path), 'the bundle', 'BUNDLE_INVALID')
    const legacy = legacyMembers(text)
    return legacy === null ? { format: 'bundle', text } : fromLegacyBundle(legacy, input)
  }
  if (signature === null) throw new AirsealError('USAGE', 'no --bundle given')
  const signed = await signatureOf(signature)
  return { format: 'legacy', signed, annotations: await annotationsOf(input, signed, {}) }
}

/** The members of a bundle of cosign 2; null for anything else, which is judged as a Sigstore bundle. */
function legacyMembers(text: string): JsonObject | null {
  try {
    const json = parseJson(text, { maxDepth: 8 })
    return isObject(json) && typeof json['base64Signature'] === 'string' ? json : null
  } catch {
    return null
  }
}

async function fromLegacyBundle(json: JsonObject, input: Input): Promise<Detached> {
  const unknown = Object.keys(json).find(
    (name) => !['base64Signature', 'cert', 'rekorBundle'].includes(name),
  )
  if (unknown !== undefined)
    throw new AirsealError(
      'BUNDLE_INVALID',
      `the bundle has an unknown member "${unknown.slice(0, 80)}"`,
    )
  const { base64Signature, cert, rekorBundle = null } = json
  const signed = fromBase64(
    typeof base64Signature === 'string' ? base64Signature : '',
    'base64Signature',
    'BUNDLE_INVALID',
  )
  const pem = pemOf(typeof cert === 'string' ? cert : '')
  return {
    format: 'legacy',
    signed,
    annotations: await annotationsOf(input, signed, {
      // A bare key is only a hint whose signature it is meant to be.
      ...(pem.includes('CERTIFICATE') && { [LEGACY_ANNOTATIONS.certificate]: pem }),
      ...(rekorBundle !== null && { [LEGACY_ANNOTATIONS.entry]: JSON.stringify(rekorBundle) }),
    }),
  }
}

async function annotationsOf(
  input: Input,
  signed: Uint8Array,
  given: Readonly<Record<string, string>>,
): Promise<Readonly<Record<string, string>>> {
  const certificate = input.text('certificate')
  const stamp = input.text('rfc3161-timestamp')
  return {
    ...given,
    [LEGACY_ANNOTATIONS.signature]: toBase64(signed),
    ...(certificate !== null && {
      [LEGACY_ANNOTATIONS.certificate]: pemOf(
        (await readOption('certificate', certificate)).toString(),
      ),
    }),
    ...(stamp !== null && {
      [LEGACY_ANNOTATIONS.timestamp]: (await readOption('rfc3161-timestamp', stamp)).toString(),
    }),
  }
}

/** PEM, also where it is wrapped in base64 once more, as cosign writes it. */
function pemOf(text: string): string {
  const trimmed = text.trim()
  if (trimmed === '' || trimmed.startsWith('-----')) return trimmed
  return fromUtf8(fromBase64(trimmed, 'the certificate', 'BUNDLE_INVALID'), 'the certificate')
}

/** A file with the signature, base64 or as it is; else the base64 itself. */
async function signatureOf(given: string): Promise<Uint8Array> {
  const bytes = await readFile(given).catch(() => null)
  if (bytes === null) return fromBase64(given, '--signature', 'BUNDLE_INVALID')
  try {
    return fromBase64(bytes.toString('latin1').trim(), '--signature')
  } catch {
    return bytes
  }
}
