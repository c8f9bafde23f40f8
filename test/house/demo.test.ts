import { spawnSync } from 'node:child_process'
import t from 'tap'

const ROOT = new URL('../..', import.meta.url).pathname

t.test(
  'the demo signs, logs and verifies, and shows three attacks with their reasons',
  async (t) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/demo/demo.ts'], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: 120_000,
    })
    t.equal(status, 0, stderr)
    for (const reason of ['CONTENT_MISMATCH', 'KEY_MISMATCH', 'LOG_DAMAGED']) {
      t.match(
        stdout,
        new RegExp(`\\[${reason}\\]$`, 'm'),
        `${reason} stands where a reader sees it`,
      )
    }
    t.match(stdout, /^Done: /m)
  },
)
