import type { Operations } from './operation.ts'
import { policyOperations } from './policy.ts'
import type { SiteParts } from './site-parts.ts'

/** Every managed operation, area by area. */
export function siteOperations(site: SiteParts): Operations {
  return { ...policyOperations(site) }
}
