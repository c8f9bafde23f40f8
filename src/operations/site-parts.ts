import type { Admission } from '../admission-service.ts'
import type { Config } from '../config.ts'
import type { Clock, JsonObject, PublicKey } from '../core/index.ts'
import type { DataDirectory } from '../data-directory.ts'
import type { EvidenceStore } from '../evidence/index.ts'
import type { Caller } from '../http/index.ts'
import type { KeyBackends } from '../key-backends.ts'
import type { Keyring } from '../keyring/index.ts'
import type { Records, TransparencyLog } from '../log/index.ts'
import type { RegistrySettings } from '../oci/index.ts'
import type { PolicyStore } from '../policy-store.ts'
import type { Signing } from '../sign/index.ts'
import type { CurrentTrust } from '../site-trust.ts'
import type { TrustKeeper } from './trust-keeper.ts'
import type { SiteTuf } from './tuf-site.ts'
import type { Signer } from '../../keys/index.ts'

/** What operations work with; made once by app.ts. */
export interface SiteParts {
  readonly directory: DataDirectory
  readonly config: Config
  readonly clock: Clock
  readonly log: TransparencyLog
  readonly records: Records
  /** Active keys by name, the default one first; a use of theirs is authorised and audited as one for a document. */
  readonly signers: ReadonlyMap<string, Signer>
  /** The log's public key. */
  readonly logKey: PublicKey
  readonly registrySettings: RegistrySettings
  readonly trust: CurrentTrust
  readonly policies: PolicyStore
  /** Evidence that is known here; imports add to it. */
  readonly evidence: EvidenceStore
  /** The trust bundle in force, and what changes it. */
  readonly trustKeeper: TrustKeeper
  readonly tuf: SiteTuf
  readonly admission: Admission
  /** URL under which clients reach the service, without slash at the end. */
  readonly publicUrl: string
  /** Of the passphrase-protected key files; asked for once. */
  readonly passphrase: () => Promise<string>
  /** The registry of keys, and the only way to use one. */
  readonly keyring: Keyring
  /** Where private keys are. */
  readonly backends: KeyBackends
  readonly signing: Signing
  /** Takes lines for the operator. Never holds a secret. */
  readonly notify: (line: string) => void
}

/** Row of the audit trail for something that `caller` did now. */
export function auditRow(
  { clock }: Pick<SiteParts, 'clock'>,
  caller: Caller,
  action: string,
  detail: JsonObject,
): { time: number; caller: string; action: string; detail: JsonObject } {
  return { time: clock(), caller: callerName(caller), action, detail }
}

/** How the audit trail names who asked. */
export function callerName(caller: Caller): string {
  if (caller.kind === 'socket') return 'operator'
  return caller.kind === 'token' ? `token:${caller.name}` : `anonymous:${caller.address}`
}
