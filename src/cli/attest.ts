import { readFile } from 'node:fs/promises'
import { AirsealError, toBase64, type JsonObject } from '../core/index.ts'
import { SITE_OPTIONS, type Command } from './command.ts'
import { SIGNING_OPTIONS, signEach } from './signing.ts'

export const command: Command = {
  name: 'attest',
  summary: 'Signs a statement about images, logs it, and stores it beside the image.',
  usage: 'IMAGE@DIGEST… --type TYPE --predicate FILE',
  takesArguments: true,
  description: `
The predicate becomes an in-toto statement about the image in a DSSE envelope, written as legacy .att tag and as Sigstore bundle.
TYPE is cyclonedx, spdx, spdxjson, slsaprovenance, slsaprovenance1, vuln, openvex, link, custom, or an absolute URI.
To verify with cosign: cosign verify-attestation --key cosign.pub --trusted-root trusted_root.json --type TYPE IMAGE`,
  options: {
    type: { type: 'string', value: 'TYPE', help: 'what the predicate is (required)' },
    predicate: { type: 'string', value: 'FILE', help: 'the predicate document (required)' },
    ...SIGNING_OPTIONS,
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal attest --type cyclonedx --predicate sbom.cdx.json registry.example:5000/team/app@sha256:4bc4…',
  ],
  exitCodes: [
    [3, 'service, key, disk or registry not available; run it again'],
    [11, 'image not found'],
  ],
  async run(input, terminal) {
    const type = input.text('type')
    const file = input.text('predicate')
    if (type === null || file === null)
      throw new AirsealError('USAGE', 'attest needs --type TYPE and --predicate FILE')
    const bytes = await readFile(file).catch((cause: unknown) => {
      throw new AirsealError('USAGE', `--predicate ${file} can't be read`, { cause })
    })
    const request: JsonObject = {
      key: input.text('key'),
      signatures: input.text('signatures'),
      resolveTag: input.flag('resolve-tag'),
      type,
      predicateBase64: toBase64(bytes),
    }
    return signEach('attest', input, terminal, request)
  },
}
