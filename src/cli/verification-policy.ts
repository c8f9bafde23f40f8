import { readFile } from 'node:fs/promises'
import { AirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { shown, type Input, type Terminal } from './command.ts'
import { connect, type Connection } from './connection.ts'
import { absoluteImage } from './image-argument.ts'
import { withProgress } from './progress.ts'
import { reportAll } from './verifying.ts'

export async function addVerificationPolicy(
  args: readonly string[],
  input: Input,
  terminal: Terminal,
): Promise<number> {
  const text = await readPolicy(only(args, 'add FILE'))
  const stored = await withConnection(input, terminal, (site) => site.call('policy/add', { text }))
  if (input.json) terminal.stdout(`${JSON.stringify(stored)}\n`)
  else if (isObject(stored))
    terminal.stdout(`policy ${shown(stored['name'])}, revision ${shown(stored['revision'])}\n`)
  return 0
}

export async function listVerificationPolicies(
  args: readonly string[],
  input: Input,
  terminal: Terminal,
): Promise<number> {
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

export async function showVerificationPolicy(
  args: readonly string[],
  input: Input,
  terminal: Terminal,
): Promise<number> {
  const name = only(args, 'show NAME')
  const stored = await withConnection(input, terminal, (site) => site.call('policy/show', { name }))
  if (input.json) terminal.stdout(`${JSON.stringify(stored)}\n`)
  else if (isObject(stored)) terminal.stdout(withNewline(shown(stored['text'])))
  return 0
}

/** @returns exit code: 0, or that of the first image that does not meet the policy */
export async function testImages(
  args: readonly string[],
  input: Input,
  terminal: Terminal,
): Promise<number> {
  const [named, ...images] = args
  if (named === undefined || images.length === 0)
    throw new AirsealError('USAGE', 'policy test wants NAME|FILE and at least one IMAGE')
  const policy = await policyMember(named)
  return withConnection(input, terminal, async (site) => {
    let exit = 0
    for (const image of images) {
      const body = { images: [absoluteImage(image)], policy }
      const work = site.call('verify', body)
      const answer = await withProgress(terminal, input.json, `judging ${image}`, work)
      const code = reportAll(answer, (result) => report(image, result, input, terminal))
      exit = exit === 0 ? code : exit
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
