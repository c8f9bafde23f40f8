import { readFile } from 'node:fs/promises'
import { isAbsolute, resolve } from 'node:path'
import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { SITE_OPTIONS, shown, type Command, type Input, type Terminal } from './command.ts'
import { connect, type Connection } from './connection.ts'
import { keyText, keysText } from './key-text.ts'
import { withProgress } from './progress.ts'

/** What a verb prints: JSON as it is, or the text. */
interface Outcome {
  readonly json: Json
  readonly text: string
  readonly exit?: number
}

interface Verb {
  readonly usage: string
  readonly summary: string
  /** Fewest and most arguments. */
  readonly takes: readonly [number, number]
  readonly options: readonly string[]
  readonly what: string
  run(
    connection: Connection,
    input: Input,
    terminal: Terminal,
    args: readonly string[],
  ): Promise<Outcome>
}

const VERBS: ReadonlyMap<string, Verb> = new Map<string, Verb>([
  [
    'create',
    {
      usage: 'NAME URI',
      summary: 'make a key where the URI says, and register it',
      takes: [2, 2],
      options: ['algorithm', 'policy'],
      what: 'making the key',
      run: async (connection, input, _terminal, [key = '', uri = '']) =>
        about(
          await connection.call('key/create', {
            key,
            uri: absoluteUri(uri),
            algorithm: input.text('algorithm'),
            policy: await policyOf(input.text('policy')),
          }),
        ),
    },
  ],
  [
    'import',
    {
      usage: 'NAME URI',
      summary: 'register a key that exists',
      takes: [2, 2],
      options: ['valid-from', 'policy'],
      what: 'opening the key',
      run: async (connection, input, _terminal, [key = '', uri = '']) =>
        about(
          await connection.call('key/import', {
            key,
            uri: absoluteUri(uri),
            validFrom: wholeNumber(input, 'valid-from'),
            policy: await policyOf(input.text('policy')),
          }),
        ),
    },
  ],
  [
    'list',
    {
      usage: '',
      summary: 'show all keys, their states and where they count',
      takes: [0, 0],
      options: [],
      what: 'reading the keys',
      run: async (connection) => {
        const json = await connection.call('key/list', {})
        return { json, text: keysText(json) }
      },
    },
  ],
  [
    'describe',
    {
      usage: 'NAME',
      summary: "show a key and its back-end's own guarantees",
      takes: [1, 1],
      options: [],
      what: 'asking the key back-end',
      run: async (connection, _input, _terminal, [key = '']) =>
        about(await connection.call('key/describe', { key })),
    },
  ],
  [
    'export-public',
    {
      usage: 'NAME',
      summary: 'print the public key, PEM',
      takes: [1, 1],
      options: [],
      what: 'reading the key',
      run: async (connection, _input, _terminal, [key = '']) => {
        const found = await named(connection, key)
        const { name = null, keyId = null, publicKeyPem = null } = found
        return { json: { name, keyId, publicKeyPem }, text: shown(publicKeyPem) }
      },
    },
  ],
  [
    'check',
    {
      usage: '[NAME]',
      summary: 'sign a self-test with one key, or with all that are active',
      takes: [0, 1],
      options: [],
      what: 'testing',
      run: async (connection, _input, _terminal, [key]) => {
        const json = await connection.call('key/check', { key: key ?? null })
        const isGood = isObject(json) && json['isGood'] === true
        return { json, text: checksText(json), exit: isGood ? 0 : 3 }
      },
    },
  ],
  [
    'policy',
    {
      usage: 'NAME [FILE] [--show] [--none]',
      summary: 'show, set or remove what a key may sign',
      takes: [1, 2],
      options: ['show', 'none'],
      what: 'reading the policy',
      run: async (connection, input, _terminal, [key = '', file]) => {
        const none = input.flag('none')
        if (input.flag('show') && (none || file !== undefined))
          throw new AirsealError('USAGE', 'key policy: --show, --none or FILE')
        const policy = await policyOf(file ?? null)
        const json = await connection.call('key/policy', { key, policy, none })
        return { json, text: await policyText(json) }
      },
    },
  ],
  [
    'default',
    {
      usage: 'NAME',
      summary: 'make an active key the one that signs when none is named',
      takes: [1, 1],
      options: [],
      what: 'changing the default key',
      run: async (connection, _input, _terminal, [key = '']) =>
        about(await connection.call('key/default', { key })),
    },
  ],
  [
    'rotate',
    {
      usage: '[NAME] [--to NAME]',
      summary: 'let another key sign from now on; old images keep verifying',
      takes: [0, 1],
      options: ['to', 'reason'],
      what: 'rotating',
      run: async (connection, input, _terminal, [key]) => {
        const json = await connection.call('key/rotate', {
          key: key ?? null,
          to: input.text('to'),
          reason: input.text('reason'),
        })
        const { old = null, new: next = null } = isObject(json) ? json : {}
        return { json, text: `${keyText(old)}\n${keyText(next)}\n${NEXT_STEPS}` }
      },
    },
  ],
  [
    'retire',
    {
      usage: 'NAME',
      summary: 'let nothing that a key signed count any more',
      takes: [1, 1],
      options: ['reason', 'force'],
      what: 'looking for images that only this key vouches for',
      run: async (connection, input, _terminal, [key = '']) =>
        about(
          await connection.call('key/retire', {
            key,
            reason: input.text('reason'),
            force: input.flag('force'),
          }),
        ),
    },
  ],
  [
    'compromise',
    {
      usage: 'NAME --from INDEX|TIME',
      summary: 'refuse what a key signed from there on, and list every image affected',
      takes: [1, 1],
      options: ['from', 'reason', 'dry-run'],
      what: 'looking for what the key signed',
      run: compromise,
    },
  ],
])

