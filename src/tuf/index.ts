export { refresh } from './client.ts'
export type { Client, FoundTarget, MetadataStore, RepositorySource } from './client.ts'
export { listedKey, rolesOf, timeText } from './documents.ts'
export type { ListedKey, RoleKeys, RoleName, Roles } from './documents.ts'
export { currentOf, listsTargets, memoryStore, ROOT_NAME, sourceOf } from './files.ts'
export type { Current, Files, Head, TargetFiles } from './files.ts'
export { followRepository } from './importing.ts'
export { advance, createRepository, nextTargets } from './repository.ts'
export type { Lifetimes, SignersOf } from './repository.ts'
export {
  nextRoot,
  readProposal,
  signAny,
  signatureCount,
  signProposal,
  unsignedBytes,
} from './rotation.ts'
export type { RoleChanges } from './rotation.ts'
