import { AirsealError } from './core/index.ts'
import { inspectDirectory, type DataDirectory } from './data-directory.ts'
import { checkLog, type CheckOptions, type LogCheck } from './log/index.ts'

/**
 * Checks the log and the audit trail of a data directory. Reads only.
 * @throws AirsealError DATA_DIRECTORY; LOG_DAMAGED with every problem in its details
 */
export async function checkSite(
  directory: DataDirectory,
  options: CheckOptions = {},
): Promise<LogCheck> {
  const state = await inspectDirectory(directory)
  if (state !== 'ready')
    throw new AirsealError(
      'DATA_DIRECTORY',
      `${directory.root} is ${state}: there is no log to check`,
    )
  const report = await checkLog(directory.database, options)
  if (report.isSound) return report
  const shown = report.problems.slice(0, 3).join('; ')
  const more = report.problems.length > 3 ? `; and ${report.problems.length - 3} more` : ''
  throw new AirsealError('LOG_DAMAGED', `${directory.database}: ${shown}${more}`, {
    details: { problems: report.problems },
  })
}
