import type { IndexRange } from '../verify/index.ts'

/** What two ranges have in common: none or one. */
export function overlap(a: IndexRange, b: IndexRange): IndexRange[] {
  if (a.logId !== b.logId) return []
  const first = a.first === null ? b.first : Math.max(a.first, b.first ?? 0)
  const last = Math.min(a.last ?? Number.MAX_SAFE_INTEGER, b.last ?? Number.MAX_SAFE_INTEGER)
  const range = { logId: a.logId, first, last: last === Number.MAX_SAFE_INTEGER ? null : last }
  return holdsSomething(range) ? [range] : []
}

/** False for a range that ends before it begins. */
export function holdsSomething({ first, last }: IndexRange): boolean {
  return last === null || last >= (first ?? 0)
}

/** The part of `ranges` (null: everywhere) before a place of one log. Elsewhere nothing can be said about before and after. */
export function before(
  ranges: readonly IndexRange[] | null,
  from: { readonly logId: string; readonly index: number } | null,
): readonly IndexRange[] {
  if (from === null) return []
  const earlier = { logId: from.logId, first: null, last: from.index - 1 }
  return (ranges ?? [earlier]).flatMap((range) => overlap(range, earlier))
}
