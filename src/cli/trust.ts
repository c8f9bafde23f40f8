import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  AirsealError,
  fromBase64,
  fromUtf8,
  isObject,
  parseJson,
  toBase64,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { SITE_OPTIONS, shown, type Command, type Input, type Terminal } from './command.ts'
import { connect } from './connection.ts'
import { prompt } from './passphrase.ts'
import { withProgress } from './progress.ts'
import { indented, outcomeLines, print, statusLines, texts } from './trust-answers.ts'

export const command: Command = {
  name: 'trust',
  summary: 'Looks after the trust bundle: what every verifier of the enclave believes.',
  usage: 'ACTION [ARGUMENTS]',
  takesArguments: true,
  description: `
One signed document says which keys, logs and authorities count; the files of cosign, Kyverno, policy-controller, Connaisseur, Podman,
Flux and others are made from it. Actions:
  show [VERSION]   the bundle in force, or an older one
  status           version, age, roots, what waits for the roots, and everything that will expire
  diff [FROM [TO]] what waits for the roots; with versions: what changed between them
  propose          a change: carried roots, policies, authorities (options below). With --out it becomes a file that root keys sign
  sign FILE        sign a proposal with --key; needs neither service nor data directory
  publish FILE     put a proposal into force that enough root keys have signed
  export DIR       write the bundle and every consumer's files
  import FILE      take a trust bundle, of this enclave or another, a Sigstore trusted root, or a PEM key
  rotate-root      new root keys: with --root-key a proposal for both sets to sign, without a new key on this machine
  revoke           a key (from a log index on), an image or a log entry; counts at once
Where the root key is on this machine, changes are signed and published at once. Where it is not, what a change takes away counts at once
here, and what it adds once it is published.`,
  options: {
    out: { type: 'string', value: 'FILE', help: 'propose, rotate-root: where the proposal goes' },
    key: {
      type: 'string',
      short: 'k',
      value: 'KEY',
      help: 'sign: root key, file or URI; revoke: name or SHA-256',
    },
    'root-key': {
      type: 'string',
      multiple: true,
      value: 'PEM',
      help: 'rotate-root: public key file of a new root; repeated: all of them, kept ones too',
    },
    threshold: {
      type: 'string',
      value: 'N',
      help: 'rotate-root: how many must sign (default: more than half)',
    },
    'from-index': {
      type: 'string',
      value: 'N',
      help: 'revoke --key: entries from N on are refused (default: all)',
    },
    image: { type: 'string', value: 'IMAGE', help: 'revoke: sha256:… or HOST/REPO@sha256:…' },
    entry: { type: 'string', value: 'UUID', help: 'revoke: log entry' },
    reason: { type: 'string', value: 'TEXT', help: 'revoke: why, for whoever is refused' },
    name: {
      type: 'string',
      value: 'NAME',
      help: 'import: name under which a trusted root or key is carried',
    },
    pin: {
      type: 'string',
      value: 'HEX',
      help: "import: fingerprint of another enclave's roots, which you compared by another way",
    },
    source: {
      type: 'string',
      value: 'TEXT',
      help: 'import: where it was fetched (default: the file)',
    },
    fetched: { type: 'string', value: 'DATE', help: 'import: when it was fetched (default: now)' },
    policy: {
      type: 'string',
      multiple: true,
      value: 'NAME=SCOPE[=KEY,…]',
      help: 'propose: images below SCOPE (* or HOST[/PATH]) need one of these keys (default: any)',
    },
    'remove-policy': {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'propose: this policy goes',
    },
    'remove-foreign': {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'propose: this carried root goes',
    },
    authorities: {
      type: 'string',
      value: 'FILE',
      help: 'propose: trusted root with our certificate and time-stamp authorities, CT logs, older logs',
    },
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal trust status',
    'airseal trust export ./trust',
    'airseal trust revoke --key signing --from-index 4711 --reason "laptop stolen"',
    'airseal trust rotate-root --root-key alice.pub --root-key bob.pub --root-key carol.pub --threshold 2 --out next.json',
    'airseal trust sign next.json --key alice.key',
    'airseal trust publish next.json',
    'airseal trust import sigstore.json --name sigstore --fetched 2026-11-01',
  ],
  exitCodes: [[3, 'service, key, disk or clock not usable; nothing was changed']],
  async run(input, terminal) {
    const [action = '', ...rest] = input.required('action')
    const run = ACTIONS[action]
    if (run === undefined)
      throw new AirsealError(
        'USAGE',
        `trust ${action}: want one of ${Object.keys(ACTIONS).join(', ')}`,
      )
    const most = MOST[action] ?? 1
    if (rest.length > most) throw new AirsealError('USAGE', `trust ${action}: too many arguments`)
    return run(rest, input, terminal)
  },
}

