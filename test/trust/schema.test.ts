import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import t from 'tap'
import {
  AirsealError,
  canonicalJson,
  fromUtf8,
  isObject,
  parseJson,
  utf8,
  type Json,
  type JsonObject,
} from '../../src/core/index.ts'
import { readUnsigned, unsignedBundle } from '../../src/trust/index.ts'
import { CREATED, document, rootWithLog, seal, signerKey, testKey } from './support/fixture.ts'

/** The published schema and the code that reads bundles say the same. */

const url = new URL('../../docs/trust-bundle.schema.json', import.meta.url)
const schema = parseJson(readFileSync(url, 'utf8'))
const validate = new Ajv2020({ strict: false }).compile(schema as JsonObject)

const [root, signer, log] = [testKey('root'), testKey('signing'), testKey('log')]
const inner = seal(document([root], signer, log, { enclave: 'far.test' }), [root])
const full = document([root], signer, log, {
  keys: [
    signerKey(signer, {
      validFor: { start: CREATED, end: null },
      validIn: [{ logId: log.key.id, first: null, last: -1 }],
      reason: 'why',
    }),
  ],
  foreign: [
    { kind: 'key', name: 'vendor', fetched: CREATED, source: 'mail', key: root.key },
    {
      kind: 'sigstore',
      name: 'public',
      fetched: CREATED,
      source: 'https',
      trustedRoot: rootWithLog(log.key, 'https://rekor.example'),
    },
    { kind: 'enclave', name: 'far.test', fetched: CREATED, source: 'medium', bundle: inner },
  ],
  revocations: {
    keys: [{ keyId: 'ab'.repeat(32), from: { logId: log.key.id, index: 3 }, reason: 'stolen' }],
    images: [{ digest: `sha256:${'cd'.repeat(32)}`, repository: 'r.test:5000/a/b', reason: 'bad' }],
    entries: [{ leafHash: 'ef'.repeat(32), reason: 'odd' }],
  },
  policies: [
    { name: 'all', scope: '*', keys: null },
    { name: 'team', scope: 'r.test/team', keys: ['far.test/signing', 'vendor'] },
  ],
  tuf: { mirror: 'http://airseal.test/tuf', root: new Uint8Array([1]) },
})

function jsonOf(content: typeof full): JsonObject {
  const value = parseJson(fromUtf8(unsignedBundle(content).payload, 'payload'))
  if (!isObject(value)) throw new Error('no object')
  return value
}

function readable(value: Json): boolean {
  try {
    readUnsigned(utf8(canonicalJson(value)))
    return true
  } catch (error) {
    if (!(error instanceof AirsealError)) throw error
    return false
  }
}

await t.test('what is written fits the schema', (t) => {
  for (const content of [document([root], signer, log), full]) {
    t.equal(validate(jsonOf(content)), true, JSON.stringify(validate.errors))
  }
  t.end()
})

await t.test(
  'what lacks a member, or has one more, or another type, fits neither schema nor reader',
  (t) => {
    const whole = jsonOf(full)
    let count = 0
    const refused = (
      path: string,
      change: (object: JsonObject) => unknown,
      at: (copy: JsonObject) => Json | undefined,
    ) => {
      const copy = structuredClone(whole)
      const object = at(copy)
      if (!isObject(object)) throw new Error(path)
      change(object)
      t.equal(validate(copy), false, `schema: ${path}`)
      t.equal(readable(copy), false, `reader: ${path}`)
      count += 1
    }
    const walk = (
      value: Json | undefined,
      at: (copy: JsonObject) => Json | undefined,
      path: string,
    ): void => {
      if (Array.isArray(value)) {
        value.forEach((item, index) => {
          walk(item, (copy) => (at(copy) as Json[])[index], `${path}[${index}]`)
        })
      } else if (isObject(value)) {
        refused(`${path} with one more`, (object) => (object['more'] = 1), at)
        for (const name of Object.keys(value)) {
          refused(`${path} without ${name}`, (object) => Reflect.deleteProperty(object, name), at)
          refused(`${path}.${name} of another type`, (object) => (object[name] = [[]]), at)
          // What is inside these is Sigstore's or another bundle's.
          if (!['trustedRoot', 'bundle'].includes(name))
            walk(value[name], (copy) => (at(copy) as JsonObject)[name], `${path}.${name}`)
        }
      }
    }
    walk(whole, (copy) => copy, 'bundle')
    t.ok(count > 100, String(count))
    t.end()
  },
)

await t.test('names, scopes, digests and times are checked alike', (t) => {
  const cases: readonly (readonly [string, Json])[] = [
    ['enclave', '../x'],
    ['enclave', ''],
    ['created', '2026-11-24T00:00:00Z'],
    ['previous', 'sha256:xyz'],
    ['url', 'http://airseal.test/'],
    ['url', 'ftp://airseal.test'],
    ['version', 0],
    ['version', 1.5],
    ['updateDays', 0],
    ['policies', [{ name: 'p', scope: 'r.test/*', keys: null }]],
    ['policies', [{ name: 'p', scope: 'R.test', keys: null }]],
    ['policies', [{ name: 'p', scope: '*', keys: [] }]],
    ['policies', [{ name: 'p', scope: '*', keys: ['a/b/c'] }]],
  ]
  for (const [name, value] of cases) {
    const changed = { ...jsonOf(full), [name]: value }
    t.equal(validate(changed), false, `schema: ${name} ${JSON.stringify(value)}`)
    t.equal(readable(changed), false, `reader: ${name} ${JSON.stringify(value)}`)
  }
  t.end()
})
