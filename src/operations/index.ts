export type { ManagedOperation, Operations } from './operation.ts'
export { auditRow, callerName } from './site-parts.ts'
export type { SiteParts } from './site-parts.ts'
export { siteOperations } from './site-operations.ts'
