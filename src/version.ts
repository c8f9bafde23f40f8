import { readFileSync } from 'node:fs'

/** Version of this program, from package.json: beside src/ in a clone, one level further up from dist/src/ when built. */
export function version(): string {
  for (const path of ['../package.json', '../../package.json']) {
    try {
      return (
        JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')) as { version: string }
      ).version
    } catch {
      continue
    }
  }
  return 'unknown'
}
