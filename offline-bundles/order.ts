import { AirsealError, type Digest } from '../src/core/index.ts'
import type { HeaderPoint, LogPoint, SignedHeader } from './header.ts'
import { ANYONE } from './names.ts'

/** What the receiver remembers of a stream. */
export interface StreamState {
  /** Last bundle that was imported. */
  readonly last: HeaderPoint
  readonly log: LogPoint
}

export interface OrderQuestion {
  readonly signed: SignedHeader
  /** Names of the receiving side. */
  readonly own: string
  /** Null: nothing of the stream was imported yet. */
  readonly state: StreamState | null
  /** Digest of the imported header with this number; null when none was. */
  readonly imported: (sequence: number) => Digest | null
}

/**
 * Where a verified header stands in its stream. The rules are FORMAT.md §7.
 * @returns `replay`: it is the last one imported
 * @throws AirsealError TRANSFER_ELSEWHERE, TRANSFER_OLD, TRANSFER_GAP, TRANSFER_FORK, TRANSFER_BASE
 */
export function placeInOrder({ signed, own, state, imported }: OrderQuestion): 'next' | 'replay' {
  const { header, digest } = signed
  const { sequence, source, target, kind } = header
  const name = `bundle ${sequence} of ${source} for ${target}`
  if (target !== ANYONE && target !== own)
    throw new AirsealError('TRANSFER_ELSEWHERE', `${name} was given to ${own}`)
  const last = state?.last.sequence ?? 0
  if (sequence <= last) {
    const known = imported(sequence)
    if (known === digest) {
      if (sequence === last) return 'replay'
      throw new AirsealError(
        'TRANSFER_OLD',
        `${name} was imported before, and bundle ${last} since: it changes nothing any more`,
      )
    }
    if (known !== null)
      throw fork(name, `is another one than the bundle ${sequence} that was imported`)
    throw new AirsealError(
      'TRANSFER_OLD',
      `${name} comes too late: bundle ${last}, a rebase, took its place`,
    )
  }
  if (kind === 'rebase') {
    if (state !== null) {
      const known = header.history.find((point) => point.sequence === last)
      if (known === undefined && header.previous !== state.last.header)
        throw fork(name, `does not name bundle ${last}, which was imported, in its history`)
      if (known !== undefined && known.header !== state.last.header)
        throw fork(name, `names another bundle ${last} than the one that was imported`)
    }
    return 'next'
  }
  if (sequence > last + 1) throw gap(name, last, sequence, target, source)
  if (state !== null && header.previous !== state.last.header)
    throw fork(name, `does not follow the bundle ${last} that was imported`)
  if (header.base !== null && imported(header.base.sequence) !== header.base.header) {
    throw new AirsealError(
      'TRANSFER_BASE',
      `${name} builds on bundle ${header.base.sequence}, which was not imported here. Ask for: airseal bundle export --kind rebase${to(target)}`,
    )
  }
  return 'next'
}

function gap(
  name: string,
  last: number,
  sequence: number,
  target: string,
  source: string,
): AirsealError {
  const first = last + 1
  const missing =
    first === sequence - 1
      ? `bundle ${first} is missing`
      : `bundles ${first} to ${sequence - 1} are missing`
  const seen = last === 0 ? 'nothing was imported yet' : `bundle ${last} was the last one imported`
  return new AirsealError(
    'TRANSFER_GAP',
    `${name} came, but ${seen}: ${missing}. Bring what is missing first; if the medium is lost, ask ${source} for: airseal bundle export --kind rebase${to(target)} …`,
    { details: { missing: { first, last: sequence - 1 }, source, target } },
  )
}

function to(target: string): string {
  return target === ANYONE ? '' : ` --to ${target}`
}

function fork(name: string, problem: string): AirsealError {
  return new AirsealError('TRANSFER_FORK', `${name} ${problem}: two histories were signed`)
}
