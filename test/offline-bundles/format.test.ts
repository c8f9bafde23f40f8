import { readFileSync } from 'node:fs'
import t from 'tap'
import { canonicalJson, parseJson, sha256Hex, type JsonObject } from '../../src/core/index.ts'
import {
  headerPayload,
  LIMITS,
  parseHeader,
  parseReceiptCode,
  receiptText,
  signedHeader,
  volumeSize,
  type Header,
} from '../../offline-bundles/index.ts'
import { isFileName } from '../../offline-bundles/names.ts'
import { parseSums, sumsText } from '../../offline-bundles/sums.ts'
import { planVolumes } from '../../offline-bundles/volumes.ts'

const FORMAT = readFileSync(new URL('../../offline-bundles/FORMAT.md', import.meta.url), 'utf8')
const VECTOR = /^ {4}(\{"base".*\})$/m.exec(FORMAT)?.[1] ?? ''

/** The header of FORMAT.md §10. */
function vector(): Omit<Header, 'id'> {
  const { format, ...members } = parseJson(VECTOR) as JsonObject
  t.equal(format, 1)
  return members as unknown as Omit<Header, 'id'>
}

function fileOf(members: JsonObject): Uint8Array {
  const { id: _, ...rest } = members
  const id = sha256Hex(canonicalJson(rest)).slice(0, 32)
  const payload = Buffer.from(canonicalJson({ id, ...rest }))
  return Buffer.from(signedHeader(payload, new Uint8Array([1]), ''))
}

t.test('the test vectors of FORMAT.md are what the code makes', async (t) => {
  t.not(VECTOR, '')
  const { header, payload } = headerPayload(vector())
  const signed = parseHeader(Buffer.from(signedHeader(payload, new Uint8Array([1]), '')))
  t.match(FORMAT, `id \`${header.id}\``)
  t.match(FORMAT, `\`${signed.digest}\``)
  const facts = { sequence: 1, size: 7, root: '000102030405060708090a0b' }
  const code = receiptText({ ...facts, signature: new Uint8Array(64).fill(0x2a) })
  for (const row of code.split('\n')) t.match(FORMAT, row)
  t.match(parseReceiptCode(code), facts)
})

t.test('the limits of FORMAT.md are those of the code', async (t) => {
  for (const [what, limit] of [
    ['`header.json`', LIMITS.header],
    ['a `SHA256SUMS`', LIMITS.sums],
    ['`contents.json`', LIMITS.contents],
    ['a file below `log`, `trust`, `policies`', LIMITS.document],
    ['files of a bundle', LIMITS.files],
    ['volumes', LIMITS.volumes],
    ['images', LIMITS.images],
  ] as const) {
    t.match(FORMAT, new RegExp(`\\| ${what.replaceAll('.', '\\.')} \\| ${limit}\\b`), what)
  }
})

t.test('a header that breaks the format is refused', async (t) => {
  const good = parseJson(VECTOR) as JsonObject
  t.equal(parseHeader(fileOf(good)).header.sequence, 1)
  const bad: Readonly<Record<string, JsonObject>> = {
    'another format': { ...good, format: 2 },
    'an unknown member': { ...good, more: 1 },
    'an unknown kind': { ...good, kind: 'part' },
    'sequence 0': { ...good, sequence: 0 },
    'a second without previous': { ...good, sequence: 2 },
    'a first with previous': { ...good, previous: `sha256:${'5'.repeat(64)}` },
    'a full one with a base': {
      ...good,
      base: { sequence: 1, header: `sha256:${'5'.repeat(64)}` },
    },
    'a delta without base': { ...good, kind: 'delta' },
    'no volume': { ...good, volumes: [] },
    'too many files': {
      ...good,
      volumes: [{ sums: good['contents'] ?? '', files: LIMITS.files + 1, bytes: 1 }],
    },
    'a name with a path': { ...good, source: '../low' },
    'a name in upper case': { ...good, source: 'Low.example' },
    'a reserved name': { ...good, target: 'head' },
    'a root that is none': { ...good, log: { origin: 'x', size: 1, root: 'zz' } },
  }
  for (const [what, members] of Object.entries(bad))
    t.throws(() => parseHeader(fileOf(members)), { code: 'MEDIUM_INVALID' }, what)
  const spaced = Buffer.from(JSON.stringify(parseJson(VECTOR), null, 1))
  t.throws(() => parseHeader(Buffer.from(signedHeader(spaced, new Uint8Array([1]), ''))), {
    code: 'MEDIUM_INVALID',
  })
  t.throws(() => parseHeader(Buffer.alloc(LIMITS.header + 1)), {
    code: 'MEDIUM_INVALID',
    message: /at most/,
  })
  t.throws(() => parseHeader(Buffer.from('{}')), { code: 'MEDIUM_INVALID' })
})