type Action = (rest: readonly string[], input: Input, terminal: Terminal) => Promise<number>

/** Most arguments of an action, where it is not one. */
const MOST: Readonly<Record<string, number>> = {
  status: 0,
  diff: 2,
  propose: 0,
  'rotate-root': 0,
  revoke: 0,
}

const ACTIONS: Readonly<Record<string, Action>> = {
  show: async ([version], input, terminal) => {
    const body = { version: version === undefined ? null : count(version, 'version') }
    const answer = await call('show', body, input, terminal)
    return print(answer, input, terminal, JSON.stringify(answer, null, 2))
  },
  status: async (_rest, input, terminal) => {
    const status = await call('status', null, input, terminal)
    return print(status, input, terminal, statusLines(status))
  },
  diff: async ([from, to], input, terminal) => {
    const body = {
      from: from === undefined ? null : count(from, 'version'),
      to: to === undefined ? null : count(to, 'version'),
    }
    const answer = await call('diff', body, input, terminal)
    const changes = texts(answer['changes'])
    return print(answer, input, terminal, changes.length === 0 ? 'no difference' : changes)
  },
  propose: async (_rest, input, terminal) => {
    const body = await editBody(input)
    if (input.text('out') === null) return changed('edit', body, input, terminal)
    return keepProposal(await call('propose', body, input, terminal), input, terminal)
  },
  sign: async ([path], input, terminal) => {
    const { signProposal } = await import('../trust-sign.ts')
    const key = input.text('key')
    if (path === undefined || key === null)
      throw new AirsealError('USAGE', 'trust sign: give a FILE and --key')
    const show = (changes: readonly string[]): void => {
      terminal.stderr(
        `${path} says:\n${indented(changes.length === 0 ? ['the same as the version in force'] : changes).join('\n')}\n`,
      )
    }
    const signed = await signProposal(path, key, () => passphrase(input, terminal), show)
    const { missing, missingNew } = signed
    return print({ ...signed, changes: [...signed.changes] }, input, terminal, [
      `${path}: ${signed.rootName} signed trust version ${signed.version} of ${signed.enclave}`,
      missing + missingNew === 0
        ? `enough have signed: airseal trust publish ${path}`
        : `still missing: ${missing} of the roots in force, ${missingNew} of the new ones`,
    ])
  },
  publish: async ([path], input, terminal) =>
    changed('publish', { proposal: await base64Of(path, 'publish') }, input, terminal),
  export: async ([directory], input, terminal) => {
    if (directory === undefined) throw new AirsealError('USAGE', 'trust export: give a DIR')
    const answer = await call('files', null, input, terminal)
    const files = Object.entries(isObject(answer['files']) ? answer['files'] : {})
    await writeFiles(directory, files)
    const { version = null } = answer
    const names = files.map(([name]) => name)
    return print({ directory, version, files: names }, input, terminal, [
      `trust version ${shown(version)} in ${directory}:`,
      ...indented(names),
    ])
  },
  import: async ([path], input, terminal) => {
    const body = {
      file: await base64Of(path, 'import'),
      name: input.text('name'),
      pin: input.text('pin'),
      source: input.text('source') ?? basename(path ?? ''),
      fetched: input.text('fetched'),
    }
    return changed('import', body, input, terminal)
  },
  'rotate-root': async (_rest, input, terminal) => {
    const keys = await Promise.all(
      input.texts('root-key').map(async (path) => ({
        name: basename(path).replace(/\.(?:pub|pem)$/, ''),
        publicKey: await textOf(path),
      })),
    )
    const threshold = input.text('threshold')
    if (keys.length === 0) return changed('rotate-root', null, input, terminal)
    const body = { keys, threshold: threshold === null ? null : count(threshold, 'threshold') }
    return keepProposal(await call('rotate-root', body, input, terminal), input, terminal)
  },
  revoke: async (_rest, input, terminal) => {
    const index = input.text('from-index')
    const image = input.text('image')
    const at = image?.lastIndexOf('@') ?? -1
    const body = {
      key: input.text('key'),
      fromIndex: index === null ? null : count(index, 'from-index'),
      image: image?.slice(at + 1) ?? null,
      repository: image === null || at === -1 ? null : image.slice(0, at),
      entry: input.text('entry'),
      reason: input.text('reason'),
    }
    if (body.reason === null) throw new AirsealError('USAGE', 'trust revoke: give a --reason')
    return changed('revoke', body, input, terminal)
  },
}

