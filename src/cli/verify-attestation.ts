import type { Command } from './command.ts'
import { AirsealError } from '../core/index.ts'
import { COSIGN_VERIFY_FOREIGN } from './cosign-options.ts'
import { VERIFYING_EXIT_CODES, VERIFYING_OPTIONS, verifyEach } from './verifying.ts'

export const command: Command = {
  name: 'verify-attestation',
  summary: 'Verifies attestations of images, offline.',
  usage: 'IMAGE… --type TYPE',
  takesArguments: true,
  description: `
Accepts an image when it has an attestation of TYPE by a trusted key, about this digest, that a trusted log holds. No attestation of the
type is a refusal. Prints the DSSE envelope of each accepted attestation, one a line.`,
  options: {
    type: {
      type: 'string',
      value: 'TYPE',
      help: 'predicate type: cyclonedx, spdxjson, slsaprovenance … or a URI (required)',
    },
    ...VERIFYING_OPTIONS,
  },
  foreign: COSIGN_VERIFY_FOREIGN,
  examples: [
    'airseal verify-attestation --type cyclonedx registry.example:5000/team/app@sha256:4bc4…',
  ],
  exitCodes: VERIFYING_EXIT_CODES.filter(([code]) => code === 3 || code === 11),
  run(input, terminal) {
    const type = input.text('type')
    if (type === null)
      throw new AirsealError(
        'USAGE',
        'verify-attestation needs --type TYPE, for example --type cyclonedx',
      )
    return verifyEach(input, terminal, { type })
  },
}
