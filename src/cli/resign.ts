import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { SITE_OPTIONS, shown, type Command } from './command.ts'
import { connect } from './connection.ts'

/** Lines of progress at most this often. Milliseconds. */
const QUIET_MS = 1_000

export const command: Command = {
  name: 'resign',
  summary: 'Signs again, with the key that signs now, what older keys signed.',
  usage: '[--from-key NAME] [--key NAME]',
  description: `
After a rotation old images verify with the old key. This puts a signature by the new key beside each of theirs, over the same payload, logged
like any other: whoever trusts only the new key then accepts them, and the old key can be retired.
Driven by the audit trail. What is done is passed over, so an interrupted run goes on when it is started again.
What a compromised key signed from its moment on is not signed again, nor is what others signed with a key of this site.`,
  options: {
    'from-key': {
      type: 'string',
      value: 'NAME',
      help: 'old key (default: every key that no longer signs)',
    },
    key: { type: 'string', value: 'NAME', help: 'new key (default: the default key)' },
    ...SITE_OPTIONS,
  },
  examples: ['airseal resign', 'airseal resign --from-key signing --key signing-2'],
  exitCodes: [[3, 'service, key or registry not available; run it again']],
  async run(input, terminal) {
    const connection = await connect(input, terminal)
    const body = { from: input.text('from-key'), to: input.text('key') }
    const sum = { added: 0, present: 0, refused: 0 }
    const failed: JsonObject[] = []
    try {
      const all = await pages(
        body,
        (asked) => connection.call('key/resign', { ...asked, countOnly: true }),
        () => undefined,
      )
      let done = 0
      let last = Date.now()
      await pages(
        body,
        (asked) => connection.call('key/resign', asked),
        (page) => {
          for (const name of ['added', 'present', 'refused'] as const)
            sum[name] += numberAt(page, name)
          if (Array.isArray(page['failed'])) failed.push(...page['failed'].filter(isObject))
          done += numberAt(page, 'found')
          if (Date.now() - last < QUIET_MS) return
          last = Date.now()
          const progress = `${done} of ${all} signatures looked at, ${sum.added} added`
          terminal.stderr(
            input.json ? `${JSON.stringify({ progress, done, all })}\n` : `airseal: ${progress}\n`,
          )
        },
      )
    } finally {
      await connection.close()
    }
    const text = failed.map(
      ({ place, digest, code, message }) =>
        `airseal: ${shown(place)}@${shown(digest)}: ${shown(message)} [${shown(code)}]\n`,
    )
    if (input.json) terminal.stdout(`${JSON.stringify({ ...sum, failed })}\n`)
    else {
      terminal.stdout(
        `${sum.added} signatures added, ${sum.present} were there, ${sum.refused} not signed again: they do not count\n`,
      )
      terminal.stderr(text.join(''))
    }
    return failed.length === 0 ? 0 : 1
  },
}

/** Asks page after page. @returns how many signatures there were */
async function pages(
  body: JsonObject,
  ask: (body: JsonObject) => Promise<Json>,
  take: (page: JsonObject) => void,
): Promise<number> {
  let found = 0
  let after: Json = null
  do {
    const page = await ask({ ...body, after })
    if (!isObject(page)) throw new AirsealError('SERVER_UNREACHABLE', 'the service gave no answer')
    found += numberAt(page, 'found')
    take(page)
    after = page['next'] ?? null
  } while (after !== null)
  return found
}

function numberAt(page: JsonObject, name: string): number {
  const value = page[name]
  return typeof value === 'number' ? value : 0
}
