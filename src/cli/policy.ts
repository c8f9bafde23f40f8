import { readFile } from 'node:fs/promises'
import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { shown, SITE_OPTIONS, type Command, type Input, type Terminal } from './command.ts'
import { connect, type Connection } from './connection.ts'
import { absoluteImage } from './image-argument.ts'
import { withProgress } from './progress.ts'

/** What `airseal policy VERB` does with the arguments after the verb. */
type Verb = (args: readonly string[], input: Input, terminal: Terminal) => Promise<number>

const VERBS: Readonly<Record<string, Verb>> = { add, list, show, test }

export const command: Command = {
  name: 'policy',
  summary: 'Keeps policies: what is demanded of images, by name.',
  usage: 'add FILE | list | show NAME | test NAME|FILE IMAGE…',
  takesArguments: true,
  description: `
A policy says which keys or identities must have signed an image, how many of them, and which attestations it must have with which
predicate: apiVersion airseal/v1, kind VerificationPolicy, in YAML or JSON. \`add\` stores one, or a new revision of it, which counts for the
next question. \`test\` judges images by a stored policy, or by a file without storing it. \`POST /v1/verify\` takes its name as \`policy\`.`,
  options: SITE_OPTIONS,
  examples: [
    'airseal policy add release.yaml',
    'airseal policy test release.yaml registry.example:5000/team/app@sha256:4bc4…',
  ],
  exitCodes: [
    [3, 'could not be found out: service or registry not available'],
    [10, 'image without signature'],
    [11, 'image not found'],
    [12, 'signatures present, the policy is not met'],
  ],
  run(input, terminal) {
    const [name = '', ...args] = input.required('verb (add, list, show, test)')
    const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined
    if (verb === undefined) {
      throw new AirsealError('USAGE', `policy ${name}: want ${Object.keys(VERBS).join(', ')}`)
    }
    return verb(args, input, terminal)
  },
}

async function add(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  const text = await readPolicy(only(args, 'add FILE'))
  const stored = await withConnection(input, terminal, (site) => site.call('policy/add', { text }))
  if (input.json) terminal.stdout(`${JSON.stringify(stored)}\n`)
  else if (isObject(stored))
    terminal.stdout(`policy ${shown(stored['name'])}, revision ${shown(stored['revision'])}\n`)
  return 0
}

async function list(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  if (args.length > 0) throw new AirsealError('USAGE', 'policy list takes no arguments')
  const answer = await withConnection(input, terminal, (site) => site.call('policy/list', {}))
  if (input.json) {
    terminal.stdout(`${JSON.stringify(answer)}\n`)
    return 0
  }
  const policies =
    isObject(answer) && Array.isArray(answer['policies']) ? answer['policies'].filter(isObject) : []
  for (const one of policies) {
    terminal.stdout(
      `${shown(one['name'])}  revision ${shown(one['revision'])}  ${shown(one['time'])}\n`,
    )
  }
  if (policies.length === 0) terminal.stderr('no policies\n')
  return 0
}

async function show(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  const name = only(args, 'show NAME')
  const stored = await withConnection(input, terminal, (site) => site.call('policy/show', { name }))
  if (input.json) terminal.stdout(`${JSON.stringify(stored)}\n`)
  else if (isObject(stored)) terminal.stdout(withNewline(shown(stored['text'])))
  return 0
}

/** @returns exit code: 0, or that of the first image that does not meet the policy */
async function test(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  const [named, ...images] = args
  if (named === undefined || images.length === 0)
    throw new AirsealError('USAGE', 'policy test wants NAME|FILE and at least one IMAGE')
  const policy = await policyMember(named)
  return withConnection(input, terminal, async (site) => {
    let exit = 0
    for (const image of images) {
      const body = { images: [absoluteImage(image)], policy }
      const answer = await withProgress(
        terminal,
        input.json,
        `judging ${image}`,
        site.call('verify', body),
      )
      const results =
        isObject(answer) && Array.isArray(answer['results'])
          ? answer['results'].filter(isObject)
          : []
      if (results.length === 0)
        throw new AirsealError('SERVER_UNREACHABLE', 'the service gave no verdict')
      for (const result of results) {
        const code = report(image, result, input, terminal)
        exit = exit === 0 ? code : exit
      }
    }
    return exit
  })
}

/** A file is sent whole; anything else is the name of a stored policy. */
async function policyMember(named: string): Promise<Json> {
  const text = await readFile(named, 'utf8').catch(() => null)
  if (text === null) {
    if (/[/]|\.(?:ya?ml|json)$/.test(named))
      throw new AirsealError('USAGE', `the policy ${named} can't be read`)
    return named
  }
  const { readPolicyText } = await import('../policy-store.ts')
  return readPolicyText(text)
}

function report(image: string, result: JsonObject, input: Input, terminal: Terminal): number {
  const { outcome, reason, message, remedy, exitCode, demands } = result
  if (input.json) terminal.stdout(`${JSON.stringify(result)}\n`)
  else {
    const lines = Array.isArray(demands) ? demands.filter(isObject) : []
    terminal.stdout(
      [
        `${image}: ${shown(outcome)}${outcome === 'verified' ? '' : ` [${shown(reason)}] ${shown(message)}`}`,
        ...lines.map(
          (demand) =>
            `  ${demand['outcome'] === 'verified' ? 'met    ' : 'NOT met'}  ${shown(demand['name'])}: ${shown(demand['message'])}`,
        ),
        ...(outcome === 'verified' ? [] : [`  ${shown(remedy)}`]),
        '',
      ].join('\n'),
    )
  }
  if (outcome === 'verified') return 0
  return typeof exitCode === 'number' && exitCode !== 0 ? exitCode : 1
}

async function readPolicy(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((cause: unknown) => {
    throw new AirsealError('USAGE', `the policy ${path} can't be read`, { cause })
  })
}

function only(args: readonly string[], usage: string): string {
  const [value, more] = args
  if (value === undefined || more !== undefined)
    throw new AirsealError('USAGE', `want policy ${usage}`)
  return value
}

async function withConnection<T>(
  input: Input,
  terminal: Terminal,
  work: (site: Connection) => Promise<T>,
): Promise<T> {
  const site = await connect(input, terminal)
  try {
    return await work(site)
  } finally {
    await site.close()
  }
}

function withNewline(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}
