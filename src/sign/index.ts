export { createSigning } from './signing.ts'
export type { SignedPiece } from './publish.ts'
export type { Signing, SigningParts } from './signing.ts'
