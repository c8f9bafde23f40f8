import type { Key } from '@tufjs/models'
import { AirsealError } from '../core/index.ts'

/** The part of a role that says whose signatures it needs. */
export interface Signers {
  readonly keyIDs: readonly string[]
  readonly threshold: number
}

type Signed = Parameters<Key['verifySignature']>[0]

/**
 * Refuses a file that too few of a role's keys signed. A key counts once, under however many identifiers it is listed; a signature that does
 * not verify counts for nothing.
 * @param what - name of the file, for the message
 * @throws AirsealError TUF_SIGNATURES
 */
export function requireThreshold(
  what: string,
  role: Signers,
  keys: Readonly<Record<string, Key>>,
  file: Signed,
): void {
  const counted = signersOf(role, keys, file).size
  if (counted < role.threshold) {
    throw new AirsealError(
      'TUF_SIGNATURES',
      `${what} is signed by ${counted} of the ${role.threshold} keys that it needs`,
    )
  }
}

/** Public keys, as the file writes them, whose signature verifies. */
function signersOf(
  role: Signers,
  keys: Readonly<Record<string, Key>>,
  file: Signed,
): ReadonlySet<string> {
  const found = new Set<string>()
  for (const id of role.keyIDs) {
    const key = Object.hasOwn(keys, id) ? keys[id] : undefined
    if (key !== undefined && Object.hasOwn(file.signatures, id) && verifies(key, file))
      found.add(publicPartOf(key))
  }
  return found
}

function publicPartOf(key: Key): string {
  return `${key.keyType.split('-')[0] ?? ''} ${(key.keyVal['public'] ?? '').trim()}`
}

function verifies(key: Key, file: Signed): boolean {
  try {
    key.verifySignature(file)
    return true
  } catch {
    return false
  }
}