async function changed(
  verb: string,
  body: Json,
  input: Input,
  terminal: Terminal,
): Promise<number> {
  const answer = await call(verb, body, input, terminal)
  return print(answer, input, terminal, outcomeLines(answer))
}

async function keepProposal(answer: JsonObject, input: Input, terminal: Terminal): Promise<number> {
  const path = input.text('out')
  if (path === null) throw new AirsealError('USAGE', 'give --out FILE for the proposal')
  await writeFile(path, fromBase64(shown(answer['proposal']), 'the proposal'), {
    flag: 'wx',
  }).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `--out ${path} can't be written, or is there already`, {
      cause,
    })
  })
  const signedBy = texts(answer['signedBy'])
  return print({ ...answer, proposal: path }, input, terminal, [
    `${path}: trust version ${shown(answer['version'])}, signed by ${signedBy.join(', ') || 'nobody yet'}`,
    ...indented(texts(answer['changes'])),
    `still missing: ${shown(answer['missing'])} of the roots in force, ${shown(answer['missingNew'])} of the new ones`,
    `Next: airseal trust sign ${path} --key ROOTKEY, then airseal trust publish ${path}`,
  ])
}

async function editBody(input: Input): Promise<JsonObject> {
  const authorities = input.text('authorities')
  const policies = input.texts('policy').map((text): JsonObject => {
    const [name = '', scope = '', keys = '', ...more] = text.split('=')
    if (name === '' || scope === '' || more.length > 0)
      throw new AirsealError('USAGE', `--policy ${text}: want NAME=SCOPE[=KEY,…]`)
    return { name, scope, keys: keys === '' ? [] : keys.split(',') }
  })
  return {
    policies,
    removePolicies: [...input.texts('remove-policy')],
    removeForeign: [...input.texts('remove-foreign')],
    authorities: authorities === null ? null : parseJson(await textOf(authorities)),
  }
}

async function call(
  verb: string,
  body: Json,
  input: Input,
  terminal: Terminal,
): Promise<JsonObject> {
  const connection = await connect(input, terminal)
  try {
    const work = connection.call(`trust/${verb}`, body)
    const answer = await withProgress(terminal, input.json, `trust ${verb}`, work)
    if (isObject(answer)) return answer
    throw new AirsealError('SERVER_UNREACHABLE', 'the service gave no answer')
  } finally {
    await connection.close()
  }
}

/** Each file whole; what an earlier export wrote and this version has not is removed. */
async function writeFiles(
  directory: string,
  files: readonly (readonly [string, Json])[],
): Promise<void> {
  const { writeFileWhole } = await import('../data-directory.ts')
  await mkdir(directory, { recursive: true })
  const names = new Set(files.map(([name]) => name))
  const old = await listed(directory)
  for (const [name, content] of files) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._@-]*$/.test(name))
      throw new AirsealError('SERVER_UNREACHABLE', 'the service named a file that is none')
    await writeFileWhole(join(directory, name), fromBase64(shown(content), name), 0o644)
  }
  for (const name of await readdir(directory))
    if (old.has(name) && !names.has(name)) await rm(join(directory, name))
}

/** Names in the list that an earlier export left. */
async function listed(directory: string): Promise<ReadonlySet<string>> {
  const text = await readFile(join(directory, 'trust-files.json'), 'utf8').catch(() => '{}')
  const list = parseJson(text, { code: 'USAGE', what: `${directory}/trust-files.json` })
  const sums = isObject(list) ? list['sha256'] : null
  return new Set(isObject(sums) ? Object.keys(sums) : [])
}

async function base64Of(path: string | undefined, verb: string): Promise<string> {
  if (path === undefined) throw new AirsealError('USAGE', `trust ${verb}: give a FILE`)
  return toBase64(await bytesOf(path))
}

async function textOf(path: string): Promise<string> {
  return fromUtf8(await bytesOf(path), path, 'USAGE')
}

function bytesOf(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause: unknown) => {
    throw new AirsealError('USAGE', `${path} can't be read`, { cause })
  })
}

function count(text: string, what: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new AirsealError('USAGE', `${what} ${text}: want a whole number`)
}

/** Of the root key: from the file that is named, the environment, or a prompt. */
async function passphrase(input: Input, terminal: Terminal): Promise<string> {
  const { givenPassphrase } = await import('./passphrase.ts')
  const given = await givenPassphrase(input.text('passphrase-file'), terminal)
  if (given !== null) return given
  if (terminal.interactive) return prompt('Passphrase of the root key: ')
  throw new AirsealError('PASSPHRASE', 'give --passphrase-file or AIRSEAL_PASSPHRASE')
}
