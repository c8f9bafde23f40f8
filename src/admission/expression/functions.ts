import { createHash } from 'node:crypto'
import { RE2JS } from 're2js'
import { satisfies, validRange } from 'semver'
import { parse as parseYaml } from 'yaml'
import { AirsealError, isObject, parseJson, type Json } from '../../core/index.ts'
import { imageText, parseImageName } from '../image/name.ts'
import { matchesWildcard } from '../policy/wildcard.ts'
import { ARITHMETIC } from './arithmetic.ts'
import { COLLECTIONS } from './collections.ts'
import { anyNumber, failed, function_, type Function, text, texts } from './parameters.ts'
import { TIME_FUNCTIONS } from './time-functions.ts'

export type { Function } from './parameters.ts'

const MAX_TEXT = 1024 * 1024

function pattern(source: string): RE2JS {
  if (source.length > 1_024) throw failed('a pattern has more than 1024 characters')
  try {
    return RE2JS.compile(source)
  } catch (cause) {
    throw new AirsealError(
      'EXPRESSION_FAILED',
      `not a pattern: ${(cause as Error).message.slice(0, 160)}`,
      { cause },
    )
  }
}

function replaced(source: string, from: string, to: string, literal: boolean): string {
  const by = literal ? RE2JS.quoteReplacement(to) : to.replaceAll(/\$\{(\w+)\}/g, '$$$1')
  return bounded(pattern(from).matcher(source).replaceAll(by))
}

function bounded(result: string): string {
  if (result.length > MAX_TEXT) throw failed(`a text of more than ${MAX_TEXT} characters came out`)
  return result
}

function replaceTimes(whole: string, from: string, to: string, times: number): string {
  if (from === '') return whole
  let rest = whole
  let result = ''
  for (let n = 0; times < 0 || n < times; n++) {
    const at = rest.indexOf(from)
    if (at === -1) break
    result = bounded(result + rest.slice(0, at) + to)
    rest = rest.slice(at + from.length)
  }
  return bounded(result + rest)
}

function isExternal(url: string): boolean {
  if (!URL.canParse(url)) throw failed(`is_external_url(): "${url.slice(0, 80)}" is no URL`)
  const { hostname } = new URL(url)
  const address = hostname.replace(/^\[|\]$/g, '')
  return !(
    address === 'localhost' ||
    /^(?:127\.|10\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2\d|3[01])\.|0\.)/.test(address) ||
    /^(?:::1|f[cd]|fe80:)/i.test(address)
  )
}

function digestBy(algorithm: string): Function {
  return function_(1, (values) => createHash(algorithm).update(text(values, 0)).digest('hex'))
}

function trimCharacters(whole: string, cut: string): string {
  let from = 0
  let to = whole.length
  while (from < to && cut.includes(whole[from] ?? '')) from++
  while (to > from && cut.includes(whole[to - 1] ?? '')) to--
  return whole.slice(from, to)
}

/** What {@link compileQuery} knows, by name: JMESPath's own functions and those of Kyverno that depend on nothing but their arguments and the time. */
export const FUNCTIONS: Readonly<Record<string, Function>> = {
  ...COLLECTIONS,
  ...ARITHMETIC,
  ...TIME_FUNCTIONS,
  compare: function_(2, (values) => {
    const [a, b] = texts(values)
    return a === b ? 0 : (a ?? '') < (b ?? '') ? -1 : 1
  }),
  equal_fold: function_(
    2,
    (values) => text(values, 0).toLowerCase() === text(values, 1).toLowerCase(),
  ),
  replace: function_(4, (values) =>
    replaceTimes(text(values, 0), text(values, 1), text(values, 2), anyNumber(values, 3)),
  ),
  replace_all: function_(3, (values) =>
    replaceTimes(text(values, 0), text(values, 1), text(values, 2), -1),
  ),
  to_upper: function_(1, (values) => text(values, 0).toUpperCase()),
  to_lower: function_(1, (values) => text(values, 0).toLowerCase()),
  trim: function_(2, (values) => trimCharacters(text(values, 0), text(values, 1))),
  trim_prefix: function_(2, (values) => {
    const whole = text(values, 0)
    const prefix = text(values, 1)
    return whole.startsWith(prefix) ? whole.slice(prefix.length) : whole
  }),
  split: function_(2, (values) => text(values, 0).split(text(values, 1))),
  truncate: function_(2, (values) => text(values, 0).slice(0, Math.max(0, anyNumber(values, 1)))),
  regex_match: function_(2, (values) => pattern(text(values, 0)).matcher(scalar(values, 1)).find()),
  regex_replace_all: function_(3, (values) =>
    replaced(scalar(values, 1), text(values, 0), scalar(values, 2), false),
  ),
  regex_replace_all_literal: function_(3, (values) =>
    replaced(scalar(values, 1), text(values, 0), scalar(values, 2), true),
  ),
  pattern_match: function_(2, (values) => matchesWildcard(text(values, 0), scalar(values, 1))),
  label_match: function_(2, ([wanted = null, labels = null]) => {
    if (!isObject(wanted) || !isObject(labels)) throw failed('label_match() wants two objects')
    return Object.entries(wanted).every(([name, value]) => labels[name] === value)
  }),
  to_boolean: function_(1, (values) => {
    const word = text(values, 0).toLowerCase()
    if (word !== 'true' && word !== 'false')
      throw failed(`to_boolean(): "${word.slice(0, 40)}" is neither true nor false`)
    return word === 'true'
  }),
  base64_encode: function_(1, (values) => Buffer.from(text(values, 0)).toString('base64')),
  base64_decode: function_(1, (values) => Buffer.from(text(values, 0), 'base64').toString('utf8')),
  path_canonicalize: function_(1, (values) => canonicalPath(text(values, 0))),
  semver_compare: function_(2, (values) => {
    const range = text(values, 1)
    if (validRange(range) === null)
      throw failed(`semver_compare(): "${range.slice(0, 60)}" is no range`)
    return satisfies(text(values, 0), range, { includePrerelease: true })
  }),
  parse_json: function_(1, (values) =>
    parseJson(text(values, 0), { code: 'EXPRESSION_FAILED', what: 'parse_json()' }),
  ),
  parse_yaml: function_(1, (values) => {
    try {
      return (
        (parseYaml(text(values, 0), {
          maxAliasCount: 0,
          uniqueKeys: true,
          strict: true,
        }) as Json) ?? null
      )
    } catch (cause) {
      throw new AirsealError('EXPRESSION_FAILED', 'parse_yaml(): not YAML', { cause })
    }
  }),
  image_normalize: function_(1, (values) => imageText(parseImageName(text(values, 0)))),
  is_external_url: function_(1, (values) => isExternal(text(values, 0))),
  sha256: digestBy('sha256'),
  sha1: digestBy('sha1'),
  md5: digestBy('md5'),
}

function scalar(values: readonly Json[], at: number): string {
  const value = values[at] ?? null
  if (typeof value === 'number') return String(value)
  return text(values, at)
}

function canonicalPath(path: string): string {
  const rooted = path.startsWith('/')
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue
    if (part !== '..') parts.push(part)
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop()
    else if (!rooted) parts.push(part)
  }
  const joined = parts.join('/')
  return rooted ? `/${joined}` : joined === '' ? '.' : joined
}
