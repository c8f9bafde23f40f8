import type { Json } from '../core/index.ts'
import type { Caller, Permission } from '../http/index.ts'

/** Something that commands and `POST /v1/AREA/VERB` can ask for. */
export interface ManagedOperation {
  readonly permission: Permission
  /** @throws AirsealError: nothing was done, unless the error says otherwise */
  run(body: Json, caller: Caller): Promise<Json>
}

/** By name, `area/verb`. */
export type Operations = Readonly<Record<string, ManagedOperation>>
