import { readFile } from 'node:fs/promises'
import {
  AirsealError,
  fromBase64,
  isObject,
  toBase64,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { SITE_OPTIONS, shown, type Command, type Input, type Terminal } from './command.ts'
import { connect } from './connection.ts'
import { readRepository, writeNewFile, writeRepository } from './tuf-files.ts'

const { data, config, 'passphrase-file': passphraseFile } = SITE_OPTIONS

export const command: Command = {
  name: 'tuf',
  summary: 'Looks after the TUF repository that clients get their trust from.',
  usage: 'ACTION [ARGUMENTS]',
  takesArguments: true,
  description: `
The service publishes its trust files at /tuf/: \`cosign initialize --mirror URL/tuf --root root.json\`. Actions:
  status              versions, expiry, keys, and what must be done
  init                make the keys and the repository now (the first start of the service does it too)
  refresh             renew what is due and publish what has changed; the service does it every hour
  rotate ROLE         new keys for root, targets or online (snapshot and timestamp): clients follow by themselves
  propose root|targets  write the next file, to be signed elsewhere
  sign FILE           sign such a file with --key; needs neither service nor data directory
  publish FILE        publish it, once enough keys have signed
  export DIR          write the whole repository for a medium, or for any web server
  import DIR          follow a repository on a medium, with a TUF client's checks; this site then mirrors it
Root, targets and their keys can leave this machine: move the key file away, and propose, sign, publish instead.`,
  options: {
    key: {
      type: 'string',
      multiple: true,
      value: 'KEY',
      help: 'rotate: public key, PEM file (instead of a new key here); sign: URI of the private key',
    },
    threshold: { type: 'string', value: 'N', help: 'rotate: signatures that the role needs (1)' },
    out: {
      type: 'string',
      value: 'FILE',
      help: 'rotate, propose: where the file to be signed goes',
    },
    'valid-days': {
      type: 'string',
      value: 'N',
      help: 'export: how long the exported timestamp is good for (default tuf.exportDays)',
    },
    root: { type: 'string', value: 'FILE', help: 'first import: the root that is trusted' },
    'root-sha256': {
      type: 'string',
      value: 'HEX',
      help: 'first import: what that root must hash to',
    },
    'clock-is-right': {
      type: 'boolean',
      help: 'refresh, import: go on although the clock has jumped ahead or back',
    },
    renew: { type: 'string', value: 'ROLE', help: 'refresh: sign this role anew whatever its age' },
    ...(data && { data }),
    ...(config && { config }),
    ...(passphraseFile && { 'passphrase-file': passphraseFile }),
  },
  examples: [
    'airseal tuf status',
    'airseal tuf rotate root --key alice.pub --key bob.pub --threshold 2 --out root.json',
    'airseal tuf sign root.json --key pkcs11:token=alice;object=root?pin-source=file:/run/pin',
    'airseal tuf export /media/stick/tuf',
    'airseal tuf import /media/stick/tuf --root 1.root.json --root-sha256 4bc4…',
  ],
  exitCodes: [[3, 'service, key, disk or clock not usable; nothing was changed']],
  async run(input, terminal) {
    const [action = '', ...rest] = input.required('action')
    const run = ACTIONS[action]
    if (run === undefined) {
      const known = Object.keys(ACTIONS).join(', ')
      throw new AirsealError('USAGE', `tuf ${action}: want one of ${known}`)
    }
    const [argument = null, ...extra] = rest
    if (extra.length > 0) throw new AirsealError('USAGE', `tuf ${action}: too many arguments`)
    return run(argument, input, terminal)
  },
}

type Action = (argument: string | null, input: Input, terminal: Terminal) => Promise<number>

const ACTIONS: Readonly<Record<string, Action>> = {
  status: async (argument, input, terminal) => {
    none(argument)
    return printStatus(await call('status', {}, input, terminal), input, terminal)
  },
  init: async (argument, input, terminal) => {
    none(argument)
    return printStatus(await call('init', {}, input, terminal), input, terminal)
  },
  refresh: async (argument, input, terminal) => {
    none(argument)
    const body = { clockIsRight: input.flag('clock-is-right'), renew: input.text('renew') }
    return printStatus(await call('refresh', body, input, terminal), input, terminal)
  },
  rotate: async (argument, input, terminal) => {
    const keys = await Promise.all(input.texts('key').map((path) => text(path)))
    const body = {
      role: needed(argument, 'role: root, targets or online'),
      keys,
      threshold: count(input, 'threshold'),
    }
    const answer = await call('rotate', body, input, terminal)
    if (answer['published'] === true) return printStatus(answer, input, terminal)
    return keepProposal(answer, input, terminal)
  },
  propose: async (argument, input, terminal) => {
    const role = needed(argument, 'role: root or targets')
    return keepProposal(await call('propose', { role }, input, terminal), input, terminal)
  },
  sign: async (argument, input, terminal) => {
    const path = needed(argument, 'file')
    const [uri = null, ...more] = input.texts('key')
    if (uri === null || more.length > 0) throw new AirsealError('USAGE', 'tuf sign: give one --key')
    const { signTufFile } = await import('../tuf-sign.ts')
    const passphrase = input.text('passphrase-file')
    const signed = await signTufFile(
      path,
      uri,
      passphrase,
      terminal.environment['AIRSEAL_PASSPHRASE'],
    )
    return print(
      signed,
      input,
      terminal,
      `${path}: signed ${shown(signed['role'])} version ${shown(signed['version'])} with key ${shown(signed['keyId'])}`,
    )
  },
  publish: async (argument, input, terminal) => {
    const file = toBase64(await bytes(needed(argument, 'file')))
    return printStatus(await call('publish', { file }, input, terminal), input, terminal)
  },
  export: async (argument, input, terminal) => {
    const directory = needed(argument, 'directory')
    const answer = await call('export', { validDays: count(input, 'valid-days') }, input, terminal)
    const files = isObject(answer['files']) ? Object.entries(answer['files']) : []
    await writeRepository(
      directory,
      new Map(files.map(([name, content]) => [name, fromBase64(shown(content), name)])),
    )
    const done = { directory, files: files.length, versions: answer['versions'] ?? null }
    return print(done, input, terminal, `${directory}: ${files.length} files`)
  },
  import: async (argument, input, terminal) => {
    const files = await readRepository(needed(argument, 'directory'))
    const root = input.text('root')
    const body = {
      files: Object.fromEntries([...files].map(([name, content]) => [name, toBase64(content)])),
      root: root === null ? null : toBase64(await bytes(root)),
      rootSha256: input.text('root-sha256'),
      clockIsRight: input.flag('clock-is-right'),
    }
    return printStatus(await call('import', body, input, terminal), input, terminal)
  },
}

async function call(
  verb: string,
  body: JsonObject,
  input: Input,
  terminal: Terminal,
): Promise<JsonObject> {
  const connection = await connect(input, terminal)
  try {
    const answer = await connection.call(`tuf/${verb}`, body)
    return isObject(answer) ? answer : {}
  } finally {
    await connection.close()
  }
}

async function keepProposal(answer: JsonObject, input: Input, terminal: Terminal): Promise<number> {
  const out = input.text('out')
  const proposal = fromBase64(shown(answer['proposal']), 'the proposal')
  if (out === null) {
    terminal.stdout(
      input.json ? `${JSON.stringify(answer)}\n` : Buffer.from(proposal).toString('utf8'),
    )
    return 0
  }
  await writeNewFile(out, proposal)
  const wanting = Array.isArray(answer['signatures']) ? answer['signatures'] : []
  const counts = wanting
    .map((one) => (isObject(one) ? `${shown(one['have'])} of ${shown(one['need'])}` : ''))
    .join(', ')
  const { proposal: _left, ...rest } = answer
  const line = `${out}: ${shown(answer['role'])} version ${shown(answer['version'])}, signatures: ${counts}. Next: airseal tuf sign ${out} --key KEY, then airseal tuf publish ${out}`
  return print({ ...rest, file: out }, input, terminal, line)
}

function printStatus(answer: JsonObject, input: Input, terminal: Terminal): number {
  return print(answer, input, terminal, statusText(answer))
}

function print(answer: JsonObject, input: Input, terminal: Terminal, line: string): number {
  terminal.stdout(input.json ? `${JSON.stringify(answer)}\n` : `${line}\n`)
  return 0
}

function statusText(answer: JsonObject): string {
  const member = (name: string): JsonObject => {
    const value = answer[name]
    return isObject(value) ? value : {}
  }
  const list = (name: string): readonly Json[] => {
    const value = answer[name]
    return Array.isArray(value) ? value : []
  }
  const versions = member('versions')
  const expires = member('expires')
  const signs = list('signsHere').map((role) => shown(role))
  const isOwn = answer['origin'] === 'own'
  const rows = Object.keys(versions).map((role) => {
    const where = !isOwn ? '' : signs.includes(role) ? '  signed here' : '  signed elsewhere'
    return `  ${role.padEnd(9)}  version ${shown(versions[role]).padEnd(10)}  expires ${shown(expires[role])}${where}`
  })
  const alarms = list('alarms').map((one) =>
    isObject(one) ? `  ${shown(one['level'])}: ${shown(one['text'])}` : '',
  )
  return [
    isOwn
      ? 'This site signs its TUF repository:'
      : 'This site mirrors the TUF repository of another:',
    ...rows,
    `  targets: ${list('targets')
      .map((name) => shown(name))
      .join(' ')}`,
    `  SHA-256 of the newest root: ${shown(answer['rootSha256'])}`,
    ...alarms,
  ].join('\n')
}

function needed(argument: string | null, what: string): string {
  if (argument === null) throw new AirsealError('USAGE', `no ${what} given`)
  return argument
}

function none(argument: string | null): void {
  if (argument !== null) throw new AirsealError('USAGE', `"${argument}" is one argument too many`)
}

function count(input: Input, name: string): number | null {
  const given = input.text(name)
  if (given === null) return null
  if (!/^\d{1,6}$/.test(given)) throw new AirsealError('USAGE', `--${name} ${given}: want a number`)
  return Number(given)
}

function bytes(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `${path} can't be read`, { cause })
  })
}

async function text(path: string): Promise<string> {
  return Buffer.from(await bytes(path)).toString('utf8')
}