const NEXT_STEPS = `Verifiers that hold cosign.pub need the new one: public/cosign.pub; all keys that count are in public/keys.json.
Next: airseal resign   (signs old images with the new key as well)
`

export const command: Command = {
  name: 'key',
  summary: 'Manages the keys that sign images.',
  usage: 'VERB [ARGUMENTS]',
  takesArguments: true,
  description: `
${verbTable()}

URI is file:PATH (cosign key file), awskms:///alias/NAME, gcpkms://projects/…/cryptoKeys/KEY or pkcs11:token=…;object=…?module-path=….
A key is active, then verify-only (rotated), then retired; it is compromised when it was in other hands. What it signed counts by its place
in the log, so no clock decides. docs/keys.md tells the whole life of a key, and what a policy may say.`,
  options: {
    algorithm: {
      type: 'string',
      value: 'NAME',
      help: 'of a new key: ecdsa-p256 (default), rsa-2048, rsa-3072, rsa-4096',
    },
    policy: { type: 'string', value: 'FILE', help: 'policy of a new key, YAML or JSON' },
    'valid-from': {
      type: 'string',
      value: 'INDEX',
      help: 'of an imported key: log index from which its signatures count (default 0)',
    },
    to: {
      type: 'string',
      value: 'NAME',
      help: 'active key that takes over (default: a new one beside the old)',
    },
    from: {
      type: 'string',
      value: 'INDEX|TIME',
      help: 'first log index, or UTC time, from which nothing by the key counts',
    },
    reason: { type: 'string', value: 'TEXT', help: 'kept with the key and in the audit trail' },
    'dry-run': { type: 'boolean', help: 'only list what would be affected' },
    force: { type: 'boolean', help: 'retire although images are left without another signature' },
    show: { type: 'boolean', help: 'print the policy' },
    none: { type: 'boolean', help: 'remove the policy' },
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal key list',
    'airseal key create release awskms:///alias/release',
    "airseal key import hsm 'pkcs11:token=airseal;object=signing;id=%01?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/airseal/pin'",
    'airseal key policy release policy.yaml',
    'airseal key rotate',
    'airseal key compromise signing --from 2026-11-24T18:00:00Z --reason "laptop stolen"',
  ],
  exitCodes: [[3, 'service, key or disk not available; or a key failed its check']],
  async run(input, terminal) {
    const [name, ...args] = input.required('VERB')
    const verb = VERBS.get(name ?? '')
    if (name === undefined || verb === undefined)
      throw new AirsealError(
        'USAGE',
        `key: no verb "${name ?? ''}"; there are: ${[...VERBS.keys()].join(', ')}`,
      )
    checkUsage(name, verb, input, args)
    const connection = await connect(input, terminal)
    try {
      const {
        json,
        text,
        exit = 0,
      } = await withProgress(
        terminal,
        input.json,
        verb.what,
        verb.run(connection, input, terminal, args),
      )
      terminal.stdout(input.json ? `${JSON.stringify(json)}\n` : text)
      return exit
    } finally {
      await connection.close()
    }
  },
}

