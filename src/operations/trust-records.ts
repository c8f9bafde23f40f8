import {
  AirsealError,
  asAirsealError,
  canonicalJson,
  fromUtf8,
  isObject,
  parseJson,
  utf8,
  type Json,
} from '../core/index.ts'
import type { AuditRow, DocumentChange, Records, StoredDocument } from '../log/index.ts'
import {
  bundleFile,
  parseTrustBundle,
  readUnsigned,
  unsignedBundle,
  type SignedTrustBundle,
  type TrustDocument,
} from '../trust/index.ts'
import { parseRootText, rootText, type OnlineRoot } from './trust-root.ts'

const KIND = 'trust'
const CURRENT = 'current'
const DRAFT = 'draft'
const ROOT = 'root'

/** What is stored of trust. */
export interface TrustRecords {
  readonly current: SignedTrustBundle
  /** What the operator wants and the roots have not signed yet; null: nothing. */
  readonly draft: TrustDocument | null
  readonly root: OnlineRoot | null
}

type Revisions = Readonly<Record<'current' | 'draft' | 'root', number | null>>

/** The stored trust of a site. Every change is durable with its audit row before anybody sees it. */
export class TrustStore {
  readonly #records: Records
  #revisions: Revisions = { current: null, draft: null, root: null }

  constructor(records: Records) {
    this.#records = records
  }

  /** Null: nothing is stored yet. @throws AirsealError STORAGE */
  async load(): Promise<TrustRecords | null> {
    const [current, draft, root] = await Promise.all(
      [CURRENT, DRAFT, ROOT].map((name) => this.#records.document(KIND, name)),
    )
    this.#revisions = {
      current: current?.revision ?? null,
      draft: draft?.revision ?? null,
      root: root?.revision ?? null,
    }
    if (!current) return null
    return {
      current: read(current, (text) => parseTrustBundle(utf8(text))),
      draft: draft ? read(draft, parseDraft) : null,
      root: root ? parseRootText(root.text) : null,
    }
  }

  /** A version that was published. @throws AirsealError NOT_FOUND, STORAGE */
  async version(version: number): Promise<SignedTrustBundle> {
    const stored = await this.#records.document(KIND, versionName(version))
    if (stored === null)
      throw new AirsealError('NOT_FOUND', `trust version ${version} was never published here`)
    return read(stored, (text) => parseTrustBundle(utf8(text)))
  }

  /** @throws AirsealError CONFLICT, STORAGE, TOO_LARGE */
  async save(before: TrustRecords | null, next: TrustRecords, audit: AuditRow): Promise<void> {
    const changes: DocumentChange[] = []
    const revisions = { ...this.#revisions }
    const put = (name: 'current' | 'draft' | 'root', text: string): void => {
      const expected = revisions[name]
      changes.push({ kind: KIND, name, expected, text })
      revisions[name] = (expected ?? 0) + 1
    }
    if (before?.current.digest !== next.current.digest) {
      const text = fromUtf8(bundleFile(next.current), 'the trust bundle')
      put(CURRENT, text)
      const name = versionName(next.current.document.version)
      changes.push({ kind: KIND, name, expected: null, text })
    }
    const drafts = [before?.draft ?? null, next.draft].map(draftText)
    if (drafts[0] !== drafts[1]) put(DRAFT, drafts[1] ?? 'null')
    const roots = [before?.root ?? null, next.root].map(rootText)
    if (roots[0] !== roots[1]) put(ROOT, roots[1] ?? 'null')
    if (changes.length === 0) return
    await this.#records.putDocuments(changes, audit)
    this.#revisions = revisions
  }
}

function versionName(version: number): string {
  return `version-${String(version).padStart(10, '0')}`
}

function draftText(draft: TrustDocument | null): string {
  return draft === null ? 'null' : fromUtf8(unsignedBundle(draft).payload, 'the draft')
}

function parseDraft(text: string): TrustDocument | null {
  const value: Json = parseJson(text)
  return isObject(value) ? readUnsigned(utf8(canonicalJson(value))).document : null
}

function read<Result>(stored: StoredDocument, parse: (text: string) => Result): Result {
  try {
    return parse(stored.text)
  } catch (cause) {
    const { message } = asAirsealError(cause)
    throw new AirsealError('STORAGE', `the stored trust "${stored.name}" is damaged: ${message}`, {
      cause,
    })
  }
}
