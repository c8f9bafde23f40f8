import { sha256Hex, toBase64, utf8 } from '../core/index.ts'
import type { Clock, Digest, JsonObject } from '../core/index.ts'
import type { Evidence } from '../verify/index.ts'
import { pieceId } from './piece.ts'

/** How a piece of evidence came here. */
export type EvidenceSource = 'signed' | 'seen' | 'imported'

/** A piece as it is kept; as untrusted as it was where it came from. */
export interface KeptPiece {
  /** SHA-256 over all that makes the piece what it is, 64 lower-case hex digits. */
  readonly id: string
  readonly format: 'legacy' | 'bundle'
  /** Null for bundles, which say it themselves. */
  readonly kind: 'signature' | 'attestation' | null
  readonly payload: Uint8Array
  readonly annotations: Readonly<Record<string, string>>
  readonly source: EvidenceSource
  /** Repository or layout where it was found or pushed to; empty when none. For people. */
  readonly place: string
  /** When it came here, milliseconds since 1970. */
  readonly seen: number
}

/** Where pieces outlive the process. It may forget everything at any time; what it returns is judged anew. */
export interface EvidenceCache {
  /** @throws AirsealError */
  pieces(digest: string): Promise<readonly KeptPiece[]>
  /** @throws AirsealError */
  keep(digest: string, pieces: readonly KeptPiece[]): Promise<void>
}

/** The evidence that is known here, by digest. */
export interface EvidenceStore {
  /** Everything known about the image. Never rejects: a fault of the cache is none of the image. */
  evidence(digest: Digest): Promise<readonly Evidence[]>
  /** Takes evidence in. Never rejects; the promise says when it is kept, as far as it is. */
  keep(
    digest: Digest,
    evidence: readonly Evidence[],
    source: EvidenceSource,
    place: string,
  ): Promise<void>
  /** Waits for what is being taken in, so that the cache can be closed. */
  settled(): Promise<void>
  /** `GET /v1/evidence/DIGEST`: every piece, with its content in base64 as far as 16 MiB go. */
  list(digest: Digest): Promise<JsonObject>
}

const MEDIA_TYPES = {
  signature: 'application/vnd.dev.cosign.simplesigning.v1+json',
  attestation: 'application/vnd.dsse.envelope.v1+json',
  bundle: 'application/vnd.dev.sigstore.bundle.v0.3+json',
} as const

/** Bytes of evidence held in memory; of one image at most. */
const MEMORY_BYTES = 64 * 1024 * 1024
const DIGEST_BYTES = 32 * 1024 * 1024
const MAX_PIECES = 256
/** Bytes of contents in one listing; pieces beyond are named without. */
const LIST_BYTES = 16 * 1024 * 1024

interface Known {
  readonly pieces: ReadonlyMap<string, KeptPiece>
  readonly evidence: readonly Evidence[]
  readonly bytes: number
}

/**
 * @param cache - null: what is known lives as long as the process
 * @param onFault - told when the cache failed
 */
