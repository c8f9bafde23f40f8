import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { AIRSEAL, run, temporaryDirectory } from '../support/site.ts'

await t.test('a token file without tokens does not open signing to this machine', async (t) => {
  const directory = await temporaryDirectory(t)
  const tokens = join(directory, 'tokens')
  const config = join(directory, 'airseal.yaml')
  const data = join(directory, 'data')
  await writeFile(config, `tokensFile: ${tokens}\n`)
  for (const text of ['', '# none any more\n\n']) {
    await writeFile(tokens, text, { mode: 0o600 })
    const ended = await run(
      AIRSEAL,
      ['serve', '--init', '--data', data, '--config', config, '--listen', '127.0.0.1:0'],
      { timeoutMs: 20_000 },
    )
    t.equal(ended.code, 2, ended.stdout + ended.stderr)
    t.match(ended.stderr, /holds no token \[CONFIG_INVALID\]/)
  }
  await rm(tokens)
  const args = ['serve', '--init', '--data', data, '--config', config, '--listen', '127.0.0.1:0']
  const ended = await run(AIRSEAL, args, { timeoutMs: 20_000 })
  t.equal(ended.code, 2, ended.stdout + ended.stderr)
  t.match(ended.stderr, `${tokens} can't be opened (ENOENT) [CONFIG_INVALID]`)
})
