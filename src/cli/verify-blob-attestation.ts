import { AirsealError, isDigest, systemClock } from '../core/index.ts'
import { predicateTypeUri } from '../sigstore/index.ts'
import { verifyBundleAttestation, verifyLegacyAttestation } from '../verify/index.ts'
import type { Command, Input } from './command.ts'
import { COSIGN_BLOB_FOREIGN } from './cosign-options.ts'
import { detachedEvidence } from './detached.ts'
import { fileSubject, reportFile, type FileSubject } from './file-verdict.ts'
import { policyForFile, trustForFile } from './given-trust.ts'
import { FILE_OPTIONS } from './verify-blob.ts'

export const command: Command = {
  name: 'verify-blob-attestation',
  summary: 'Verifies the attestation of a file, offline.',
  usage:
    '[FILE] --bundle BUNDLE --type TYPE (--key PEM | --certificate-identity NAME --certificate-oidc-issuer URL)',
  takesArguments: true,
  description: `
Accepts a file when the bundle is a statement of TYPE about it, signed as for verify-blob. Without FILE, --digest says what it must be about. Says
"Verified OK" like \`cosign verify-blob-attestation\`; a refusal says its reason code.`,
  options: {
    type: {
      type: 'string',
      value: 'TYPE',
      help: 'predicate type: cyclonedx, slsaprovenance1 … or a URI (default custom)',
    },
    digest: { type: 'string', value: 'HEX', help: 'SHA-256 of the file, in place of the file' },
    digestAlg: { type: 'string', value: 'sha256', help: 'algorithm of --digest' },
    ...FILE_OPTIONS,
  },
  foreign: COSIGN_BLOB_FOREIGN,
  examples: [
    'airseal verify-blob-attestation --bundle app.att.json --type cyclonedx --key cosign.pub --trusted-root trusted_root.json app.tar',
  ],
  exitCodes: [],
  async run(input, terminal) {
    const predicateType = predicateTypeUri(input.text('type') ?? 'custom')
    const policy = { ...policyForFile(input), predicateType }
    const detached = await detachedEvidence(input)
    const trust = await trustForFile(input)
    const { digest } = await subjectOf(input)
    const question = { digest, trust, policy, now: systemClock() }
    const verdict =
      detached.format === 'bundle'
        ? verifyBundleAttestation({ ...question, bundleText: detached.text })
        : verifyLegacyAttestation({
            ...question,
            layer: { payload: detached.signed, annotations: detached.annotations },
          })
    return reportFile(await verdict, input, terminal)
  },
}

/** The file, else what --digest says. @throws AirsealError USAGE */
async function subjectOf(input: Input): Promise<FileSubject> {
  const [file, more] = input.positionals
  if (more !== undefined) throw new AirsealError('USAGE', 'verify-blob-attestation takes one file')
  const algorithm = input.text('digestAlg') ?? 'sha256'
  if (algorithm !== 'sha256')
    throw new AirsealError(
      'USAGE',
      `--digestAlg ${algorithm.slice(0, 40)}: subjects are compared by sha256`,
    )
  if (file !== undefined) return fileSubject(file)
  const digest = `sha256:${input.text('digest') ?? ''}`
  if (!isDigest(digest))
    throw new AirsealError('USAGE', 'give a file, or --digest with 64 hex digits')
  return { digest, artifact: undefined }
}
