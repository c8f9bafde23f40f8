import { custodyHtml, custodyText } from '../../offline-bundles/index.ts'
import { AirsealError, isObject } from '../core/index.ts'
import { SITE_OPTIONS, type Command } from './command.ts'
import { connect } from './connection.ts'

export const command: Command = {
  name: 'bundle report',
  summary: 'Prints the chain of custody: who exported and imported what, when, under which trust.',
  usage: '[--form text|html]',
  description: `
Every bundle that was made or imported here, every receipt and every alarm, with the rows of the audit trail behind them and the end of its
hash chain, which was recomputed for this report. The HTML page stands alone and prints on paper.`,
  options: {
    form: { type: 'string', value: 'text|html', help: 'form of the page (default text)' },
    ...SITE_OPTIONS,
  },
  examples: ['airseal bundle report --form html > custody.html'],
  exitCodes: [[3, 'service not available, or the audit trail is damaged']],
  async run(input, terminal) {
    const form = input.text('form') ?? 'text'
    if (form !== 'text' && form !== 'html')
      throw new AirsealError('USAGE', `--form ${form}: want text or html`)
    const connection = await connect(input, terminal)
    try {
      const report = await connection.call('bundle/report', {})
      if (!isObject(report))
        throw new AirsealError('SERVER_UNREACHABLE', 'the service gave no report')
      if (input.json) terminal.stdout(`${JSON.stringify(report)}\n`)
      else terminal.stdout(form === 'html' ? custodyHtml(report) : custodyText(report))
      return 0
    } finally {
      await connection.close()
    }
  },
}
