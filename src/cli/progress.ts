import type { Terminal } from './command.ts'

/** Work shorter than this is not talked about. Milliseconds. */
const QUIET_MS = 1_000
const REPEAT_MS = 5_000

/**
 * Says what is being waited for: nothing in the first second, then a line now and then on stderr (JSON events with `--output json`).
 */
export async function withProgress<T>(
  terminal: Terminal,
  json: boolean,
  what: string,
  work: Promise<T>,
): Promise<T> {
  const started = Date.now()
  const tell = (): void => {
    const seconds = Math.round((Date.now() - started) / 1000)
    terminal.stderr(
      json
        ? `${JSON.stringify({ progress: what, seconds })}\n`
        : `airseal: ${what} (${seconds} s) …\n`,
    )
  }
  let repeat: NodeJS.Timeout | undefined
  const first = setTimeout(() => {
    tell()
    repeat = setInterval(tell, REPEAT_MS)
  }, QUIET_MS)
  try {
    return await work
  } finally {
    clearTimeout(first)
    clearInterval(repeat)
  }
}
