export { createSigning } from './signing.ts'
export type { Signing, SigningParts } from './signing.ts'
