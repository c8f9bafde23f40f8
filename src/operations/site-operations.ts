import { admissionOperations } from './admission.ts'
import { bundleOperations } from './bundle.ts'
import { doorOperations } from './doors.ts'
import { keyOperations } from './keys.ts'
import type { Operations } from './operation.ts'
import { policyOperations } from './policy.ts'
import type { SiteParts } from './site-parts.ts'
import { trustOperations } from './trust.ts'
import { tufOperations } from './tuf.ts'

/** Every managed operation, area by area. */
export function siteOperations(site: SiteParts): Operations {
  const areas: readonly Operations[] = [
    admissionOperations(site),
    bundleOperations(site),
    doorOperations(site),
    keyOperations(site),
    policyOperations(site),
    trustOperations(site),
    tufOperations(site),
  ]
  return Object.assign({}, ...areas) as Operations
}
