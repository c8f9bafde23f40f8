import { inspectBundle } from '../../offline-bundles/index.ts'
import { isObject, type Json } from '../core/index.ts'
import { size } from './byte-progress.ts'
import { shown, type Command } from './command.ts'

export const command: Command = {
  name: 'bundle inspect',
  summary: 'Shows what a bundle says of itself. Verifies nothing.',
  usage: 'DIR…',
  takesArguments: true,
  description: `
Reads header and contents, and checks that files and sizes are those that the header names. It needs no keys, no trust file and no
service; whoever made the bundle may have written anything: \`bundle verify\` finds out.`,
  options: {},
  examples: ['airseal bundle inspect /media/cdrom'],
  exitCodes: [],
  async run(input, terminal) {
    const found = await inspectBundle(input.required('DIR'))
    if (input.json) {
      terminal.stdout(`${JSON.stringify(found)}\n`)
      return 0
    }
    const header = isObject(found['header']) ? found['header'] : {}
    const list = (value: Json | undefined) => (Array.isArray(value) ? value.filter(isObject) : [])
    const attached = list(found['attached'])
    const trust = isObject(header['trust']) ? header['trust'] : {}
    const log = isObject(header['log']) ? header['log'] : {}
    terminal.stdout(
      [
        'NOT VERIFIED: this is what the bundle says of itself.',
        `Bundle ${shown(header['sequence'])} of ${shown(header['source'])} for ${shown(header['target'])} (${shown(header['kind'])}), made ${shown(header['created'])} by ${shown(header['tool'])}`,
        `  id ${shown(header['id'])}`,
        `  header ${shown(found['headerDigest'])}, previous ${shown(header['previous']) || 'none'}`,
        `  ${size(Number(found['bytes']))} on ${list(header['volumes']).length} volume(s), log ${shown(log['size'])} entries, trust version ${shown(trust['version'])}`,
        ...(header['label'] === null ? [] : [`  label: ${shown(header['label'])}`]),
        ...list(found['images']).map((image) => {
          const about = attached.filter(
            (one) =>
              one['subject'] === image['digest'] && one['repository'] === image['repository'],
          )
          const kinds = about
            .map((one) => shown(one['kind']))
            .sort()
            .join(' ')
          const tag = shown(image['tag'])
          return `  ${shown(image['repository'])}${tag === '' ? '' : `:${tag}`}@${shown(image['digest'])}  ${kinds}`
        }),
        ...list(found['files']).map((file) => `  ${shown(file['name'])}`),
        '',
      ].join('\n'),
    )
    return 0
  },
}
