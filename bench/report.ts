import { writeFileSync } from 'node:fs'

/** A ratio that this project promises. */
export interface Goal {
  readonly name: string
  readonly value: number
  /** The value may not be below `least`, or not above `most`. */
  readonly least?: number
  readonly most?: number
}

/** The value below which `share` (0 to 1) of an ascending list lies; NaN when it is empty. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN
}

export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  )
}

/** Three significant digits or whole numbers, whichever is more. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–'
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)))
  return value.toFixed(Math.min(3, digits))
}

/** Median of the rounds and, when there are several, their range. */
export function spread(values: readonly number[]): string {
  if (values.length < 2) return figure(values[0] ?? NaN)
  return `${figure(median(values))} (${figure(Math.min(...values))}–${figure(Math.max(...values))})`
}

/** Rows in columns, the first column left, the others right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          const width = widths[column] ?? 0
          return column === 0 ? cell.padEnd(width) : cell.padStart(width)
        })
        .join('  '),
    )
    .join('\n')
}

function met({ value, least = -Infinity, most = Infinity }: Goal): boolean {
  return value >= least && value <= most
}

/** One line a goal. A value that could not be measured counts as missed. */
export function goalLines(goals: readonly Goal[]): string {
  return table(
    goals.map((goal) => [
      goal.name,
      figure(goal.value),
      goal.least === undefined
        ? `goal ≤ ${figure(goal.most ?? NaN)}`
        : `goal ≥ ${figure(goal.least)}`,
      met(goal) ? 'met' : 'MISSED',
    ]),
  )
}

/** Ends a bench: writes `results` to `file` when one is named; exit code 1 when goals gate it and one is missed. */
export function finish(
  goals: readonly Goal[],
  results: unknown,
  options: { readonly json?: string | undefined; readonly gate?: boolean | undefined },
): void {
  const judged = goals.map((goal) => ({ ...goal, met: met(goal) }))
  if (options.json !== undefined) {
    writeFileSync(options.json, `${JSON.stringify({ results, goals: judged }, null, 2)}\n`)
  }
  if (options.gate === true && judged.some((goal) => !goal.met)) process.exitCode = 1
}
