import { readFile } from 'node:fs/promises'
import { verifyBundleDirectory } from '../../offline-bundles/index.ts'
import { AirsealError, systemClock } from '../core/index.ts'
import { trustReader } from '../operations/index.ts'
import { gateOf, judge } from './bundle-judge.ts'
import { byteProgress, size } from './byte-progress.ts'
import type { Command } from './command.ts'

export const command: Command = {
  name: 'bundle verify',
  summary: 'Verifies a bundle with nothing but the bundle and a trust file.',
  usage: 'DIR… --trust FILE',
  takesArguments: true,
  description: `
Checks the signed header, every byte, the contents, the log's checkpoint and proofs, and the signatures of every image. It needs no keys,
no service and no network. It does not know what was imported before: order and replay are for \`bundle import\`.
DIR is the bundle, a directory with its volumes, or several volumes.`,
  options: {
    trust: { type: 'string', value: 'FILE', help: "the sender's trust bundle (required)" },
    policy: {
      type: 'string',
      value: 'FILE',
      help: 'rules of the import gate (default: the sender signed every image)',
    },
  },
  examples: ['airseal bundle verify /media/cdrom --trust sender-trust.json'],
  exitCodes: [
    [4, 'volumes are missing; those at hand are right'],
    [12, 'an image does not pass the rules'],
  ],
  async run(input, terminal) {
    const paths = input.required('DIR')
    const file = input.text('trust')
    if (file === null) throw new AirsealError('USAGE', 'bundle verify needs --trust FILE')
    const trust = await readFile(file).catch((cause: unknown) => {
      throw new AirsealError('USAGE', `--trust ${file} can't be read`, { cause })
    })
    const progress = byteProgress(terminal, input.json)
    try {
      const { signed, bundle, passed, unchecked, trustVersion } = await verifyBundleDirectory({
        paths,
        trust,
        trustReader,
        gate: await gateOf(input.text('policy')),
        judge,
        now: systemClock(),
        progress,
      })
      progress.end()
      const { header, digest } = signed
      const images = passed.map(({ image, by, rule }) => ({
        image: `${image.repository}${image.tag === null ? '' : `:${image.tag}`}`,
        digest: image.digest,
        by,
        rule: rule.name,
      }))
      if (input.json) {
        const { source, target, sequence, kind, id } = header
        terminal.stdout(
          `${JSON.stringify({ verified: true, source, target, sequence, kind, id, header: digest, trustVersion, logSize: bundle.checkpoint.size, logEntries: bundle.entries, images, unchecked })}\n`,
        )
        return 0
      }
      terminal.stdout(
        [
          `Bundle ${header.sequence} of ${header.source} for ${header.target} (${header.kind}) is whole and signed.`,
          `  header ${digest}, trust version ${trustVersion}`,
          `  ${size(bundle.medium.bytes)} hashed, log of ${bundle.checkpoint.size} entries, ${bundle.entries} of them carried and proved`,
          ...images.map(({ image, digest: of, by }) => `  ${image}@${of}  signed by ${by}`),
          ...unchecked.map((image) => `  ${image}  is in the base, not here: not checked`),
          '',
        ].join('\n'),
      )
      return 0
    } finally {
      progress.end()
    }
  },
}
