import { existsSync } from 'node:fs'
import { resolve } from 'node:path'

/** Directory of the shared test vectors; null when it is not there. */
export function vectorsDirectory(): string | null {
  const directory = resolve(process.env['AIRSEAL_VECTORS'] ?? '../shared/vectors')
  return existsSync(directory) ? directory : null
}

/** Options of a subtest that needs the vectors: skipped, visibly, where they are absent. */
export const NEEDS_VECTORS: { readonly skip?: string } =
  vectorsDirectory() === null ? { skip: 'vectors absent: set AIRSEAL_VECTORS' } : {}
