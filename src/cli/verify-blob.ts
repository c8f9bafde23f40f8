import { AirsealError, systemClock } from '../core/index.ts'
import { verifyBlobBundle, verifyLegacyBlob } from '../verify/index.ts'
import type { Command, Option } from './command.ts'
import { COSIGN_BLOB_FOREIGN, COSIGN_COMMON_OPTIONS } from './cosign-options.ts'
import { detachedEvidence, DETACHED_OPTIONS } from './detached.ts'
import { fileSubject, reportFile } from './file-verdict.ts'
import { AUTHORITY_OPTIONS, policyForFile, trustForFile } from './given-trust.ts'
import { SIGNER_OPTIONS } from './signer-options.ts'

/** Options of both commands about files. */
export const FILE_OPTIONS: Readonly<Record<string, Option>> = {
  ...DETACHED_OPTIONS,
  key: { type: 'string', short: 'k', value: 'PEM', help: 'public key file' },
  ...SIGNER_OPTIONS,
  'trusted-root': { type: 'string', value: 'FILE', help: 'logs and authorities to trust' },
  ...AUTHORITY_OPTIONS,
  'insecure-ignore-tlog': {
    type: 'boolean',
    help: 'accept signatures without log entry. Danger: a stolen key leaves no trace then',
  },
  ...COSIGN_COMMON_OPTIONS,
}

export const command: Command = {
  name: 'verify-blob',
  summary: 'Verifies the signature of a file, offline.',
  usage:
    'FILE|sha256:HEX --bundle BUNDLE (--key PEM | --certificate-identity NAME --certificate-oidc-issuer URL)',
  takesArguments: true,
  description: `
Accepts a file when the bundle holds its signature by the key, or by a certificate of the identity that a trusted authority issued, and a
trusted log holds that signature. The bundle may also be a statement about the file. Detached signatures of cosign 2 are given with --signature.
Nothing is fetched: what is trusted stands in --trusted-root. Says "Verified OK" like \`cosign verify-blob\`; a refusal says its reason code.`,
  options: FILE_OPTIONS,
  foreign: COSIGN_BLOB_FOREIGN,
  examples: [
    'airseal verify-blob --bundle app.tar.sigstore.json --key cosign.pub --trusted-root trusted_root.json app.tar',
    'airseal verify-blob --bundle b.json --certificate-identity ci@corp.example --certificate-oidc-issuer https://id.corp.example --trusted-root trusted_root.json app.tar',
  ],
  exitCodes: [],
  async run(input, terminal) {
    const [subject, more] = input.required('FILE')
    if (subject === undefined || more !== undefined)
      throw new AirsealError('USAGE', 'verify-blob takes one file')
    const policy = policyForFile(input)
    const detached = await detachedEvidence(input)
    const trust = await trustForFile(input)
    const question = { ...(await fileSubject(subject)), trust, policy, now: systemClock() }
    const verdict =
      detached.format === 'bundle'
        ? verifyBlobBundle({ ...question, bundleText: detached.text })
        : verifyLegacyBlob({ ...question, annotations: detached.annotations })
    return reportFile(await verdict, input, terminal)
  },
}
