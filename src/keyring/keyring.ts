import type { KeyCheck, OpenedSigner } from '../../keys/signer.ts'
import {
  AirsealError,
  asAirsealError,
  sha256Hex,
  toHex,
  type Clock,
  type JsonObject,
} from '../core/index.ts'
import type { Records } from '../log/index.ts'
import { authoriseUse, type KeyUse } from './authorise.ts'
import { Gate } from './gate.ts'
import { marksKey, type KeyHealth } from './health.ts'
import type { UseKind } from './policy.ts'
import type { KeyRecord, RegisteredKey } from './record.ts'
import type { KeyRegistry } from './registry.ts'
import { UseCounts } from './use-counts.ts'

/** What the ring of keys needs from the rest of the appliance. */
export interface KeyringParts {
  readonly registry: KeyRegistry
  readonly records: Records
  readonly clock: Clock
  /** Opens the private key of a record, pinned to its public key. @throws AirsealError KEY_CHANGED, KEY_UNAVAILABLE… */
  readonly open: (key: KeyRecord) => Promise<OpenedSigner>
  /** Signs a self-test. Never throws. */
  readonly check: (signer: OpenedSigner) => Promise<KeyCheck>
}

/** On what grounds a key is used; goes into the audit row of the signature. */
export type Grounds = Readonly<{
  /** What the back-end calls the key: ARN, version, serial and id, path. */
  keyVersion: string
  /** Revision of the record whose policy allowed it; `policy` false: it has none. */
  keyRevision: number
  policy: boolean
}>

const ACTIONS: Readonly<Record<UseKind, string>> = {
  sign: 'sign',
  attest: 'attest',
  document: 'sign-document',
  digest: 'sign-digest',
}

/** What is signed: bytes, or a digest made with the signer's hash. */
export type ToSign = { readonly message: Uint8Array } | { readonly digest: Uint8Array }

/**
 * The keys of a site at work. A key is opened when it is first used and stays open; every use is authorised, counted, audited; a refusal
 * is audited too. Nothing else reaches a private key.
 */
export class Keyring {
  readonly registry: KeyRegistry
  readonly #parts: KeyringParts
  readonly #counts: UseCounts
  readonly #gate = new Gate()
  readonly #opened = new Map<string, Promise<OpenedSigner>>()
  readonly #health = new Map<string, KeyHealth>()

  constructor(parts: KeyringParts) {
    this.registry = parts.registry
    this.#parts = parts
    this.#counts = new UseCounts(parts.records)
  }