t.test('only names of the format are names', async (t) => {
  const hex = 'a'.repeat(64)
  for (const name of [
    'contents.json',
    'log/checkpoint',
    'log/entries-0001.json',
    'trust/00000001.json',
    'policies/gate.yaml',
    'images/0001/index.json',
    `images/0001/blobs/sha256/${hex}`,
    `images/0001/blobs/sha256/${hex}.0002`,
  ])
    t.ok(isFileName(name), name)
  for (const name of [
    '../x',
    '/etc/passwd',
    'a/../../b',
    'C:\\x',
    'log\\checkpoint',
    'log/checkpoint\0',
    'Contents.json',
    'LOG/checkpoint',
    'policies/..',
    'policies/a.',
    'policies/Gate',
    'policies/caf\u00e9',
    'policies/cafe\u0301',
    'policies/\ufb01le',
    `images/0001/blobs/sha256/${hex.toUpperCase()}`,
    `images/0001/blobs/sha512/${hex}`,
    `images/1/blobs/sha256/${hex}`,
    'header.json',
    'SHA256SUMS',
    '',
    '.',
    'policies/aux/x',
    `policies/${'a'.repeat(4096)}`,
  ])
    t.notOk(isFileName(name), JSON.stringify(name).slice(0, 80))
})

t.test('SHA256SUMS is read strictly', async (t) => {
  const digest = `sha256:${'1'.repeat(64)}` as const
  const good = [
    { name: 'contents.json', digest },
    { name: 'log/checkpoint', digest },
  ]
  t.same(parseSums(sumsText(good), 'sums'), good)
  const line = (name: string): string => `${'1'.repeat(64)}  ${name}\n`
  for (const text of [
    line('log/checkpoint') + line('contents.json'),
    line('contents.json') + line('contents.json'),
    line('../x'),
    line('contents.json').trimEnd(),
    line('contents.json').replace('  ', ' *'),
    line('contents.json').replace('1', 'A'),
    `\\${line('contents.json')}`,
    '\n',
  ])
    t.throws(() => parseSums(Buffer.from(text), 'sums'), { code: 'MEDIUM_INVALID' }, text.slice(60))
})

t.test('volumes are filled in order, fit, and are the same each time', async (t) => {
  const capacity = 5 * 1024 * 1024
  const files = [
    { name: 'contents.json', size: 1_000 },
    ...[3, 12, 1, 7].map((megabytes, at) => ({
      name: `images/0001/blobs/sha256/${String(at).repeat(64)}`,
      size: megabytes * 1_000_000 + at,
    })),
  ]
  const volumes = planVolumes(files, capacity)
  t.same(planVolumes(files, capacity), volumes)
  t.ok(volumes.length > 3)
  for (const pieces of volumes) {
    const bytes = pieces.reduce((sum, { size }) => sum + size, 0)
    t.ok(bytes <= capacity, `${bytes}`)
  }
  for (const { name, size } of files) {
    const pieces = volumes.flat().filter(({ file }) => file === name)
    t.equal(
      pieces.reduce((sum, piece) => sum + piece.size, 0),
      size,
    )
    t.same(
      pieces.map(({ offset }) => offset),
      pieces.map((_, at) => pieces.slice(0, at).reduce((sum, piece) => sum + piece.size, 0)),
    )
  }
  const one = planVolumes(files, null)
  t.equal(one.length, 1)
  t.ok(
    one[0]?.every(({ file, name }) => file === name),
    'a directory cuts nothing',
  )
  t.equal(volumeSize('bd25'), 25_000_000_000)
  for (const text of ['0', '-1', 'cd', '1e9', '1000'])
    t.throws(() => volumeSize(text), { code: 'USAGE' })
})

t.test('any change of one character in a receipt is found, with its row', async (t) => {
  const code = receiptText({
    sequence: 300,
    size: 1_000_000,
    root: 'ffeeddccbbaa998877665544',
    signature: new Uint8Array(64).map((_, at) => at * 7),
  })
  t.match(parseReceiptCode(code.replaceAll(/\s/g, '-')), { sequence: 300, size: 1_000_000 })
  let missed = 0
  const typed = code.replaceAll(/\s/g, '')
  for (let at = 0; at < typed.length; at++) {
    const wrong = typed.slice(0, at) + (typed[at] === 'x' ? 'y' : 'x') + typed.slice(at + 1)
    try {
      parseReceiptCode(wrong)
      missed++
    } catch (error) {
      if (!(error as Error).message.includes(`row ${Math.floor(at / 25) + 1}`)) missed++
    }
  }
  // The check of a row misses one change in 58; the signature finds those.
  t.ok(missed <= 8, `${missed} of ${typed.length}`)
  for (const text of ['', '0', 'l', '1'.repeat(200), typed.slice(0, 50), `${typed}1`])
    t.throws(() => parseReceiptCode(text), { code: 'RECEIPT_INVALID' })
})
