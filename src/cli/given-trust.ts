import { readFile } from 'node:fs/promises'
import { AirsealError, fromUtf8, publicKeyFromPem, toHex } from '../core/index.ts'
import { parseCertificates, parseTrustedRoot } from '../sigstore/index.ts'
import {
  pinnedAuthority,
  trustFromRoot,
  type Policy,
  type Trust,
  type TrustedAuthority,
} from '../verify/index.ts'
import { parseSigner } from '../evidence/index.ts'
import type { Input, Option } from './command.ts'
import { signerMembers } from './signer-options.ts'

/** Authorities that are given as certificates, with cosign's names. */
export const AUTHORITY_OPTIONS: Readonly<Record<string, Option>> = {
  'ca-roots': {
    type: 'string',
    value: 'FILE',
    help: 'root of an own PKI, PEM: its certificates count as well',
  },
  'ca-intermediates': {
    type: 'string',
    value: 'FILE',
    help: 'intermediate certificates of --ca-roots, PEM',
  },
  'certificate-chain': {
    type: 'string',
    value: 'FILE',
    help: 'the same in one file: intermediate certificates, then the root',
  },
  'timestamp-certificate-chain': {
    type: 'string',
    value: 'FILE',
    help: 'authority of time stamps, PEM: its own certificate, intermediates, root. Demands a time stamp',
  },
}

/** Certificates say by themselves when they count. */
const ALWAYS = { start: 0, end: null }

export interface GivenAuthorities {
  readonly authorities: readonly TrustedAuthority[]
  readonly timestampAuthorities: readonly TrustedAuthority[]
}

/** The authorities that options give as certificates. @throws AirsealError USAGE, BUNDLE_INVALID, TRUST_INVALID */
export async function givenAuthorities(input: Input): Promise<GivenAuthorities> {
  const chain = await certificatesOf(input, 'certificate-chain')
  const stamps = await certificatesOf(input, 'timestamp-certificate-chain')
  return {
    authorities: [
      ...(await ownPki(input)),
      ...(chain.length === 0 ? [] : [pinnedAuthority('--certificate-chain', chain, ALWAYS)]),
    ],
    timestampAuthorities:
      stamps.length === 0 ? [] : [pinnedAuthority('--timestamp-certificate-chain', stamps, ALWAYS)],
  }
}

/** Each certificate of --ca-roots is an anchor of its own. */
async function ownPki(input: Input): Promise<readonly TrustedAuthority[]> {
  if (input.text('ca-roots') === null && input.text('ca-intermediates') !== null)
    throw new AirsealError('USAGE', '--ca-intermediates needs --ca-roots')
  const roots = await certificatesOf(input, 'ca-roots')
  const intermediates = await certificatesOf(input, 'ca-intermediates')
  return roots.map((der) =>
    pinnedAuthority(`root ${toHex(der.subarray(-8))}`, [...intermediates, der], ALWAYS),
  )
}

async function certificatesOf(input: Input, option: string): Promise<readonly Uint8Array[]> {
  const path = input.text(option)
  if (path === null) return []
  const found = parseCertificates((await readOption(option, path)).toString())
  if (found.length === 0)
    throw new AirsealError('USAGE', `--${option} ${path} holds no certificate`)
  return found
}

/** True when an option demands a time stamp: an authority that is given is meant to be used, as cosign has it. */
export function demandsTimestamp(input: Input): boolean {
  return input.flag('use-signed-timestamps') || input.text('timestamp-certificate-chain') !== null
}

/** Whose signature of a file counts, by the options. @throws AirsealError USAGE */
export function policyForFile(input: Input): Policy {
  const signer = parseSigner(signerMembers(input))
  if (signer === null && input.text('key') === null) {
    throw new AirsealError(
      'USAGE',
      'give --key, or --certificate-identity and --certificate-oidc-issuer',
    )
  }
  return {
    signer: signer ?? undefined,
    requireLog: !input.flag('insecure-ignore-tlog'),
    requireSct: !input.flag('insecure-ignore-sct'),
    timestampThreshold: demandsTimestamp(input) ? 1 : undefined,
  }
}

/** What is trusted about a file: nothing but what the options give. @throws AirsealError USAGE, TRUST_INVALID, KEY_INVALID */
export async function trustForFile(input: Input): Promise<Trust> {
  const rootPath = input.text('trusted-root')
  const keyPath = input.text('key')
  const root =
    rootPath === null
      ? { logs: [], authorities: [], timestampAuthorities: [] }
      : trustFromRoot(parseTrustedRoot(await textOf('trusted-root', rootPath)))
  const given = await givenAuthorities(input)
  const keys =
    keyPath === null
      ? []
      : [
          {
            name: keyPath,
            key: publicKeyFromPem((await readOption('key', keyPath)).toString()),
            validFor: null,
          },
        ]
  return {
    keys,
    ...root,
    authorities: [...(root.authorities ?? []), ...given.authorities],
    timestampAuthorities: [...(root.timestampAuthorities ?? []), ...given.timestampAuthorities],
  }
}

async function textOf(option: string, path: string): Promise<string> {
  return fromUtf8(await readOption(option, path), 'the trusted root', 'TRUST_INVALID')
}

/** Content of a file that an option names. @throws AirsealError USAGE when it can't be read */
export function readOption(option: string, path: string): Promise<Buffer> {
  return readFile(path).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `--${option} ${path} can't be read`, { cause })
  })
}