export function createEvidenceStore(
  cache: EvidenceCache | null,
  clock: Clock,
  onFault: (error: unknown) => void = () => undefined,
): EvidenceStore {
  const memory = new Map<Digest, Known>()
  const underWay = new Set<Promise<void>>()
  let bytes = 0

  const remember = (digest: Digest, pieces: Iterable<KeptPiece>): Known => {
    const known = knownOf(pieces)
    bytes += known.bytes - (memory.get(digest)?.bytes ?? 0)
    memory.delete(digest)
    memory.set(digest, known)
    for (const [oldest, { bytes: freed }] of memory) {
      if (bytes <= MEMORY_BYTES) break
      memory.delete(oldest)
      bytes -= freed
    }
    return known
  }

  const knownAbout = async (digest: Digest): Promise<Known> => {
    const known = memory.get(digest)
    if (known !== undefined) {
      memory.delete(digest)
      memory.set(digest, known)
      return known
    }
    let pieces: readonly KeptPiece[] = []
    try {
      pieces = (await cache?.pieces(digest)) ?? []
    } catch (error) {
      onFault(error)
    }
    // Somebody may have brought evidence meanwhile.
    const now = memory.get(digest)
    // Not what is unknown: else every name that is asked for would take memory.
    if (pieces.length === 0) return now ?? NOTHING
    return remember(digest, [...pieces, ...(now?.pieces.values() ?? [])])
  }

  const takeIn: EvidenceStore['keep'] = async (digest, evidence, source, place) => {
    const seen = clock()
    const known = await knownAbout(digest)
    const fresh = evidence
      .map((one) => pieceOf(one, { source, place, seen }))
      .filter(({ id }) => !known.pieces.has(id))
    if (fresh.length === 0) return
    const added = fitting(memory.get(digest) ?? known, fresh)
    remember(digest, [...(memory.get(digest) ?? known).pieces.values(), ...added])
    try {
      await cache?.keep(digest, added)
    } catch (error) {
      onFault(error)
    }
  }

  return {
    evidence: async (digest) => (memory.get(digest) ?? (await knownAbout(digest))).evidence,
    keep: (...taken) => {
      const work = takeIn(...taken).finally(() => underWay.delete(work))
      underWay.add(work)
      return work
    },
    settled: async () => {
      await Promise.all(underWay)
    },
    list: async (digest) => {
      const { pieces } = await knownAbout(digest)
      let left = LIST_BYTES
      return {
        digest,
        pieces: [...pieces.values()].map((piece) => {
          left -= piece.payload.length
          return pieceJson(piece, left >= 0)
        }),
      }
    },
  }
}

const NOTHING: Known = { pieces: new Map(), evidence: [], bytes: 0 }

function knownOf(pieces: Iterable<KeptPiece>): Known {
  const byId = new Map<string, KeptPiece>()
  for (const piece of pieces) byId.set(piece.id, piece)
  const list = [...byId.values()]
  return {
    pieces: byId,
    evidence: list.map(evidenceOf),
    bytes: list.reduce((sum, piece) => sum + sizeOf(piece), 0),
  }
}

/** What still has room beside what is there. */
function fitting({ pieces, bytes }: Known, fresh: readonly KeptPiece[]): readonly KeptPiece[] {
  let used = bytes
  return fresh.slice(0, Math.max(0, MAX_PIECES - pieces.size)).filter((piece) => {
    const fits = used + sizeOf(piece) <= DIGEST_BYTES
    if (fits) used += sizeOf(piece)
    return fits
  })
}

function sizeOf({ payload, annotations }: KeptPiece): number {
  const text = Object.entries(annotations).reduce(
    (sum, [name, value]) => sum + name.length + value.length,
    0,
  )
  return payload.length + text + 500
}

function pieceOf(
  evidence: Evidence,
  origin: Pick<KeptPiece, 'source' | 'place' | 'seen'>,
): KeptPiece {
  const id = pieceId(evidence)
  if (evidence.format === 'bundle') {
    return {
      id,
      format: 'bundle',
      kind: null,
      payload: utf8(evidence.text),
      annotations: {},
      ...origin,
    }
  }
  const { kind, payload, annotations } = evidence
  return { id, format: 'legacy', kind, payload, annotations: { ...annotations }, ...origin }
}

function evidenceOf({ format, kind, payload, annotations }: KeptPiece): Evidence {
  return format === 'bundle' || kind === null
    ? { format: 'bundle', text: Buffer.from(payload).toString('utf8') }
    : { format: 'legacy', kind, payload, annotations }
}

function pieceJson(piece: KeptPiece, whole: boolean): JsonObject {
  const { id, format, kind, payload, annotations, source, place, seen } = piece
  return {
    id,
    format,
    kind,
    mediaType: MEDIA_TYPES[kind ?? 'bundle'],
    size: payload.length,
    sha256: sha256Hex(payload),
    source,
    place,
    seen: new Date(seen).toISOString(),
    annotations: { ...annotations },
    content: whole ? toBase64(payload) : null,
  }
}
