import { readFile } from 'node:fs/promises'
import { parseDocument } from 'yaml'
import { parseGate, SENDER_GATE, type Gate, type Judge } from '../../offline-bundles/index.ts'
import { AirsealError, systemClock, type Json } from '../core/index.ts'
import { parseSigner, verifyReference } from '../evidence/index.ts'
import { predicateTypeUri } from '../sigstore/index.ts'

/** Judges images of a bundle as `airseal verify` judges those in a registry. */
export const judge: Judge = async (repository, digest, { kind, trust, policy }) => {
  const { outcome, reason, message, judged } = await verifyReference(repository, digest, {
    kind,
    trust,
    policy,
    now: systemClock(),
  })
  const verified = judged.filter(({ verdict }) => verdict.outcome === 'verified')
  const evidence = verified[0]?.verdict.evidence
  return {
    outcome,
    reason,
    message,
    by: evidence?.keyName ?? evidence?.identity?.subjects[0] ?? null,
    payloads: verified.flatMap(({ verdict }) => verdict.evidence.payloadSha256 ?? []),
  }
}

/** Rules of a file, YAML or JSON; without one the sender must have signed every image. @throws AirsealError CONFIG_INVALID */
export async function gateOf(path: string | null): Promise<Gate> {
  if (path === null) return SENDER_GATE
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AirsealError('USAGE', `--policy ${path} can't be read`, { cause })
  })
  const document = parseDocument(text, { uniqueKeys: true, strict: true })
  const [error] = document.errors
  if (error !== undefined)
    throw new AirsealError('CONFIG_INVALID', `${path}: ${error.message.split('\n')[0] ?? ''}`)
  return parseGate(document.toJS({ maxAliasCount: 100 }) as Json, parseSigner, predicateTypeUri)
}
