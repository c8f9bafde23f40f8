import { isObject, type Json, type JsonObject } from '../core/index.ts'
import { shown } from './command.ts'

/** One key as people read it. */
export function keyText(json: Json): string {
  if (!isObject(json)) return ''
  const rows: (readonly [string, string])[] = [
    ['state', stateText(json)],
    ['SHA-256', shown(json['keyId'])],
    ['algorithm', shown(json['algorithm'])],
    ['at', shown(json['uri'])],
    ['counts', rangeText(json)],
    ['since', timeText(json['validFrom'])],
    ...optional('until', timeText(json['validTo'])),
    ...optional('compromised', timeText(json['compromisedFrom'])),
    ...optional('successor', shown(json['successor'] ?? '')),
    ...optional('reason', shown(json['reason'] ?? '')),
    ...optional('policy', isObject(json['policy']) ? Object.keys(json['policy']).join(', ') : ''),
    ...optional('health', healthText(json['health'])),
    ...backendRows(json['backend']),
  ]
  return `${shown(json['name'])}\n${rows.map(([left, right]) => `  ${left.padEnd(15)}  ${right}`).join('\n')}\n`
}

/** All keys, a line each. */
export function keysText(json: Json): string {
  const keys = isObject(json) && Array.isArray(json['keys']) ? json['keys'].filter(isObject) : []
  const rows = keys.map((key) => [
    shown(key['name']),
    stateText(key),
    shown(key['algorithm']),
    rangeText(key),
    shown(key['keyId']).slice(0, 12),
    shown(key['uri']),
  ])
  const table = [['NAME', 'STATE', 'ALGORITHM', 'COUNTS', 'SHA-256', 'AT'], ...rows]
  const widths =
    table[0]?.map((_, column) => Math.max(...table.map((row) => row[column]?.length ?? 0))) ?? []
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  return `${table.map(line).join('\n')}\n`
}

function stateText(key: JsonObject): string {
  return `${shown(key['state'])}${key['isDefault'] === true ? ' (default)' : ''}`
}

/** Where in the own log its signatures count. */
function rangeText(key: JsonObject): string {
  const ranges = key['validIn']
  if (!Array.isArray(ranges)) return 'everywhere'
  const texts = ranges
    .filter(isObject)
    .map(({ first, last }) => `${shown(first ?? 0)}–${shown(last ?? '')}`)
  return texts.length === 0 ? 'nowhere' : `entries ${texts.join(', ')}`
}

function timeText(mark: Json | undefined): string {
  if (!isObject(mark) || typeof mark['time'] !== 'number') return ''
  return `log index ${shown(mark['index'])}, ${new Date(mark['time']).toISOString()}`
}

function healthText(health: Json | undefined): string {
  if (!isObject(health)) return ''
  const findings = Array.isArray(health['findings']) ? health['findings'].map(shown).join('; ') : ''
  const word = health['isGood'] === true ? 'signs' : `FAILS [${shown(health['code'] ?? '')}]`
  return `${word}, ${shown(health['time'])}${findings === '' ? '' : `: ${findings}`}`
}

/** Null is what the back-end does not say. */
function backendRows(backend: Json | undefined): (readonly [string, string])[] {
  if (!isObject(backend)) return []
  const said = (value: Json | undefined, yes: string, no: string): string =>
    value === true ? yes : value === false ? no : 'the back-end does not say'
  return [
    ['back-end', shown(backend['backend'])],
    ['version', shown(backend['version'])],
    ['protection', shown(backend['protection'])],
    ['extractable', said(backend['extractable'], 'yes', 'no')],
    ['ever so', said(backend['everExtractable'], 'yes', 'never')],
    ['made inside', said(backend['madeInside'], 'yes', 'no')],
  ]
}

function optional(left: string, right: string): (readonly [string, string])[] {
  return right === '' ? [] : [[left, right]]
}
