import type { Progress } from '../../offline-bundles/index.ts'
import type { Terminal } from './command.ts'

/** Shown when at least this long has passed since the last time. Milliseconds. */
const EVERY = { bar: 200, lines: 5_000 } as const
/** Work shorter than this is not talked about. */
const QUIET_MS = 1_000

/**
 * Progress by bytes with the time that is left: a bar on a terminal, lines otherwise, JSON events with `--output json`. All on stderr.
 */
export function byteProgress(terminal: Terminal, json: boolean): Progress & { end(): void } {
  const isBar = terminal.interactive && !json
  let what = ''
  let total = 0
  let done = 0
  let began = Date.now()
  let shown = 0
  let isOpen = false
  const show = (): void => {
    const seconds = (Date.now() - began) / 1_000
    const left = total > done && done > 0 ? Math.ceil(((total - done) * seconds) / done) : null
    if (json) {
      terminal.stderr(
        `${JSON.stringify({ progress: what, bytes: done, of: total, seconds: Math.round(seconds), secondsLeft: left })}\n`,
      )
      return
    }
    const share =
      total === 0 ? '' : ` ${size(done)} of ${size(total)} (${Math.floor((100 * done) / total)} %)`
    const time = left === null ? '' : `, ${duration(left)} left`
    terminal.stderr(
      isBar ? `\r\u001b[K${what}:${share}${time}` : `airseal: ${what}:${share}${time}\n`,
    )
    isOpen = isBar
  }
  const end = (): void => {
    if (isOpen) terminal.stderr('\r\u001b[K')
    isOpen = false
  }
  return {
    step(next, bytes) {
      end()
      what = next
      total = bytes
      done = 0
      began = Date.now()
      shown = began + QUIET_MS - EVERY[isBar ? 'bar' : 'lines']
    },
    add(bytes) {
      done += bytes
      const now = Date.now()
      if (now - shown < EVERY[isBar ? 'bar' : 'lines']) return
      shown = now
      show()
    },
    end,
  }
}

export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ''}`
}

function duration(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
