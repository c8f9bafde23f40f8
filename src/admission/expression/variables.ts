import { AirsealError, isObject, type Json } from '../../core/index.ts'
import { compileQuery, type Query } from './jmespath.ts'

/** What variables are looked up in. */
export interface Scope {
  readonly members: Json
  /** Milliseconds since 1970. */
  readonly now: number
}

const VARIABLE = /(^|[^\\])(\{\{(?:\{[^{}]*\}|[^{}])*\}\})/g
/** Replacements in one text; a value may bring further variables with it. */
const MAX_ROUNDS = 16
const MAX_TEXT = 1024 * 1024

const compiled = new Map<string, Query>()

function query(expression: string): Query {
  const known = compiled.get(expression)
  if (known !== undefined) return known
  const made = compileQuery(expression)
  if (compiled.size > 4_096) compiled.clear()
  compiled.set(expression, made)
  return made
}

/** True when there is something to substitute. */
export function hasVariables(value: Json): boolean {
  if (typeof value === 'string') return /(?:^|[^\\])\{\{/.test(value) || value.includes('\\{{')
  if (Array.isArray(value)) return value.some(hasVariables)
  return (
    isObject(value) &&
    Object.entries(value).some(([name, item]) => hasVariables(name) || hasVariables(item))
  )
}

/**
 * Replaces every `{{ expression }}` in the texts and member names of a document, innermost first. A text that is one variable alone becomes its value;
 * elsewhere values that are no texts are written as JSON. `{{- … }}` is not looked into again, `\{{` stands for itself.
 * @throws AirsealError EXPRESSION_FAILED
 */
export function substitute(value: Json, scope: Scope): Json {
  if (typeof value === 'string') return substituteText(value, scope)
  if (Array.isArray(value)) return value.map((item) => substitute(item, scope))
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, item]) => {
      const key = substituteText(name, scope)
      return [typeof key === 'string' ? key : JSON.stringify(key), substitute(item, scope)]
    }),
  )
}

function substituteText(source: string, scope: Scope): Json {
  if (!source.includes('{{')) return source
  if (/\$\(\.?[./]/.test(source))
    throw new AirsealError('EXPRESSION_FAILED', 'references $(…) are not supported by airseal')
  let text = source
  for (let round = 0; ; round++) {
    const found = [...text.matchAll(VARIABLE)].map(([, , variable = '']) => variable)
    if (found.length === 0) break
    if (round === MAX_ROUNDS)
      throw new AirsealError('EXPRESSION_FAILED', 'variables lead to further variables without end')
    let shallow = false
    for (const variable of found) {
      const inner = variable.slice(2, -2).trim()
      shallow = inner.startsWith('-')
      const value = query(shallow ? inner.slice(1).trim() : inner).evaluate(
        scope.members,
        scope.now,
      )
      if (text === variable) return value
      const written = typeof value === 'string' ? value : JSON.stringify(value)
      text = text.replace(variable, () => (shallow ? written.replaceAll('{{', '\\{{') : written))
      if (text.length > MAX_TEXT)
        throw new AirsealError('EXPRESSION_FAILED', 'a text with variables became too long')
    }
    if (shallow) break
  }
  return text.replaceAll('\\{{', '{{')
}

/**
 * Compiles every expression that can be compiled without its surroundings, so that a policy with a mistake is refused when it is loaded.
 * @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED
 */
export function checkVariables(value: Json): void {
  if (typeof value === 'string') {
    // Of nested variables only the innermost is complete before it is evaluated, and only that one is found.
    for (const [, , variable = ''] of value.matchAll(VARIABLE)) {
      const inner = variable.slice(2, -2).trim()
      compileQuery(inner.startsWith('-') ? inner.slice(1).trim() : inner)
    }
  } else if (Array.isArray(value)) value.forEach(checkVariables)
  else if (isObject(value)) {
    for (const [name, item] of Object.entries(value)) {
      checkVariables(name)
      checkVariables(item)
    }
  }
}
