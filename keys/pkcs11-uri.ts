import { isAbsolute } from 'node:path'
import { AirsealError } from '../src/core/index.ts'

/** A `pkcs11:` URI. Token and object are each named by at least one attribute; all that are given must match. */
export interface Pkcs11Reference {
  readonly backend: 'pkcs11'
  readonly uri: string
  readonly modulePath: string
  readonly token: TokenSelector
  readonly object: ObjectSelector
  /** Where the PIN comes from; null: the token wants none. */
  readonly pinSource: PinSource | null
  /** What the module is initialised with: NSS wants its database there. Null: nothing, as the standard has it. */
  readonly initReserved: string | null
}

export interface TokenSelector {
  readonly label?: string
  readonly serial?: string
  readonly manufacturer?: string
  readonly model?: string
}

export interface ObjectSelector {
  readonly label?: string
  /** CKA_ID, hex. */
  readonly id?: string
}

export type PinSource = { readonly file: string } | { readonly fd: number }

const TOKEN: ReadonlyMap<string, keyof TokenSelector> = new Map([
  ['token', 'label'],
  ['serial', 'serial'],
  ['manufacturer', 'manufacturer'],
  ['model', 'model'],
])

/** What is refused, and why: each would make the URI weaker than it looks. */
const REFUSED: ReadonlyMap<string, string> = new Map([
  ['slot-id', 'slot numbers change: name the token by token= or serial='],
  ['slot-description', 'slots change: name the token by token= or serial='],
  ['slot-manufacturer', 'slots change: name the token by token= or serial='],
  ['pin-value', 'a PIN in a URI ends up in histories and tables: use pin-source=file:PATH or fd:N'],
  ['module-name', 'a name is searched for: give module-path='],
])

/**
 * Reads a PKCS#11 URI (RFC 7512 §2.3). Narrower than the RFC: no slots, no PIN inside, an absolute module-path, and attributes that
 * are not known are refused instead of ignored.
 * @throws AirsealError KEY_REFERENCE
 */
export function parsePkcs11Uri(uri: string): Pkcs11Reference {
  const [path = '', query, ...rest] = uri.slice('pkcs11:'.length).split('?')
  if (rest.length > 0) throw refusal('it has two question marks')
  const token: Partial<Record<keyof TokenSelector, string>> = {}
  const object: { label?: string; id?: string } = {}
  let modulePath: string | undefined
  let pinSource: PinSource | null = null
  let initReserved: string | null = null
  for (const [name, value] of attributes(path, ';')) {
    const member = TOKEN.get(name)
    if (member !== undefined) token[member] = text(value, name)
    else if (name === 'object') object.label = text(value, name)
    else if (name === 'id') object.id = value.toString('hex')
    else if (name !== 'type' || text(value, name) !== 'private') throw unknown(name)
  }
  for (const [name, value] of attributes(query ?? '', '&')) {
    if (name === 'module-path') modulePath = text(value, name)
    else if (name === 'pin-source') pinSource = parsePinSource(text(value, name))
    else if (name === 'x-init-reserved') initReserved = text(value, name)
    else throw unknown(name)
  }
  if (token.label === undefined && token.serial === undefined) {
    throw refusal('it names no token: give token= or serial=')
  }
  if (object.label === undefined && object.id === undefined) {
    throw refusal('it names no key: give object= or id=')
  }
  if (modulePath === undefined || !isAbsolute(modulePath)) {
    throw refusal('it lacks module-path= with an absolute path')
  }
  return { backend: 'pkcs11', uri, modulePath, token, object, pinSource, initReserved }
}

function* attributes(part: string, separator: string): Generator<[string, Buffer]> {
  const seen = new Set<string>()
  for (const piece of part === '' ? [] : part.split(separator)) {
    const [, name, value] = /^([a-z-]+)=(.*)$/s.exec(piece) ?? []
    if (name === undefined || value === undefined) throw refusal('a part of it is not name=value')
    if (seen.has(name)) throw refusal(`${name} is given twice`)
    seen.add(name)
    yield [name, percentDecode(value, name)]
  }
}

function percentDecode(value: string, name: string): Buffer {
  // RFC 7512 §2.3: pk11-pchar is ASCII; `+` is itself, not a space.
  if (value === '' || !/^(%[0-9A-Fa-f]{2}|[!$&'()*+,\-./0-9:=?@A-Z[\]_a-z|~])*$/.test(value)) {
    throw refusal(`${name} is empty or not percent-encoded as RFC 7512 asks`)
  }
  return Buffer.concat(
    value.split(/(%[0-9A-Fa-f]{2})/).map((piece) => {
      return piece.startsWith('%') ? Buffer.from(piece.slice(1), 'hex') : Buffer.from(piece)
    }),
  )
}

function text(value: Buffer, name: string): string {
  const decoded = value.toString('utf8')
  if (!Buffer.from(decoded).equals(value) || decoded.includes('\0')) {
    throw refusal(`${name} is not UTF-8`)
  }
  return decoded
}

function parsePinSource(source: string): PinSource {
  const [, fd] = /^fd:([3-9]|[1-9][0-9]{1,3})$/.exec(source) ?? []
  if (fd !== undefined) return { fd: Number(fd) }
  const file = source.replace(/^file:(\/\/(?=\/))?/, '')
  if (!isAbsolute(file)) throw refusal('pin-source is not file:/PATH or fd:N with N from 3')
  return { file }
}

function unknown(name: string): AirsealError {
  return refusal(`${name}: ${REFUSED.get(name) ?? 'it is not an attribute that airseal knows'}`)
}

function refusal(why: string): AirsealError {
  return new AirsealError('KEY_REFERENCE', `pkcs11 URI refused: ${why}`)
}
