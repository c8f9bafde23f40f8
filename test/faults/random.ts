/** Seeded numbers in [0, 1), so that a campaign can be run again. Mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Seed from AIRSEAL_SEED, else one that was not used before. */
export function campaignSeed(): number {
  return Number(process.env['AIRSEAL_SEED'] ?? Date.now() % 2 ** 31)
}

/** Whole number from `environment`, else `usual`. */
export function campaignSize(environment: string, usual: number): number {
  const size = Number(process.env[environment] ?? usual)
  if (!Number.isSafeInteger(size) || size < 1) throw new Error(`${environment} is not a count`)
  return size
}
