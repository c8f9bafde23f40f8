import { isObject, type Json, type JsonObject } from '../core/index.ts'
import { shown, type Input, type Terminal } from './command.ts'

/** Prints an answer: as it is for programs, by `text` for people. */
export function print(
  answer: JsonObject,
  input: Input,
  terminal: Terminal,
  text: string | readonly string[],
): number {
  const lines = typeof text === 'string' ? [text] : text
  terminal.stdout(
    input.json ? `${JSON.stringify(answer)}\n` : lines.map((line) => `${line}\n`).join(''),
  )
  return 0
}

/** What a change came to. */
export function outcomeLines(answer: JsonObject): readonly string[] {
  const changes = texts(answer['changes'])
  if (answer['published'] !== null)
    return [`trust version ${shown(answer['published'])} is in force`, ...indented(changes)]
  if (changes.length === 0) return [`nothing changed; trust version ${shown(answer['version'])}`]
  return [
    'the root keys are not here, so this waits for them (airseal trust propose, sign, publish):',
    ...indented(changes),
    'What it takes away counts no longer, from now on; what it adds counts once it is published.',
  ]
}

/** What is in force, how old it is, and what needs attention. */
export function statusLines(status: JsonObject): readonly string[] {
  const roots = isObject(status['roots']) ? status['roots'] : {}
  const keys = objects(roots['keys'])
  const waiting = texts(status['waiting'])
  const alarms = objects(status['alarms'])
  return [
    `${shown(status['enclave'])}, trust version ${shown(status['version'])}: ${shown(status['stage'])}`,
    `  made     ${shown(status['created'])} (${shown(status['ageDays'])} days ago, ${shown(status['missedUpdates'])} promised updates missed)`,
    `  expires  ${shown(status['expires'])}`,
    `  digest   ${shown(status['digest'])}`,
    `  roots    version ${shown(roots['version'])}, ${shown(roots['threshold'])} of ${keys.length} must sign; fingerprint ${shown(roots['fingerprint'])}`,
    ...keys.map(
      (key) =>
        `           ${shown(key['name'])} ${shown(key['keyId'])}${key['online'] === true ? ' (here: this machine signs with it)' : ''}`,
    ),
    ...(waiting.length === 0 ? [] : ['waits for the root keys:', ...indented(waiting)]),
    ...alarms.map((alarm) => `${shown(alarm['stage'])}: ${shown(alarm['message'])}`),
  ]
}

export function indented(lines: readonly string[]): readonly string[] {
  return lines.map((line) => `  ${line}`)
}

export function texts(value: Json | undefined): readonly string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []
}

function objects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}
