import type { Json, JsonObject } from '../core/index.ts'
import { Ledger } from './bundle-ledger.ts'
import { ownEnclave } from './bundle-receiver.ts'
import type { SiteParts } from './site-parts.ts'

/** Audit rows of transfers that are shown at most. */
const MAX_ROWS = 100_000

/** The chain of custody: what was made, what was imported, what was refused as a second history, with the rows of the audit trail. */
export async function report(site: SiteParts): Promise<Json> {
  const ledger = new Ledger(site.records)
  const out: JsonObject[] = []
  for (const target of await ledger.outTargets()) {
    const { value: head } = await ledger.out(target)
    for (const { header, time, output, written, images } of await ledger.outRecords(target)) {
      const receipts = Object.entries(head.peers).filter(
        ([, { sequence }]) => sequence >= header.header.sequence,
      )
      out.push({
        ...headerFacts(header),
        exported: new Date(time).toISOString(),
        output,
        written,
        images: images.map((image) => ({ ...image })),
        receivedBy: receipts.map(([enclave]) => enclave),
      })
    }
  }
  const incoming = (await ledger.inRecords()).map(({ header, result }) => ({
    ...headerFacts(header),
    imported: result['imported'] ?? null,
    registry: result['registry'] ?? null,
    images: result['images'] ?? [],
    trustVersion: result['trustVersion'] ?? null,
  }))
  const audit = await site.records.verifyAudit()
  return {
    enclave: ownEnclave(site),
    made: new Date(site.clock()).toISOString(),
    exported: out,
    imported: incoming,
    alarms: (await ledger.evidence()).map(({ time, why, source, sequence }) => ({
      time: typeof time === 'number' ? new Date(time).toISOString() : '',
      why: why ?? '',
      source: source ?? '',
      sequence: sequence ?? 0,
    })),
    rows: await transferRows(site),
    audit: { rows: audit.rows, hash: audit.hash },
  }
}

function headerFacts({
  header,
  digest,
}: Awaited<ReturnType<Ledger['inRecords']>>[number]['header']): JsonObject {
  const { source, target, sequence, kind, created, label, log, trust, id } = header
  return {
    source,
    target,
    sequence,
    id,
    header: digest,
    kind,
    created,
    label,
    logSize: log.size,
    logRoot: log.root,
    trust: trust.version,
    contents: header.contents,
  }
}

async function transferRows(site: SiteParts): Promise<JsonObject[]> {
  const rows: JsonObject[] = []
  for (let after = 0; ;) {
    const page = await site.records.auditRows(after, 1_000)
    for (const { seq, time, caller, action, detail, hash } of page) {
      if (!action.startsWith('bundle-')) continue
      rows.push({ seq, time: new Date(time).toISOString(), caller, action, detail, hash })
    }
    const end = page.at(-1)?.seq
    if (end === undefined || rows.length > MAX_ROWS) return rows
    after = end
  }
}
