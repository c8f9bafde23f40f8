import { AirsealError, type JsonObject } from '../core/index.ts'
import { SITE_OPTIONS, type Command } from './command.ts'
import { SIGNING_OPTIONS, signEach } from './signing.ts'

export const command: Command = {
  name: 'sign',
  summary: 'Signs images, logs each signature, and stores it beside the image.',
  usage: 'IMAGE@DIGEST…',
  takesArguments: true,
  description: `
IMAGE is HOST[:PORT]/REPOSITORY@sha256:… in a registry, or oci:DIR@sha256:… for an image layout on disk.
Each signature is logged before it is stored. Two formats are written: the legacy .sig tag, which admission controllers read,
and the Sigstore bundle (version 0.3) as OCI referrer. Signing the same image again adds nothing.
To verify with cosign, give it the trusted root: cosign verify --key cosign.pub --trusted-root trusted_root.json IMAGE`,
  options: {
    ...SIGNING_OPTIONS,
    recursive: { type: 'boolean', short: 'r', help: 'sign the children of an image index as well' },
    annotations: {
      type: 'string',
      short: 'a',
      multiple: true,
      value: 'NAME=VALUE',
      help: 'put this into the signature; may be repeated',
    },
    identity: {
      type: 'string',
      value: 'REPO',
      help: "repository name to write into legacy payloads (default: the image's own)",
    },
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal sign registry.example:5000/team/app@sha256:4bc4…',
    'airseal sign --recursive -a build=1234 registry.example:5000/team/app@sha256:4bc4…',
    'airseal sign oci:./image@sha256:4bc4…',
  ],
  exitCodes: [
    [3, 'service, key, disk or registry not available; run it again'],
    [11, 'image not found'],
  ],
  run(input, terminal) {
    const request: JsonObject = {
      key: input.text('key'),
      recursive: input.flag('recursive'),
      annotations: parseAnnotations(input.texts('annotations')),
      signatures: input.text('signatures'),
      resolveTag: input.flag('resolve-tag'),
      identity: input.text('identity'),
    }
    return signEach('sign', input, terminal, request)
  },
}

/** Reads `NAME=VALUE` texts. @throws AirsealError USAGE */
export function parseAnnotations(texts: readonly string[]): Record<string, string> {
  const annotations = new Map<string, string>()
  for (const text of texts) {
    const at = text.indexOf('=')
    if (at < 1) throw new AirsealError('USAGE', `--annotations ${text}: want NAME=VALUE`)
    const name = text.slice(0, at)
    if (annotations.has(name))
      throw new AirsealError('USAGE', `--annotations ${name} is given twice`)
    annotations.set(name, text.slice(at + 1))
  }
  return Object.fromEntries(annotations)
}