  /**
   * Lets `work` sign once with a key. It must store the audit row of the signature before the signature leaves it, with an action of
   * those that UseCounts counts, and the key's id.
   * @param name - null: the default key
   * @throws AirsealError KEY_UNKNOWN, KEY_STATE, KEY_POLICY, what opening and signing give, what `work` throws
   */
  async use<T>(
    name: string | null,
    use: KeyUse,
    work: (signer: OpenedSigner, grounds: Grounds) => Promise<T>,
  ): Promise<T> {
    return this.#gate.shared(async () => {
      const key = await this.#authorised(name, use)
      const signer = await this.#open(key)
      const settle = await this.#taken(key, use)
      let isReleased = false
      try {
        const { revision: keyRevision, policy } = key
        const keyVersion = signer.description.version
        const result = await work(signer, { keyVersion, keyRevision, policy: policy !== null })
        isReleased = true
        this.#note(key, null)
        return result
      } catch (thrown) {
        this.#note(key, asAirsealError(thrown))
        throw thrown
      } finally {
        settle(isReleased)
      }
    })
  }

  /**
   * Signs something that airseal did not build itself, for the doors; the audit row is durable before the signature is returned.
   * @param detail - more for the audit row
   * @throws AirsealError as {@link Keyring.use}
   */
  async signWithKey(
    name: string | null,
    use: KeyUse,
    input: ToSign,
    detail: JsonObject = {},
  ): Promise<{ readonly signature: Uint8Array; readonly key: RegisteredKey }> {
    return this.use(name, use, async (signer, grounds) => {
      const signature =
        'message' in input
          ? await signer.sign(input.message)
          : await signer.signDigest(input.digest)
      const key = this.registry.byKeyId(signer.publicKey.id)
      if (key === null) throw new AirsealError('INTERNAL', 'a key was used that is not registered')
      await this.#parts.records.audit({
        time: this.#parts.clock(),
        caller: use.caller,
        action: ACTIONS[use.kind],
        key: key.publicKey.id,
        ...(use.digest === null ? {} : { digest: use.digest }),
        detail: {
          ...detail,
          keyName: key.name,
          use: { ...grounds },
          signed: 'message' in input ? sha256Hex(input.message) : toHex(input.digest),
          repositories: use.repositories === null ? null : [...use.repositories],
          predicateType: use.predicateType,
        },
      })
      return { signature, key }
    })
  }

  /** Beside uses, never beside a change of keys. */
  shared<T>(work: () => Promise<T>): Promise<T> {
    return this.#gate.shared(work)
  }

  /** Changes keys: waits until no use is under way, and lets none begin meanwhile. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#gate.exclusive(work)
  }

  /** Opens a key without using it, for looking at it. @throws AirsealError KEY_UNKNOWN, and as opening gives */
  async opened(name: string): Promise<OpenedSigner> {
    return this.#open(this.registry.get(name))
  }

  /**
   * Signs a self-test, which no other signature can be taken for, and looks where the reference leads now. Audited when it signed: the
   * back-end counts it too. Never throws for a key that fails.
   * @throws AirsealError KEY_UNKNOWN
   */
  async selfTest(name: string, caller = 'airseal'): Promise<KeyHealth> {
    const key = this.registry.get(name)
    const { records, clock, check } = this.#parts
    let health: KeyHealth
    try {
      const result = await check(await this.#open(key))
      if (result.milliseconds !== null) {
        await records.audit({
          time: clock(),
          caller,
          action: 'key/self-test',
          key: key.publicKey.id,
          detail: { keyName: name },
        })
      }
      health = { ...result, time: clock() }
    } catch (thrown) {
      const { code, message } = asAirsealError(thrown)
      health = { isGood: false, milliseconds: null, code, findings: [message], time: clock() }
    }
    this.#health.set(name, health)
    return health
  }

  /** What is known of a key without asking its back-end; null: it was not tried yet. */
  health(name: string): KeyHealth | null {
    return this.#health.get(name) ?? null
  }

  /** Forgets an opened key, so that its next use opens it anew. */
  async forget(name: string): Promise<void> {
    const signer = this.#opened.get(name)
    this.#opened.delete(name)
    this.#health.delete(name)
    await signer?.then(
      (opened) => opened.close(),
      () => undefined,
    )
  }

  async close(): Promise<void> {
    for (const name of [...this.#opened.keys()]) await this.forget(name)
  }

  async #authorised(name: string | null, use: KeyUse): Promise<RegisteredKey> {
    const key = name === null ? this.registry.default() : this.registry.get(name)
    if (key === null) throw new AirsealError('KEY_UNKNOWN', 'no key is registered')
    await this.#orRefused(key, use, () => {
      authoriseUse(key, use, this.#parts.clock())
    })
    return key
  }

  #taken(key: RegisteredKey, use: KeyUse): Promise<(wasReleased: boolean) => void> {
    return this.#orRefused(key, use, () => this.#counts.take(key, this.#parts.clock()))
  }

  /** Refusals by state and policy leave a row; those of the back-end don't: nobody was denied anything. */
  async #orRefused<T>(key: RegisteredKey, use: KeyUse, decide: () => T | Promise<T>): Promise<T> {
    try {
      return await decide()
    } catch (thrown) {
      const { code, message, details } = asAirsealError(thrown)
      if (code === 'KEY_POLICY' || code === 'KEY_STATE') {
        await this.#parts.records.audit({
          time: this.#parts.clock(),
          caller: use.caller,
          action: 'key/refused',
          key: key.publicKey.id,
          ...(use.digest === null ? {} : { digest: use.digest }),
          detail: {
            keyName: key.name,
            kind: use.kind,
            code,
            message,
            details: (details ?? null) as JsonObject | null,
            repositories: use.repositories === null ? null : [...use.repositories],
          },
        })
      }
      throw thrown
    }
  }

  async #open(key: RegisteredKey): Promise<OpenedSigner> {
    const known = this.#opened.get(key.name)
    if (known !== undefined) return known
    const opening = this.#parts.open(key)
    this.#opened.set(key.name, opening)
    try {
      return await opening
    } catch (thrown) {
      this.#opened.delete(key.name)
      this.#note(key, asAirsealError(thrown))
      throw thrown
    }
  }

  /** What a use tells about the health of a key: a good one heals it, a fault of its back-end doesn't wait for the next self-test. */
  #note({ name }: KeyRecord, error: AirsealError | null): void {
    const time = this.#parts.clock()
    if (error === null) {
      const before = this.#health.get(name)
      if (before?.isGood !== true)
        this.#health.set(name, { isGood: true, milliseconds: null, code: null, findings: [], time })
    } else if (marksKey(error.code)) {
      const { code, message } = error
      this.#health.set(name, { isGood: false, milliseconds: null, code, findings: [message], time })
    }
  }
}
