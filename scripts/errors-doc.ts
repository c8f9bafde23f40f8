// Writes docs/errors.md from the table in src/core/errors.ts.
import { writeFile } from 'node:fs/promises'
import { pathToFileURL } from 'node:url'
import { ERRORS } from '../src/core/index.ts'

/** The page: every code with its HTTP status, exit code and remedy. */
export function errorsPage(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, { status, exit, remedy }]) =>
      `| \`${code}\` | ${status} | ${exit} | ${remedy.replaceAll('|', '\\|')} |`,
  )
  return [
    '# Errors',
    '',
    'Every way in which airseal refuses. Codes are stable: programs may switch on them; messages are for people and may change.',
    'Requests get the HTTP status, commands end with the exit code.',
    '',
    'Written from `src/core/errors.ts` by `node scripts/errors-doc.ts`; a test compares the two.',
    '',
    '| code | HTTP | exit | what to do |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n')
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await writeFile(new URL('../docs/errors.md', import.meta.url), errorsPage())
}
