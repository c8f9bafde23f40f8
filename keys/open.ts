import {
  AirsealError,
  asAirsealError,
  KEY_ALGORITHMS,
  samePublicKey,
  type ErrorCode,
  type PublicKey,
} from '../src/core/index.ts'
import { transient, type Backend, type KeyDescription } from './backend.ts'
import type { AwsOptions } from './providers/aws-kms.ts'
import type { GoogleOptions } from './providers/google-kms.ts'
import { parseKeyReference } from './reference.ts'
import { createGuard, DEFAULT_LIMITS, type Guard, type Limits, type Timing } from './resilience.ts'
import type { KeyCheck, OpenedSigner } from './signer.ts'
import { verifiedSigner } from './verified-signer.ts'

export interface KeyOptions {
  /** Of a `file:` key. */
  readonly passphrase?: string
  readonly aws?: AwsOptions
  readonly google?: GoogleOptions
  readonly limits?: Partial<Limits>
  readonly timing?: Timing
}

export interface OpenOptions extends KeyOptions {
  /** The registered key. When the reference leads to another one, opening is refused with KEY_CHANGED. */
  readonly expected?: PublicKey
}

/**
 * Opens the key that a URI names. What the name leads to is looked up once and pinned; see keys/README.md for the rules.
 * @param name - for messages and the audit trail
 * @throws AirsealError KEY_REFERENCE, KEY_CHANGED, KEY_UNKNOWN, KEY_UNSUPPORTED, KEY_PIN, PASSPHRASE, KEY_UNAVAILABLE, RUNTIME…
 */
export async function openSigner(
  name: string,
  uri: string,
  options: OpenOptions = {},
): Promise<OpenedSigner> {
  const guard = guardOf(name, options)
  return signerOf(name, await openPinned(name, uri, options, guard), guard)
}

/** Apart from {@link signerOf}, whose closures live as long as the key: none of them may hold on to the passphrase in `options`. */
async function openPinned(
  name: string,
  uri: string,
  options: OpenOptions,
  guard: Guard,
): Promise<Backend> {
  const backend = await guard.run(async (signal) => {
    const opened = await openBackend(uri, options, signal)
    if (!signal.aborted) return opened
    // Nobody waits for it any more: its connection must not stay.
    await opened.close()
    throw transient(`key "${name}" was opened too late`, signal.reason)
  })
  const { publicKey } = backend.description
  if (options.expected !== undefined && !samePublicKey(publicKey, options.expected)) {
    await backend.close()
    throw new AirsealError(
      'KEY_CHANGED',
      `key "${name}" is not the registered one: ${uri} leads to another`,
    )
  }
  return backend
}

function signerOf(name: string, backend: Backend, guard: Guard): OpenedSigner {
  const { publicKey } = backend.description
  const signer = verifiedSigner({
    name,
    publicKey,
    hash: publicKey.algorithm.hash,
    sign: (input) => guard.run((signal) => backend.sign(input, signal)),
    close: () => backend.close(),
  })
  return {
    ...signer,
    description: backend.description,
    health: () => guard.state(),
    resolve: () => guard.run((signal) => backend.resolve(signal)),
  }
}

/** What the back-end says about a key, its guarantees among it. @throws AirsealError as {@link openSigner} */
export async function describeKey(uri: string, options: KeyOptions = {}): Promise<KeyDescription> {
  const signer = await openSigner('described', uri, options)
  await signer.close()
  return signer.description
}

/**
 * Makes a key where the URI says and returns its public half. Not retried: a second attempt might make a second key.
 * @param algorithm - a name of KEY_ALGORITHMS
 * @throws AirsealError KEY_EXISTS, KEY_UNSUPPORTED, KEY_REFERENCE…
 */
export async function createKey(
  uri: string,
  algorithm = 'ecdsa-p256',
  options: KeyOptions = {},
): Promise<PublicKey> {
  const facts = KEY_ALGORITHMS.get(algorithm)
  if (facts === undefined) throw new AirsealError('KEY_UNSUPPORTED', `no algorithm "${algorithm}"`)
  const reference = parseKeyReference(uri)
  const limits = { ...options.limits, attempts: 1 }
  return guardOf('new', { ...options, limits }).run(async (signal) => {
    switch (reference.backend) {
      case 'file': {
        const { createFileKey } = await import('./providers/file.ts')
        return createFileKey(reference, passphraseOf(options), facts)
      }
      case 'aws-kms': {
        const { createAwsKey } = await import('./providers/aws-kms.ts')
        return createAwsKey(reference, facts, options.aws ?? {}, signal)
      }
      case 'google-kms': {
        const { createGoogleKey } = await import('./providers/google-kms.ts')
        return createGoogleKey(reference, facts, options.google ?? {})
      }
      case 'pkcs11': {
        const { createPkcs11Key } = await import('./providers/pkcs11.ts')
        return createPkcs11Key(reference, algorithm, signal)
      }
    }
  })
}

/**
 * Signs a text that can be nothing else than a self-test, and looks whether the reference still leads to the pinned key. Never throws for
 * a key that fails.
 */
export async function checkSigner(signer: OpenedSigner): Promise<KeyCheck> {
  const findings: string[] = []
  let milliseconds: number | null = null
  let code: ErrorCode | null = null
  try {
    const from = performance.now()
    await signer.sign(new TextEncoder().encode(`airseal self-test of key ${signer.publicKey.id}\n`))
    milliseconds = performance.now() - from
    const now = await signer.resolve()
    if (!samePublicKey(now.publicKey, signer.publicKey)) {
      findings.push(
        `${now.uri} now leads to another key (${now.version}); the pinned one still signs`,
      )
    }
  } catch (error) {
    const failure = asAirsealError(error)
    if (milliseconds === null) code = failure.code
    findings.unshift(failure.message)
  }
  const { extractable, everExtractable, backend } = signer.description
  if (backend !== 'file' && (extractable === true || everExtractable === true)) {
    findings.push('the private key can leave its back-end, or once could')
  }
  return { isGood: code === null, code, milliseconds, findings }
}

async function openBackend(
  uri: string,
  options: KeyOptions,
  signal: AbortSignal,
): Promise<Backend> {
  const reference = parseKeyReference(uri)
  // Each SDK is loaded when its scheme is first used, and not before.
  switch (reference.backend) {
    case 'file': {
      const { fileBackend } = await import('./providers/file.ts')
      return fileBackend(reference, passphraseOf(options))
    }
    case 'aws-kms': {
      const { awsBackend } = await import('./providers/aws-kms.ts')
      return awsBackend(reference, options.aws ?? {}, signal)
    }
    case 'google-kms': {
      const { googleBackend } = await import('./providers/google-kms.ts')
      return googleBackend(reference, options.google ?? {})
    }
    case 'pkcs11': {
      const { pkcs11Backend } = await import('./providers/pkcs11.ts')
      return pkcs11Backend(reference, signal)
    }
  }
}

function passphraseOf({ passphrase }: KeyOptions): string {
  if (passphrase === undefined)
    throw new AirsealError('PASSPHRASE', 'the key file wants a passphrase')
  return passphrase
}

function guardOf(name: string, { limits, timing }: KeyOptions): Guard {
  return createGuard(name, { ...DEFAULT_LIMITS, ...limits }, timing)
}
