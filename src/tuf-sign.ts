import { readFile } from 'node:fs/promises'
import { openSigner, readPassphraseFile } from '../keys/index.ts'
import { AirsealError, type JsonObject } from './core/index.ts'
import { writeFileWhole } from './data-directory.ts'
import { listedKey, readProposal, signAny } from './tuf/index.ts'

/**
 * Adds a signature to a proposed root or targets file, in place. Works where there is neither service nor data directory.
 * @param uri - of the private key, as keys/README.md has it
 * @param passphraseFile - of a `file:` key; null: `passphrase` is used
 * @throws AirsealError TUF_INVALID, KEY_REFERENCE, PASSPHRASE, KEY_UNAVAILABLE
 */
export async function signTufFile(
  path: string,
  uri: string,
  passphraseFile: string | null,
  passphrase: string | undefined,
): Promise<JsonObject> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `${path} can't be read`, { cause })
  })
  const proposal = readProposal(bytes, path)
  const given = passphraseFile === null ? passphrase : await readPassphraseFile(passphraseFile)
  const signer = await openSigner('tuf', uri, given === undefined ? {} : { passphrase: given })
  try {
    await writeFileWhole(path, await signAny(proposal, signer), 0o644)
    const { role, version } = proposal
    return { file: path, role, version, keyId: listedKey(signer.publicKey).id }
  } finally {
    await signer.close()
  }
}
