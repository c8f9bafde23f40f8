import type { Command } from './command.ts'
import { parseAnnotations } from './sign.ts'
import { COSIGN_VERIFY_FOREIGN } from './cosign-options.ts'
import { VERIFYING_EXIT_CODES, VERIFYING_OPTIONS, verifyEach } from './verifying.ts'

export const command: Command = {
  name: 'verify',
  summary: 'Verifies signatures of images, offline.',
  usage: 'IMAGE…',
  takesArguments: true,
  description: `
Accepts an image when a trusted key signed its digest and a trusted log holds the signature: legacy .sig tags need the log's signed entry
timestamp, bundles its inclusion proof and checkpoint as well. Prints what \`cosign verify\` prints, with cosign's exit codes; a refusal
says its reason code. A tag is resolved once, and the digest that was judged is shown.`,
  options: {
    ...VERIFYING_OPTIONS,
    annotations: {
      type: 'string',
      short: 'a',
      multiple: true,
      value: 'NAME=VALUE',
      help: 'demand this annotation; may be repeated',
    },
    identity: {
      type: 'string',
      multiple: true,
      value: 'REPO',
      help: 'demand this repository name in legacy payloads; may be repeated',
    },
  },
  foreign: COSIGN_VERIFY_FOREIGN,
  examples: [
    'airseal verify registry.example:5000/team/app@sha256:4bc4…',
    'airseal verify --key cosign.pub --trusted-root trusted_root.json oci:./image@sha256:4bc4…',
  ],
  exitCodes: VERIFYING_EXIT_CODES,
  run(input, terminal) {
    const identity = input.texts('identity')
    return verifyEach(input, terminal, {
      annotations: parseAnnotations(input.texts('annotations')),
      identity: identity.length === 0 ? null : [...identity],
    })
  },
}
