import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'
import { AirsealError, type Json, type JsonObject } from '../core/index.ts'

export interface Option {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  readonly multiple?: boolean
  /** What stands for the value in the help text. */
  readonly value?: string
  readonly help: string
}

/** An option of cosign that a script may still give. */
export interface ForeignOption {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  /** What to do instead; the option is wrong usage then. Null: airseal does what it asks for anyway. */
  readonly instead: string | null
  /** The same for `--NAME=false`. Default: false is what airseal does. */
  readonly insteadOfFalse?: string
}

/** What a command is given. Writing goes through these two, so that tests can listen. */
export interface Terminal {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  /** True where a person can answer a prompt. */
  readonly interactive: boolean
  readonly environment: Readonly<Record<string, string | undefined>>
}

export interface Command {
  readonly name: string
  /** One line. */
  readonly summary: string
  /** Arguments after the name, for example `IMAGE…`. */
  readonly usage: string
  /** Whether it takes arguments besides options; absent: each is wrong usage. */
  readonly takesArguments?: true
  readonly description: string
  readonly options: Readonly<Record<string, Option>>
  /** Options of cosign's command of this name that airseal has not; they are not shown. */
  readonly foreign?: Readonly<Record<string, ForeignOption>>
  /** True for the commands of which cosign ends with 1, not 11, for an image that is not there. */
  readonly missingIsRefusal?: true
  readonly examples: readonly string[]
  /** Commands below this one, by their word: `airseal NAME WORD`. Each with one line about it, loaded when it is asked for. */
  readonly verbs?: ReadonlyMap<
    string,
    readonly [summary: string, load: () => Promise<{ readonly command: Command }>]
  >
  /** Exit codes beyond 0, 1 and 2, with their meaning. */
  readonly exitCodes: readonly (readonly [number, string])[]
  /** @returns the exit code */
  run(input: Input, terminal: Terminal): Promise<number>
}

/** Options every command has. */
const COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  output: {
    type: 'string',
    short: 'o',
    value: 'text|json',
    help: 'form of the answer (default text)',
  },
  help: { type: 'boolean', short: 'h', help: 'show this text' },
}

/** Options of commands that talk to the service or open its directory. */
export const SITE_OPTIONS: Readonly<Record<string, Option>> = {
  data: {
    type: 'string',
    value: 'DIR',
    help: 'data directory (default $AIRSEAL_DATA, else ./airseal-data)',
  },
  server: { type: 'string', value: 'URL', help: 'talk to the service at URL instead' },
  'token-file': {
    type: 'string',
    value: 'FILE',
    help: 'bearer token for --server (default $AIRSEAL_TOKEN)',
  },
  cacert: { type: 'string', value: 'FILE', help: 'certificate authority of --server, PEM' },
  config: {
    type: 'string',
    value: 'FILE',
    help: 'configuration (default airseal.yaml in the data directory)',
  },
  'passphrase-file': {
    type: 'string',
    value: 'FILE',
    help: 'passphrase of the keys, when no service runs',
  },
}

/** Parsed arguments: values by option name, and the rest. */
export class Input {
  readonly positionals: readonly string[]
  readonly #values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>

  constructor(values: Input['values'], positionals: readonly string[]) {
    this.#values = values
    this.positionals = positionals
  }

  get values(): Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>> {
    return this.#values
  }

  text(name: string): string | null {
    const value = this.#values[name]
    return typeof value === 'string' ? value : null
  }

  texts(name: string): readonly string[] {
    const value = this.#values[name]
    return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
  }

  flag(name: string): boolean {
    return this.#values[name] === true
  }

  /** True when the answer must be JSON. */
  get json(): boolean {
    return this.text('output') === 'json'
  }

  /** The positional arguments. @throws AirsealError USAGE when there is none */
  required(what: string): readonly string[] {
    if (this.positionals.length === 0) throw new AirsealError('USAGE', `no ${what} given`)
    return this.positionals
  }
}

/** @throws AirsealError USAGE, so that a command that was mistyped does nothing at all */
export function parseInput(command: Command, args: readonly string[]): Input {
  const { values, positionals } = parseOptions(command, args)
  const [first] = positionals
  if (first !== undefined && command.takesArguments !== true) {
    throw new AirsealError('USAGE', `${command.name} takes no arguments, not "${first}"`)
  }
  // A command whose `output` is something else says how its answer is formed by another option.
  const output = 'output' in command.options ? 'text' : (values['output'] ?? 'text')
  if (output !== 'text' && output !== 'json') {
    throw new AirsealError('USAGE', `--output ${shown(output)}: want text or json`)
  }
  return new Input(values, positionals)
}

