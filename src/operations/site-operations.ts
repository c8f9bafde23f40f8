import type { Operations } from './operation.ts'
import type { SiteParts } from './site-parts.ts'

/** Every managed operation, area by area. */
export function siteOperations(_site: SiteParts): Operations {
  return {}
}
