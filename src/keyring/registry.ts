import { AirsealError, canonicalJson, isObject, parseJson } from '../core/index.ts'
import type { AuditRow, DocumentChange, Records, StoredDocument } from '../log/index.ts'
import { requireActive } from './authorise.ts'
import { parseKey, serialiseKey, type KeyRecord, type RegisteredKey } from './record.ts'

/** Kinds of documents. */
const KEY = 'key'
const ROLE = 'key-role'
const DEFAULT = 'default'
const PAGE = 1_000

/** What is changed at once. */
export interface KeyChanges {
  readonly keys: readonly KeyRecord[]
  /** Name of the key that signs when none is named; absent: stays. */
  readonly defaultKey?: string
}

/** Which key signs when none is named. */
interface Role {
  readonly key: string
  readonly revision: number
}

/**
 * The keys of a site, all of them in memory and durable. It is changed by {@link KeyRegistry.change} only; whoever publishes keys listens.
 */
export class KeyRegistry {
  readonly #records: Records
  readonly #keys: Map<string, RegisteredKey>
  readonly #listeners: (() => void | Promise<void>)[] = []
  #role: Role | null

  private constructor(records: Records, keys: Map<string, RegisteredKey>, role: Role | null) {
    this.#records = records
    this.#keys = keys
    this.#role = role
  }

  /** Loads what is registered; of a new site nothing is. @throws AirsealError STORAGE */
  static async open(records: Records): Promise<KeyRegistry> {
    const keys = new Map<string, RegisteredKey>()
    let after = ''
    for (;;) {
      const page = await records.documents(KEY, { after, limit: PAGE })
      for (const document of page) keys.set(document.name, registered(document))
      const last = page.at(-1)
      if (last === undefined || page.length < PAGE) break
      after = last.name
    }
    const stored = await records.document(ROLE, DEFAULT)
    return new KeyRegistry(records, keys, stored === null ? null : parseRole(stored))
  }

  /** Grows with each change; the same keys in the same state have the same one. */
  get revision(): number {
    const own = this.#role?.revision ?? 0
    return this.all().reduce((sum, { revision }) => sum + revision, own)
  }

  /** Every key that ever was registered, by name. */
  all(): readonly RegisteredKey[] {
    return [...this.#keys.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** The keys that sign; the default one first. */
  active(): readonly RegisteredKey[] {
    const active = this.all().filter(({ state }) => state === 'active')
    return active.sort(
      (a, b) => Number(b.name === this.#role?.key) - Number(a.name === this.#role?.key),
    )
  }

  /** The key that signs when none is named, in whatever state it is; null: nothing is registered yet. */
  default(): RegisteredKey | null {
    return this.#role === null ? null : (this.#keys.get(this.#role.key) ?? null)
  }

  /** @throws AirsealError KEY_UNKNOWN */
  get(name: string): RegisteredKey {
    const key = this.#keys.get(name)
    if (key !== undefined) return key
    const known = this.all().map((one) => one.name)
    throw new AirsealError(
      'KEY_UNKNOWN',
      `no key "${name.slice(0, 80)}"; there are: ${known.slice(0, 20).join(', ')}`,
    )
  }

  has(name: string): boolean {
    return this.#keys.has(name)
  }

  /** The key of this SPKI hash (hex), or null. */
  byKeyId(keyId: string): RegisteredKey | null {
    return this.all().find(({ publicKey }) => publicKey.id === keyId) ?? null
  }

  /** The key that is to sign. @throws AirsealError KEY_UNKNOWN, KEY_STATE */
  choose(name: string | null): RegisteredKey {
    const key = name === null ? this.default() : this.get(name)
    if (key === null) throw new AirsealError('KEY_UNKNOWN', 'no key is registered')
    requireActive(key)
    return key
  }

  /** Makes the changes durable with their audit row, all or nothing. @throws AirsealError CONFLICT, STORAGE */
  async change({ keys, defaultKey }: KeyChanges, audit: AuditRow): Promise<void> {
    const changes: DocumentChange[] = keys.map((key) => ({
      kind: KEY,
      name: key.name,
      expected: this.#keys.get(key.name)?.revision ?? null,
      text: serialiseKey(key),
    }))
    if (defaultKey !== undefined) {
      changes.push({
        kind: ROLE,
        name: DEFAULT,
        expected: this.#role?.revision ?? null,
        text: canonicalJson({ key: defaultKey }),
      })
    }
    for (const document of await this.#records.putDocuments(changes, audit)) {
      if (document.kind === KEY) this.#keys.set(document.name, registered(document))
      else this.#role = parseRole(document)
    }
    for (const listener of this.#listeners) await listener()
  }

  /** Called, and waited for, after each change. */
  onChange(listener: () => void | Promise<void>): void {
    this.#listeners.push(listener)
  }
}

function registered({ text, revision }: StoredDocument): RegisteredKey {
  return { ...parseKey(text), revision }
}

function parseRole({ text, revision }: StoredDocument): Role {
  const role = parseJson(text, { code: 'STORAGE', what: 'the stored default key' })
  const key = isObject(role) ? role['key'] : undefined
  if (typeof key !== 'string')
    throw new AirsealError('STORAGE', 'the stored default key has no name')
  return { key, revision }
}