function parseOptions(
  command: Command,
  args: readonly string[],
): { values: Input['values']; positionals: readonly string[] } {
  const options: ParseArgsOptionsConfig = {}
  const own: Readonly<Record<string, Option>> = { ...COMMON_OPTIONS, ...command.options }
  for (const [name, option] of Object.entries(own)) {
    options[name] = {
      type: option.type,
      ...(option.short === undefined ? {} : { short: option.short }),
      ...(option.multiple === undefined ? {} : { multiple: option.multiple }),
    }
  }
  const foreign = Object.entries(command.foreign ?? {}).filter(([name]) => !(name in options))
  for (const [name, { type, short }] of foreign)
    options[name] = { type, multiple: true, ...(short === undefined ? {} : { short }) }
  const plain = withoutGoForms(args, options, new Map(foreign))
  try {
    const parsed = parseArgs({ args: plain, options, allowPositionals: true, strict: true })
    for (const [name, { instead }] of foreign) {
      if (parsed.values[name] !== undefined && instead !== null) throw foreignUsage(name, instead)
    }
    return parsed
  } catch (cause) {
    if (cause instanceof AirsealError) throw cause
    const message = (cause as Error).message.split('. ')[0] ?? ''
    throw new AirsealError('USAGE', `${command.name}: ${message}`, { cause })
  }
}

/** `--NAME=true`, `--NAME=false` and `-NAME`, which cosign takes, as airseal writes them; nothing after `--` is touched. */
function withoutGoForms(
  args: readonly string[],
  options: ParseArgsOptionsConfig,
  foreign: ReadonlyMap<string, ForeignOption>,
): string[] {
  const end = args.indexOf('--')
  const plain: string[] = []
  for (const [at, arg] of args.entries()) {
    const found = /^(--?)([a-zA-Z][a-zA-Z0-9-]+)(?:=(.*))?$/s.exec(arg)
    const [, dashes = '', name = '', value] = found ?? []
    const type = options[name]?.type
    if ((end !== -1 && at >= end) || found === null || type === undefined) plain.push(arg)
    else if (type === 'boolean' && /^(?:true|TRUE|True|[1tT])$/.test(value ?? '')) {
      plain.push(`--${name}`)
    } else if (type === 'boolean' && /^(?:false|FALSE|False|[0fF])$/.test(value ?? '')) {
      const instead = foreign.get(name)?.insteadOfFalse
      if (instead !== undefined) throw foreignUsage(`${name}=false`, instead)
    } else plain.push(dashes === '-' ? `-${arg}` : arg)
  }
  return plain
}

function foreignUsage(name: string, instead: string): AirsealError {
  return new AirsealError('USAGE', `--${name} is cosign's; ${instead}`)
}

/** The text of `--help`. */
export function helpText(command: Command): string {
  const rows = Object.entries({ ...COMMON_OPTIONS, ...command.options }).map(
    ([name, option]): [string, string] => {
      const short = option.short === undefined ? '    ' : `-${option.short}, `
      return [
        `${short}--${name}${option.value === undefined ? '' : ` ${option.value}`}`,
        option.help,
      ]
    },
  )
  const verbs = [...(command.verbs ?? [])].map(([word, [summary]]): [string, string] => [
    word,
    summary,
  ])
  const width = Math.max(...[...rows, ...verbs].map(([left]) => left.length))
  const exits: (readonly [number, string])[] = [
    [0, 'done'],
    [1, 'refused'],
    [2, 'wrong usage'],
    ...command.exitCodes,
  ]
  return [
    command.summary,
    '',
    `  airseal ${command.name} ${command.usage}`,
    '',
    command.description.trim(),
    '',
    ...(verbs.length === 0
      ? []
      : ['Verbs:', ...verbs.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`), '']),
    'Options:',
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
    '',
    'Exit codes:',
    ...exits.map(([code, meaning]) => `  ${String(code).padStart(2)}  ${meaning}`),
    '',
    command.examples.length === 1 ? 'Example:' : 'Examples:',
    ...command.examples.map((example) => `  ${example}`),
    '',
  ].join('\n')
}

/** An error as a command prints it: one line what, one line how to mend it; or JSON. */
export function errorText(error: AirsealError, json: boolean): string {
  if (json) return `${JSON.stringify({ error: errorJson(error) })}\n`
  return `airseal: ${error.message} [${error.code}]\n         ${error.facts.remedy}\n`
}

export function errorJson(error: AirsealError): JsonObject {
  return { code: error.code, message: error.message, remedy: error.facts.remedy }
}

/** A text or number of an answer as it is printed; nothing for anything else. */
export function shown(value: Json | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}
