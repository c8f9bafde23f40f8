import { readFile } from 'node:fs/promises'
import {
  AirsealError,
  digestOf,
  fromUtf8,
  isDigest,
  publicKeyFromPem,
  systemClock,
  toHex,
  type Digest,
} from '../core/index.ts'
import { parseSigner } from '../evidence/index.ts'
import { parseCertificates, parseTrustedRoot } from '../sigstore/index.ts'
import {
  pinnedAuthority,
  REASONS,
  trustFromRoot,
  verifyBlobBundle,
  type Policy,
  type Trust,
  type Verdict,
} from '../verify/index.ts'
import type { Command, Input, Terminal } from './command.ts'
import { SIGNER_OPTIONS, signerMembers } from './signer-options.ts'

export const command: Command = {
  name: 'verify-blob',
  summary: 'Verifies the signature of a file, offline.',
  usage:
    'FILE|sha256:HEX --bundle BUNDLE (--key PEM | --certificate-identity NAME --certificate-oidc-issuer URL)',
  takesArguments: true,
  description: `
Accepts a file when the bundle holds its signature by the key, or by a certificate of the identity that a trusted authority issued, and a
trusted log holds that signature. The bundle may also be a statement about the file. Nothing is fetched: what is trusted stands in
--trusted-root. Says "Verified OK" like \`cosign verify-blob\`; a refusal says its reason code.`,
  options: {
    bundle: {
      type: 'string',
      value: 'FILE',
      help: 'Sigstore bundle of version 0.1 to 0.3 (required)',
    },
    key: { type: 'string', short: 'k', value: 'PEM', help: 'public key file' },
    ...SIGNER_OPTIONS,
    'trusted-root': { type: 'string', value: 'FILE', help: 'logs and authorities to trust' },
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
    'insecure-ignore-tlog': {
      type: 'boolean',
      help: 'accept signatures without log entry. Danger: a stolen key leaves no trace then',
    },
  },
  examples: [
    'airseal verify-blob --bundle app.tar.sigstore.json --key cosign.pub --trusted-root trusted_root.json app.tar',
    'airseal verify-blob --bundle b.json --certificate-identity ci@corp.example --certificate-oidc-issuer https://id.corp.example --trusted-root trusted_root.json app.tar',
  ],
  exitCodes: [],
  async run(input, terminal) {
    const [subject, more] = input.required('FILE')
    if (subject === undefined || more !== undefined)
      throw new AirsealError('USAGE', 'verify-blob takes one file')
    const path = input.text('bundle')
    if (path === null) throw new AirsealError('USAGE', 'no --bundle given')
    const policy = policyOf(input)
    const trust = await trustOf(input)
    const { digest, artifact } = await subjectOf(subject)
    const bundleText = fromUtf8(await read(path, '--bundle'), 'the bundle', 'BUNDLE_INVALID')
    return report(
      await verifyBlobBundle({ bundleText, digest, artifact, trust, policy, now: systemClock() }),
      input,
      terminal,
    )
  },
}

/** As the conformance suite has it: a digest only where no such file exists. */
async function subjectOf(
  subject: string,
): Promise<{ digest: Digest; artifact: Uint8Array | undefined }> {
  const artifact = await readFile(subject).catch(() => null)
  if (artifact !== null) return { digest: digestOf(artifact), artifact }
  if (isDigest(subject)) return { digest: subject, artifact: undefined }
  throw new AirsealError('USAGE', `${subject} can't be read, and is not sha256: and 64 hex digits`)
}

function policyOf(input: Input): Policy {
  const members = signerMembers(input)
  const signer = parseSigner(members)
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
    timestampThreshold: input.flag('use-signed-timestamps') ? 1 : undefined,
  }
}

async function trustOf(input: Input): Promise<Trust> {
  const rootPath = input.text('trusted-root')
  const keyPath = input.text('key')
  const root =
    rootPath === null
      ? { logs: [] }
      : trustFromRoot(
          parseTrustedRoot(
            fromUtf8(await read(rootPath, '--trusted-root'), 'the trusted root', 'TRUST_INVALID'),
          ),
        )
  const keys =
    keyPath === null
      ? []
      : [
          {
            name: keyPath,
            key: publicKeyFromPem((await read(keyPath, '--key')).toString()),
            validFor: null,
          },
        ]
  const authorities = [
    ...('authorities' in root ? (root.authorities ?? []) : []),
    ...(await ownPki(input)),
  ]
  return { keys, ...root, authorities }
}

/** Each certificate of --ca-roots is an anchor of its own. */
async function ownPki(input: Input): Promise<NonNullable<Trust['authorities']>> {
  const roots = input.text('ca-roots')
  const between = input.text('ca-intermediates')
  if (roots === null) {
    if (between !== null) throw new AirsealError('USAGE', '--ca-intermediates needs --ca-roots')
    return []
  }
  const intermediates =
    between === null
      ? []
      : parseCertificates((await read(between, '--ca-intermediates')).toString())
  // Dates are those of the certificates themselves.
  const always = { start: 0, end: null }
  return parseCertificates((await read(roots, '--ca-roots')).toString()).map((der) =>
    pinnedAuthority(`root ${toHex(der.subarray(-8))}`, [...intermediates, der], always),
  )
}

function read(path: string, option: string): Promise<Buffer> {
  return readFile(path).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `${option} ${path} can't be read`, { cause })
  })
}

/** As cosign: the verdict on stderr, exit code 0 or 1. */
function report(
  { outcome, reason, message, unchecked, evidence }: Verdict,
  input: Input,
  terminal: Terminal,
): number {
  if (outcome === 'verified') {
    if (input.json) {
      const { identity, keyId, times, entry } = evidence
      terminal.stdout(
        `${JSON.stringify({ outcome, keyId, certificateIdentity: identity?.subjects[0] ?? null, certificateOidcIssuer: identity?.issuer ?? null, signedAt: times.map((time) => Math.floor(time / 1000)), logIndex: entry?.logIndex ?? null, unchecked })}\n`,
      )
    }
    terminal.stderr(`${unchecked.map((item) => `not checked: ${item}\n`).join('')}Verified OK\n`)
    return 0
  }
  const code = reason ?? 'BUNDLE_INVALID'
  const { remedy } = REASONS[code]
  terminal.stderr(
    input.json
      ? `${JSON.stringify({ error: { code, message, remedy, outcome } })}\n`
      : `airseal: the file is refused: ${message} [${code}]\n         ${remedy}\n`,
  )
  return 1
}