function verbTable(): string {
  const rows = [...VERBS].map(
    ([name, { usage, summary }]) => [`${name} ${usage}`.trim(), summary] as const,
  )
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`).join('\n')
}

function checkUsage(name: string, verb: Verb, input: Input, args: readonly string[]): void {
  const [least, most] = verb.takes
  if (args.length < least || args.length > most)
    throw new AirsealError('USAGE', `want: airseal key ${name} ${verb.usage}`)
  const common = [...Object.keys(SITE_OPTIONS), 'output', 'help']
  for (const option of Object.keys(input.values)) {
    if (!common.includes(option) && !verb.options.includes(option))
      throw new AirsealError('USAGE', `key ${name}: --${option} is not for it`)
  }
}

function about(json: Json): Outcome {
  return { json, text: keyText(json) }
}

async function named(connection: Connection, name: string): Promise<JsonObject> {
  const answer = await connection.call('key/list', {})
  const keys =
    isObject(answer) && Array.isArray(answer['keys']) ? answer['keys'].filter(isObject) : []
  const found = keys.find((key) => key['name'] === name)
  if (found !== undefined) return found
  throw new AirsealError(
    'KEY_UNKNOWN',
    `no key "${name}"; there are: ${keys.map((key) => shown(key['name'])).join(', ')}`,
  )
}

/** Paths are of this command's folder, not of the service's. */
function absoluteUri(uri: string): string {
  const path = uri.startsWith('file:') ? uri.slice('file:'.length).replace(/^\/\/(?=\/)/, '') : ''
  return path === '' || isAbsolute(path) ? uri : `file:${resolve(path)}`
}

function wholeNumber(input: Input, option: string): number | null {
  const text = input.text(option)
  if (text === null) return null
  if (!/^\d{1,15}$/.test(text))
    throw new AirsealError('USAGE', `--${option} ${text}: want a log index`)
  return Number(text)
}

async function policyOf(file: string | null): Promise<Json> {
  if (file === null) return null
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new AirsealError('USAGE', `policy ${file} can't be read`, { cause })
  })
  const { parse } = await import('yaml')
  try {
    return (parse(text, { strict: true, uniqueKeys: true, maxAliasCount: 0 }) as Json) ?? {}
  } catch (cause) {
    throw new AirsealError(
      'USAGE',
      `policy ${file} is neither YAML nor JSON: ${(cause as Error).message.split('\n')[0] ?? ''}`,
      { cause },
    )
  }
}

async function policyText(json: Json): Promise<string> {
  const policy = isObject(json) ? (json['policy'] ?? null) : null
  if (policy === null)
    return 'none: it signs whatever its callers may ask for, and no bare digests\n'
  const { stringify } = await import('yaml')
  return stringify(policy)
}

function checksText(json: Json): string {
  const results =
    isObject(json) && Array.isArray(json['results']) ? json['results'].filter(isObject) : []
  const lines = results.map(({ key, isGood, milliseconds, code, findings }) => {
    const took = typeof milliseconds === 'number' ? ` in ${milliseconds.toFixed(1)} ms` : ''
    const said = Array.isArray(findings)
      ? findings.map((item) => `\n  ${shown(item)}`).join('')
      : ''
    return `${shown(key)}  ${isGood === true ? `signs${took}` : `FAILS [${shown(code)}]`}${said}`
  })
  return lines.length === 0 ? 'no key is active\n' : `${lines.join('\n')}\n`
}

/** Lists what is affected, page by page; the key is marked first, so that nothing new counts while the list grows. */
async function compromise(
  connection: Connection,
  input: Input,
  _terminal: Terminal,
  [key = '']: readonly string[],
): Promise<Outcome> {
  const from = input.text('from')
  if (from === null)
    throw new AirsealError('USAGE', 'key compromise: --from INDEX|TIME is required')
  const dryRun = input.flag('dry-run')
  const record = dryRun
    ? null
    : await connection.call('key/compromise', { key, from, reason: input.text('reason') })
  const affected: JsonObject[] = []
  let after: Json = null
  do {
    const page: Json = await connection.call('key/signed', { key, from, after })
    if (!isObject(page) || !Array.isArray(page['entries'])) break
    affected.push(...page['entries'].filter(isObject))
    after = page['next'] ?? null
  } while (after !== null)
  const digests = [...new Set(affected.map(({ digest }) => shown(digest)))].filter(
    (digest) => digest !== '',
  )
  const foreign = affected.filter(({ digest }) => (digest ?? null) === null).length
  const lines = affected.map(
    ({ logIndex, time, digest, place, payload }) =>
      `  ${shown(logIndex)}  ${shown(time)}  ${(digest ?? null) === null ? `payload ${shown(payload)}, not signed by airseal` : `${shown(place)}@${shown(digest)}`}`,
  )
  return {
    json: { key: record, affected, digests, foreign },
    text: [
      ...(record === null ? [] : [keyText(record)]),
      `${affected.length} log entries affected, of ${digests.length} images${foreign > 0 ? `, and ${foreign} that airseal did not sign` : ''}:`,
      ...lines,
      '',
    ].join('\n'),
  }
}
