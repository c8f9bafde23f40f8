import type { Operations } from './operation.ts'
import { policyOperations } from './policy.ts'
import type { SiteParts } from './site-parts.ts'
import { trustOperations } from './trust.ts'
import { tufOperations } from './tuf.ts'

/** Every managed operation, area by area. */
export function siteOperations(site: SiteParts): Operations {
  return { ...policyOperations(site), ...trustOperations(site), ...tufOperations(site) }
}
