import { canonicalJson, toBase64, toHex, utf8 } from '../../src/core/index.ts'
import type { LoggedEntry, NewLeaf, SignedHead, TransparencyLog } from '../../src/log/index.ts'
import {
  checkpointBody,
  consistencyProof,
  inclusionProof,
  leafHash,
  nodeHash,
  signedNote,
  treeRoot,
} from '../../src/tlog/index.ts'
import { testKey } from './evidence.ts'

/** A log in memory with real proofs and signatures, for tests of what stands above the log. `fail` makes the next append throw. */
export class MemoryLog implements TransparencyLog {
  readonly key = testKey()
  readonly treeId = 1193050959916656506n
  readonly hostname = 'log.test'
  readonly logId = this.key.publicKey.id
  readonly publicKeyPem = this.key.publicKey.pem
  fail: Error | null = null
  /** Waited for before each append. */
  gate: Promise<void> = Promise.resolve()
  readonly #leaves: { leaf: NewLeaf; hash: Uint8Array; integratedTime: number }[] = []

  get size(): number {
    return this.#leaves.length
  }

  async append(leaf: NewLeaf): Promise<{ entry: LoggedEntry; duplicate: boolean }> {
    await this.gate
    const failure = this.fail
    this.fail = null
    if (failure !== null) throw failure
    const hash = leafHash(leaf.body)
    const known = this.#find(hash)
    if (known === -1) this.#leaves.push({ leaf, hash, integratedTime: 1_700_000_000 })
    return { entry: this.#entry(known === -1 ? this.size - 1 : known), duplicate: known !== -1 }
  }

  entryByIndex(logIndex: number): Promise<LoggedEntry | null> {
    return Promise.resolve(logIndex < this.size ? this.#entry(logIndex) : null)
  }

  entryByLeafHash(hash: Uint8Array, treeId?: bigint): Promise<LoggedEntry | null> {
    const index = treeId === undefined || treeId === this.treeId ? this.#find(hash) : -1
    return Promise.resolve(index === -1 ? null : this.#entry(index))
  }

  entryInTree(logIndex: number, { treeSize }: SignedHead): Promise<LoggedEntry | null> {
    return this.entryByIndex(logIndex < treeSize ? logIndex : this.size)
  }

  search(key: string, limit: number): Promise<readonly string[]> {
    const found = this.#leaves.filter(({ leaf }) => leaf.searchKeys.includes(key)).slice(0, limit)
    return Promise.resolve(found.map(({ hash }) => this.#id(hash)))
  }

  nextIndex(): number {
    return this.size
  }

  signedHead(): Promise<SignedHead> {
    const rootHash = treeRoot(this.size, this.#node)
    return Promise.resolve({
      treeId: this.treeId,
      treeSize: this.size,
      rootHash,
      checkpoint: this.#checkpoint(rootHash),
    })
  }

  consistencyProof(
    first: number,
    last: number,
  ): Promise<{ rootHash: Uint8Array; firstRoot: Uint8Array; hashes: readonly Uint8Array[] }> {
    return Promise.resolve({
      rootHash: treeRoot(this.size, this.#node),
      firstRoot: treeRoot(first, this.#node),
      hashes: consistencyProof(first, last, this.#node),
    })
  }

  close(): Promise<void> {
    return Promise.resolve()
  }

  #node = (level: number, index: number): Uint8Array =>
    level === 0
      ? (this.#leaves[index]?.hash ?? new Uint8Array())
      : nodeHash(this.#node(level - 1, 2 * index), this.#node(level - 1, 2 * index + 1))

  #find(hash: Uint8Array): number {
    return this.#leaves.findIndex((known) => toHex(known.hash) === toHex(hash))
  }

  #id(hash: Uint8Array): string {
    return this.treeId.toString(16).padStart(16, '0') + toHex(hash)
  }

  #checkpoint(rootHash: Uint8Array): string {
    const body = checkpointBody(`${this.hostname} - ${this.treeId}`, this.size, rootHash)
    return signedNote(
      body,
      this.hostname,
      Buffer.from(this.logId.slice(0, 8), 'hex'),
      this.key.sign(utf8(body)),
    )
  }

  #entry(index: number): LoggedEntry {
    const known = this.#leaves[index]
    if (known === undefined) throw new Error(`no leaf ${index}`)
    const { leaf, hash, integratedTime } = known
    const rootHash = treeRoot(this.size, this.#node)
    const promise = {
      body: toBase64(leaf.body),
      integratedTime,
      logID: this.logId,
      logIndex: index,
    }
    return {
      entryId: this.#id(hash),
      body: leaf.body,
      integratedTime,
      logId: this.logId,
      logIndex: index,
      proof: {
        index,
        treeSize: this.size,
        rootHash,
        hashes: inclusionProof(index, this.size, this.#node),
        checkpoint: this.#checkpoint(rootHash),
      },
      signedEntryTimestamp: this.key.sign(utf8(canonicalJson(promise))),
    }
  }
}
