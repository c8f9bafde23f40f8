import { readFile } from 'node:fs/promises'
import { openFileSigner, openSigner, type Signer } from '../keys/index.ts'
import { AirsealError } from './core/index.ts'
import { writeFileWhole } from './data-directory.ts'
import {
  differences,
  parseTrustProposal,
  proposalFile,
  proposalState,
  signedBytes,
  withSignature,
} from './trust/index.ts'

/** What a signature was put to, and what is still missing. */
export interface SignedProposal {
  readonly enclave: string
  readonly version: number
  readonly rootName: string
  readonly keyId: string
  readonly changes: readonly string[]
  readonly missing: number
  readonly missingNew: number
}

/**
 * Puts one root key's signature into a proposal. Needs neither service nor data directory: a machine that never sees a network will do.
 * @param key - path of a cosign key file, or a key URI
 * @param show - told what is about to be signed, before it is
 * @throws AirsealError TRUST_BUNDLE_INVALID, KEY_UNKNOWN when it is no root key, PASSPHRASE, KEY_INVALID, STORAGE
 */
export async function signProposal(
  path: string,
  key: string,
  passphrase: () => Promise<string>,
  show: (changes: readonly string[]) => void,
): Promise<SignedProposal> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `${path} can't be read`, { cause })
  })
  const proposal = parseTrustProposal(bytes)
  const [from, to] = [proposal.current.document, proposal.next.document]
  const changes = differences(from, to)
  show(changes)
  const signer = await open(key, passphrase)
  try {
    const { publicKey } = signer
    const root = [...to.roots.keys, ...from.roots.keys].find((one) => one.key.id === publicKey.id)
    if (root === undefined) {
      throw new AirsealError(
        'KEY_UNKNOWN',
        `the key ${publicKey.id} is none of the root keys, neither of those in force nor of the proposed ones`,
      )
    }
    const sig = await signer.sign(signedBytes(proposal.next.payload))
    const signed = withSignature(proposal, { keyid: publicKey.id, sig })
    await writeFileWhole(path, proposalFile(signed), 0o644)
    const { missing, missingNew } = proposalState(signed)
    const { enclave, version } = to
    const { name: rootName } = root
    return { enclave, version, rootName, keyId: publicKey.id, changes, missing, missingNew }
  } finally {
    await signer.close()
  }
}

async function open(key: string, passphrase: () => Promise<string>): Promise<Signer> {
  if (/^(?:awskms|gcpkms|pkcs11):/.test(key)) return openSigner('trust-root', key)
  const file = { name: 'trust-root', path: key.replace(/^file:(?:\/\/)?/, '') }
  return openFileSigner({ ...file, passphrase: await passphrase() })
}
