import { join } from 'node:path'
import { importBundle, type Destination } from '../../offline-bundles/index.ts'
import { AirsealError, isObject, systemClock, type JsonObject } from '../core/index.ts'
import { openRegistryRepository, parseReference, type RegistrySettings } from '../oci/index.ts'
import { trustReader } from '../operations/index.ts'
import { registrySettings } from '../registry-settings.ts'
import { gateOf, judge } from './bundle-judge.ts'
import { qrCode } from './qr.ts'
import { receiverSite } from './bundle-sites.ts'
import { byteProgress, size } from './byte-progress.ts'
import { SITE_OPTIONS, shown, type Command } from './command.ts'
import { connect, siteDirectory } from './connection.ts'
import { configOf } from './site.ts'

export const command: Command = {
  name: 'bundle import',
  summary: 'Takes a bundle into a registry: all of it or nothing.',
  usage: 'DIR… --registry HOST[/PREFIX]',
  takesArguments: true,
  description: `
Checks header, trust, order, volumes, contents, log and signatures, in this order; then pushes everything into a staging repository, and from
there to its places, tags last. Signs a SLSA verification summary for each image, and the image itself where a rule says so. The same bundle again
changes nothing and prints the first result. After an interruption the same command goes on. DIR is the bundle, a directory with its
volumes, or several volumes. This side must know the sender: \`airseal init --trust FILE\`, or \`airseal bundle peer FILE\`.`,
  options: {
    registry: { type: 'string', value: 'HOST[/PREFIX]', help: 'where images go (required)' },
    policy: {
      type: 'string',
      value: 'FILE',
      help: 'rules of the import gate (default: the sender signed every image)',
    },
    qr: { type: 'boolean', help: 'print the receipt as a QR code too' },
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal bundle import /media/cdrom --registry registry.high:5000/imported --policy gate.yaml',
  ],
  exitCodes: [
    [3, 'service, key, disk or registry not available; run it again: it goes on'],
    [4, 'volumes are missing: insert them and run it again'],
    [12, 'an image does not pass the rules'],
  ],
  async run(input, terminal) {
    const paths = input.required('DIR')
    const place = input.text('registry')
    if (place === null)
      throw new AirsealError('USAGE', 'bundle import needs --registry HOST[/PREFIX]')
    const directory = siteDirectory(input, terminal)
    const settings = await registrySettings((await configOf(directory, input)).registries)
    const gate = await gateOf(input.text('policy'))
    const destination = destinationAt(place, settings)
    const connection = await connect(input, terminal)
    const progress = byteProgress(terminal, input.json)
    try {
      const { result, replay } = await importBundle(receiverSite(connection), {
        paths,
        destination,
        gate,
        judge,
        trustReader,
        now: systemClock(),
        progress,
        spool: join(directory.root, 'bundles'),
      })
      progress.end()
      terminal.stdout(
        input.json ? `${JSON.stringify({ ...result, replay })}\n` : resultText(result, replay),
      )
      const receipt = isObject(result['receipt']) ? shown(result['receipt']['code']) : ''
      if (!input.json && input.flag('qr')) terminal.stdout(`${await qrCode(receipt)}\n`)
      return 0
    } finally {
      progress.end()
      await connection.close()
    }
  },
}

/** `HOST[/PREFIX]` as a place for repositories. @throws AirsealError USAGE, REFERENCE_INVALID */
export function destinationAt(place: string, settings: RegistrySettings): Destination {
  const slash = place.indexOf('/')
  const prefix = slash === -1 ? '' : `${place.slice(slash + 1)}/`
  const host = slash === -1 ? place : place.slice(0, slash)
  const at = (path: string) => {
    const reference = parseReference(`${host}/${prefix}${path}`)
    if (reference.kind !== 'registry' || reference.registry !== host || reference.tag !== undefined)
      throw new AirsealError('USAGE', `--registry ${place}: want HOST[:PORT][/PREFIX]`)
    return reference
  }
  at('check')
  return {
    name: place,
    open: (path) => openRegistryRepository(at(path), settings),
    path: (path) => at(path).repository,
  }
}

function resultText(result: JsonObject, replay: boolean): string {
  const images = Array.isArray(result['images']) ? result['images'].filter(isObject) : []
  const receipt = isObject(result['receipt']) ? result['receipt'] : {}
  return [
    replay
      ? `Bundle ${shown(result['sequence'])} of ${shown(result['source'])} was imported ${shown(result['imported'])}; nothing was done. The result then:`
      : `Imported bundle ${shown(result['sequence'])} of ${shown(result['source'])} (${shown(result['kind'])}), ${size(Number(result['bytes'] ?? 0))}.`,
    `  trust version ${shown(result['trustVersion'])} of ${shown(result['source'])} is in force`,
    ...images.map(
      (image) =>
        `  ${shown(image['image'])}@${shown(image['digest'])}  signed by ${shown(image['by'])} (rule "${shown(image['rule'])}")`,
    ),
    '',
    `Receipt for ${shown(result['source'])} (airseal bundle receipt CODE):`,
    ...shown(receipt['code'])
      .split('\n')
      .map((row) => `  ${row}`),
    '',
  ].join('\n')
}
