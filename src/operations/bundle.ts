import type { Json } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { takeReceipt } from './bundle-receipts.ts'
import {
  addPeer,
  checkWitness,
  finish,
  keepEvidence,
  know,
  lastReceipt,
  promote,
} from './bundle-receiver.ts'
import { report } from './bundle-report.ts'
import {
  consistency,
  entries,
  prepare,
  seal,
  sinceReceipt,
  snapshot,
  written,
} from './bundle-sender.ts'
import type { ManagedOperation, Operations } from './operation.ts'
import type { SiteParts } from './site-parts.ts'

/** What exporting and importing ask of keys, log and ledger. For the operator only: the bytes of images never pass here. */
export function bundleOperations(site: SiteParts): Operations {
  const managed = (
    run: (site: SiteParts, body: Json, caller: Caller) => Promise<Json>,
  ): ManagedOperation => ({
    permission: 'manage',
    run: (body, caller) => run(site, body, caller),
  })
  return {
    'bundle/prepare': managed(prepare),
    'bundle/snapshot': managed(snapshot),
    'bundle/entries': managed(entries),
    'bundle/consistency': managed(consistency),
    'bundle/seal': managed(seal),
    'bundle/written': managed(written),
    'bundle/since-receipt': managed(sinceReceipt),
    'bundle/take-receipt': managed(takeReceipt),
    'bundle/peer': managed(addPeer),
    'bundle/know': managed(know),
    'bundle/evidence': managed(keepEvidence),
    'bundle/witness': managed(checkWitness),
    'bundle/promote': managed(promote),
    'bundle/finish': managed(finish),
    'bundle/receipt': managed(lastReceipt),
    'bundle/report': managed(report),
  }
}
