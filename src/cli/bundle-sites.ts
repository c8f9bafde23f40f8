import type {
  CarriedConsistency,
  CarriedEntry,
  HeaderPoint,
  ReceiverSite,
  SenderSite,
} from '../../offline-bundles/index.ts'
import {
  AirsealError,
  fromBase64,
  fromHex,
  isObject,
  parseDigest,
  toHex,
  utf8,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { shown } from './command.ts'
import type { Connection } from './connection.ts'

/** Search keys in one question. */
const KEYS = 200

/** The sending side behind a connection: the service that runs, or this process under the directory's lock. */
export function senderSite(connection: Connection): SenderSite {
  const call = caller(connection)
  return {
    async prepare(target, kind) {
      const answer = await call('prepare', { target, kind })
      const { trust, base, unfinished } = answer
      const given = trust as { version: number; text: string }
      return {
        enclave: shown(answer['enclave']),
        target: shown(answer['target']),
        base: base as HeaderPoint | null,
        held: new Map(
          (answer['held'] as [string, number, string][]).map(([digest, size, repository]) => [
            parseDigest(digest),
            { size, repository },
          ]),
        ),
        trust: { version: given.version, bytes: utf8(given.text) },
        policies: new Map(
          (answer['policies'] as [string, string][]).map(([name, bytes]) => [
            name,
            fromBase64(bytes, 'policy'),
          ]),
        ),
        unfinished: unfinished as { sequence: number; output: string; header: string } | null,
        auditSeq: Number(answer['auditSeq']),
      }
    },
    async snapshot() {
      const { size, root, checkpoint } = await call('snapshot', {})
      return {
        size: Number(size),
        root: fromHex(shown(root), 'root'),
        checkpoint: shown(checkpoint),
      }
    },
    async entries(keys, { size, root, checkpoint }) {
      const found = new Map<number, CarriedEntry>()
      for (let at = 0; at < keys.length; at += KEYS) {
        const some = [...keys.slice(at, at + KEYS)]
        const { entries } = await call('entries', {
          keys: some,
          size,
          root: toHex(root),
          checkpoint,
        })
        for (const entry of (entries as JsonObject[]).map(carriedEntry))
          found.set(entry.index, entry)
      }
      return [...found.values()].sort((a, b) => a.index - b.index)
    },
    async consistency(target, { size }) {
      const { proofs } = await call('consistency', { target, size })
      return (proofs as { size: number; hashes: string[] }[]).map((proof): CarriedConsistency => ({
        size: proof.size,
        hashes: proof.hashes.map((hash) => fromHex(hash, 'hash')),
      }))
    },
    async seal({ snapshot, volumes, ...request }) {
      const { size, root, checkpoint } = snapshot
      const body = {
        ...request,
        size,
        root: toHex(root),
        checkpoint,
        volumes: volumes.map((one) => ({ ...one })),
      }
      return shown((await call('seal', body))['header'])
    },
    async written(target, sequence) {
      await call('written', { target, sequence })
    },
  }
}

function carriedEntry(entry: JsonObject): CarriedEntry {
  return {
    index: Number(entry['index']),
    logIndex: Number(entry['logIndex']),
    body: fromBase64(shown(entry['body']), 'body'),
    integratedTime: Number(entry['integratedTime']),
    signedEntryTimestamp: fromBase64(shown(entry['signedEntryTimestamp']), 'timestamp'),
    hashes: (entry['hashes'] as string[]).map((hash) => fromHex(hash, 'hash')),
  }
}

/** The receiving side behind a connection. */
export function receiverSite(connection: Connection): ReceiverSite {
  const call = caller(connection)
  const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString()
  return {
    async know({ source, target, sequence, base }) {
      const { peer } = await call('know', { source, target, sequence, base: base?.sequence ?? 0 })
      if (!isObject(peer)) return null
      return {
        ...(peer as unknown as NonNullable<Awaited<ReturnType<ReceiverSite['know']>>>),
        trust: utf8(shown(peer['trust'])),
      }
    },
    async keepEvidence({ bytes }, why) {
      await call('evidence', { header: text(bytes), why })
    },
    async checkWitness(witness) {
      if (witness !== null) await call('witness', { ...witness })
    },
    async promote({ bytes }, registry) {
      return Number((await call('promote', { header: text(bytes), registry }))['time'])
    },
    async vouch(items) {
      for (const { image, summary, resign } of items) {
        const { SUMMARY_TYPE } = await import('../../offline-bundles/index.ts')
        await connection.call('attest', { images: [image], type: SUMMARY_TYPE, predicate: summary })
        if (resign) await connection.call('sign', { images: [image], recursive: true })
      }
    },
    async finish({ bytes }, { registry, trust, images, bytes: size }) {
      const body = {
        header: text(bytes),
        registry,
        trust: text(trust),
        images: [...images],
        bytes: size,
      }
      return call('finish', body)
    },
  }
}

function caller(connection: Connection): (verb: string, body: Json) => Promise<JsonObject> {
  return async (verb, body) => {
    const answer = await connection.call(`bundle/${verb}`, body)
    if (!isObject(answer))
      throw new AirsealError('SERVER_UNREACHABLE', 'the service gave no answer')
    return answer
  }
}
