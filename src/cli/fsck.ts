import { SITE_OPTIONS, type Command } from './command.ts'
import { siteDirectory } from './connection.ts'
import { withProgress } from './progress.ts'

const { data } = SITE_OPTIONS

export const command: Command = {
  name: 'fsck',
  summary: 'Checks every byte of the log against its signed checkpoint.',
  usage: '[--data DIR]',
  description: `
Re-hashes every entry, rebuilds the tree from them, and compares it with the stored tree and with the last signed checkpoint; checks the
audit chain. Reads only. It may run beside the service.`,
  options: { ...(data && { data }) },
  examples: ['airseal fsck --data /var/lib/airseal'],
  exitCodes: [[3, 'the log or the audit trail is damaged, or there is no data directory']],
  async run(input, terminal) {
    const { checkSite } = await import('../fsck.ts')
    const directory = siteDirectory(input, terminal)
    const report = await withProgress(
      terminal,
      input.json,
      `checking ${directory.database}`,
      checkSite(directory),
    )
    if (input.json) terminal.stdout(`${JSON.stringify(report)}\n`)
    else {
      terminal.stdout(
        `sound: ${report.entries} entries, ${report.checkpoints} signed checkpoints, ${report.auditRows} audit rows\n`,
      )
    }
    return 0
  },
}
