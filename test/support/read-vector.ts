import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { vectorsDirectory } from './vectors.ts'

/** Text of a vector file. */
export function readVector(...path: readonly string[]): string {
  return readFileSync(join(vectorsDirectory() ?? '', ...path), 'utf8')
}

/** JSON of a vector file; the caller states its shape. */
export function readVectorJson(...path: readonly string[]): unknown {
  return JSON.parse(readVector(...path))
}
