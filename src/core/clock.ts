/** Milliseconds since 1970-01-01T00:00:00Z. Time is an argument everywhere; only the composition root passes the real one. */
export type Clock = () => number

export const systemClock: Clock = () => Date.now()
