import type { Signer } from '../../keys/signer.ts'
import { fromHex, toBase64, toHex, utf8 } from '../core/index.ts'
import { checkpointBody, signedNote } from '../tlog/index.ts'
import type { Head, StoredCheckpoint } from './store.ts'

/** Timestamps that are kept, about 100 bytes each, so that reading what was just written asks the key for nothing. */
const KEPT = 8192

export interface TimestampedEntry {
  readonly body: Uint8Array
  readonly integratedTime: number
  readonly logIndex: number
}

interface Kept {
  readonly logIndex: number
  readonly signature: Uint8Array
}

/** Names of one tree, as they appear in what is signed for it. */
export class Receipts {
  readonly logId: string
  readonly treeIdHex: string
  readonly #signer: Signer
  readonly #hostname: string
  readonly #origin: string
  /** A ring by index. A Map would walk over what was removed to find its oldest member. */
  readonly #kept = Array.from<Kept | undefined>({ length: KEPT })

  constructor(signer: Signer, hostname: string, treeId: bigint) {
    this.#signer = signer
    this.#hostname = hostname
    this.#origin = `${hostname} - ${treeId}`
    this.logId = signer.publicKey.id
    this.treeIdHex = treeId.toString(16).padStart(16, '0')
  }

  entryId(leafHash: Uint8Array): string {
    return this.treeIdHex + toHex(leafHash)
  }

  get origin(): string {
    return this.#origin
  }

  /** Signs a head that is durable. Only such heads may come here. @throws AirsealError KEY_UNAVAILABLE, SIGNATURE_FAULT */
  async checkpoint({ size, root }: Pick<Head, 'size' | 'root'>): Promise<StoredCheckpoint> {
    const body = checkpointBody(this.#origin, size, root)
    const signature = await this.#signer.sign(utf8(body))
    // Unlike C2SP: Rekor's hint is the beginning of the key's SPKI hash, which is the log id.
    const hint = fromHex(this.logId.slice(0, 8), 'log id')
    return {
      size,
      root: new Uint8Array(root),
      note: signedNote(body, this.#hostname, hint, signature),
    }
  }

  /**
   * Signed entry timestamp: ECDSA over the canonical JSON of four members. Built by hand, since none of the values needs escaping.
   * @throws AirsealError KEY_UNAVAILABLE, SIGNATURE_FAULT
   */
  async timestamp({ body, integratedTime, logIndex }: TimestampedEntry): Promise<Uint8Array> {
    const kept = this.#kept[logIndex % KEPT]
    if (kept?.logIndex === logIndex) return kept.signature
    const payload = `{"body":"${toBase64(body)}","integratedTime":${integratedTime},"logID":"${this.logId}","logIndex":${logIndex}}`
    const signature = await this.#signer.sign(utf8(payload))
    this.#kept[logIndex % KEPT] = { logIndex, signature }
    return signature
  }
}
