import { AirsealError, asAirsealError } from '../core/index.ts'
import { errorText, type Command, type Input, type Terminal } from './command.ts'

/** Runs a command, with what cosign lets all of its commands do: write into a file, and give up after a time. @returns the exit code */
export async function runCommand(
  command: Command,
  input: Input,
  terminal: Terminal,
): Promise<number> {
  const file = input.text('output-file')
  const written: string[] = []
  const listening =
    file === null ? terminal : { ...terminal, stdout: (text: string) => void written.push(text) }
  const limit = input.text('timeout')
  const work = command.run(input, listening).catch((thrown: unknown) => {
    if (command.missingIsRefusal !== true || codeOf(thrown) !== 'IMAGE_NOT_FOUND') throw thrown
    terminal.stderr(errorText(asAirsealError(thrown), input.json))
    return 1
  })
  const code = await (limit === null ? work : inTime(work, limit))
  if (file !== null) {
    const { writeFile } = await import('node:fs/promises')
    await writeFile(file, written.join('')).catch((cause: unknown) => {
      throw new AirsealError('USAGE', `--output-file ${file} can't be written`, { cause })
    })
  }
  return code
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof AirsealError ? thrown.code : undefined
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }

/** Milliseconds in a duration as Go writes it: `90s`, `1m30s`. @throws AirsealError USAGE */
function durationOf(text: string): number {
  const parts = [...text.matchAll(/([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s|m|h)/g)]
  const total = parts.reduce(
    (sum, [, count, unit]) => sum + Number(count) * (UNITS[unit ?? ''] ?? 0),
    0,
  )
  if (parts.map(([part]) => part).join('') !== text || total <= 0 || total > 86_400_000)
    throw new AirsealError(
      'USAGE',
      `--timeout ${text.slice(0, 40)}: want a duration such as 90s or 3m`,
    )
  return total
}

async function inTime(work: Promise<number>, limit: string): Promise<number> {
  const ms = durationOf(limit)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new AirsealError('DEADLINE', `not done after ${limit}`))
    }, ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
