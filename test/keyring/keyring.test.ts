import t from 'tap'
import type { OpenedSigner } from '../../keys/index.ts'
import { AirsealError } from '../../src/core/index.ts'
import {
  KeyRegistry,
  Keyring,
  startSelfTests,
  type KeyRecord,
  type KeyUse,
} from '../../src/keyring/index.ts'
import { parseKeyPolicy } from '../../src/keyring/index.ts'
import type { AuditRow, Records, StoredDocument } from '../../src/log/index.ts'
import { testSigner } from '../support/signer.ts'

/** Records in memory: documents and the audit trail only. */
function memoryRecords(): { records: Records; rows: AuditRow[] } {
  const rows: AuditRow[] = []
  const documents = new Map<string, StoredDocument>()
  const records = {
    audit: (row: AuditRow) => Promise.resolve(void rows.push(row)),
    auditRows: (seq: number, limit: number) =>
      Promise.resolve(
        rows.slice(seq, seq + limit).map((row, at) => ({ ...row, seq: seq + at + 1, hash: '' })),
      ),
    document: (kind: string, name: string) =>
      Promise.resolve(documents.get(`${kind}/${name}`) ?? null),
    documents: (kind: string) =>
      Promise.resolve([...documents.values()].filter((one) => one.kind === kind)),
    putDocuments: (
      changes: readonly { kind: string; name: string; text: string }[],
      row: AuditRow,
    ) => {
      rows.push(row)
      return Promise.resolve(
        changes.map(({ kind, name, text }) => {
          const revision = (documents.get(`${kind}/${name}`)?.revision ?? 0) + 1
          const stored = { kind, name, text, revision, time: 0 }
          documents.set(`${kind}/${name}`, stored)
          return stored
        }),
      )
    },
  } as unknown as Records
  return { records, rows }
}

const USE: KeyUse = {
  kind: 'digest',
  caller: 'token:ci',
  repositories: null,
  annotations: null,
  predicateType: null,
  digest: null,
  exists: false,
}

async function ring(policy: object | null = { payloads: ['digest'] }) {
  const { records, rows } = memoryRecords()
  const key = testSigner()
  const state = { now: Date.UTC(2026, 10, 24), opened: 0 }
  const record: KeyRecord = {
    name: 'door',
    uri: 'awskms:///alias/door',
    publicKey: key.publicKey,
    state: 'active',
    validFrom: { time: 0, index: 0 },
    validTo: null,
    compromisedFrom: null,
    reason: null,
    successor: null,
    policy: policy && parseKeyPolicy(policy as never),
  }
  const registry = await KeyRegistry.open(records)
  const audit = { time: 0, caller: 'test', action: 'key/create', detail: {} }
  await registry.change({ keys: [record], defaultKey: 'door' }, audit)
  rows.length = 0
  const signer: OpenedSigner = {
    ...key,
    hash: 'sha256',
    sign: (message) => key.sign(message),
    signDigest: (digest) => key.sign(digest),
    description: {
      uri: record.uri,
      backend: 'aws-kms',
      version: 'arn:1',
      publicKey: key.publicKey,
      extractable: false,
      everExtractable: false,
      madeInside: true,
      protection: 'hsm',
    },
    health: () => 'closed',
    resolve: () => Promise.resolve(signer.description),
  }
  const keyring = new Keyring({
    registry,
    records,
    clock: () => state.now,
    open: () => {
      state.opened += 1
      return key.isDown
        ? Promise.reject(new AirsealError('KEY_UNAVAILABLE', 'the back-end is away'))
        : Promise.resolve(signer)
    },
    check: async (opened) => {
      try {
        await opened.sign(Buffer.from('test'))
        return { isGood: true, code: null, milliseconds: 1, findings: [] }
      } catch (error) {
        const { code, message } = error as AirsealError
        return { isGood: false, code, milliseconds: null, findings: [message] }
      }
    },
  })
  return { keyring, registry, rows, key, state, record }
}

const sign = (keyring: Keyring): Promise<unknown> =>
  keyring.signWithKey('door', USE, { digest: new Uint8Array(32) })

await t.test(
  'a key is opened at its first use, and each signature is audited before it is given',
  async (t) => {
    const { keyring, rows, state } = await ring()
    t.equal(state.opened, 0)
    await sign(keyring)
    await sign(keyring)
    t.equal(state.opened, 1)
    t.equal(rows.length, 2)
    t.match(rows[0], {
      caller: 'token:ci',
      action: 'sign-digest',
      key: String,
      detail: {
        keyName: 'door',
        use: { keyVersion: 'arn:1', keyRevision: 1, policy: true },
        signed: /^0{64}$/,
      },
    })
  },
)

await t.test('a refusal is audited, and the key is not opened for it', async (t) => {
  const { keyring, rows, state } = await ring(null)
  await t.rejects(sign(keyring), { code: 'KEY_POLICY' })
  t.match(rows, [
    { action: 'key/refused', caller: 'token:ci', detail: { code: 'KEY_POLICY', kind: 'digest' } },
  ])
  t.equal(state.opened, 0)
})

await t.test(
  'many at once get no more than the cap, and a failure gives its place back',
  async (t) => {
    const { keyring, rows, key } = await ring({ payloads: ['digest'], maxLifetime: 5 })
    await sign(keyring)
    key.isDown = true
    await t.rejects(sign(keyring), { code: 'KEY_UNAVAILABLE' })
    key.isDown = false
    const ended = await Promise.allSettled(Array.from({ length: 20 }, () => sign(keyring)))
    t.equal(ended.filter(({ status }) => status === 'fulfilled').length, 4)
    t.equal(rows.filter(({ action }) => action === 'sign-digest').length, 5)
  },
)

await t.test('a change of keys waits for uses under way, and holds later ones back', async (t) => {
  const { keyring } = await ring()
  const order: string[] = []
  let finish: () => void = () => undefined
  const gate = new Promise<void>((resolve) => (finish = resolve))
  const first = keyring.shared(async () => {
    await gate
    order.push('use')
  })
  const change = keyring.exclusive(() => Promise.resolve(void order.push('change')))
  const later = keyring.shared(() => Promise.resolve(void order.push('later')))
  finish()
  await Promise.all([first, change, later])
  t.same(order, ['use', 'change', 'later'])
  await t.rejects(keyring.exclusive(() => Promise.reject(new Error('x'))))
  await keyring.shared(() => Promise.resolve())
})

await t.test('self-tests come at start and hourly, more often while the key fails', async (t) => {
  const { keyring, key, state, rows } = await ring()
  let tick: () => void = () => undefined
  const lines: string[] = []
  const stop = startSelfTests(keyring, {
    clock: () => state.now,
    repeat: (work) => {
      tick = work
      return () => undefined
    },
    notify: (line) => lines.push(line),
  })
  const turn = async (milliseconds: number): Promise<void> => {
    state.now += milliseconds
    tick()
    await stop()
  }
  await stop()
  t.match(keyring.health('door'), { isGood: true })
  const tests = (): number => rows.filter(({ action }) => action === 'key/self-test').length
  t.equal(tests(), 1)
  await turn(3_599_000)
  t.equal(tests(), 1)
  key.isDown = true
  await turn(1_000)
  t.match(keyring.health('door'), { isGood: false, code: 'KEY_UNAVAILABLE' })
  key.isDown = false
  await turn(15_000)
  t.match(keyring.health('door'), { isGood: true })
  t.match(lines, [/does not sign.*KEY_UNAVAILABLE/, /signs again/])
})

await t.test(
  'a use that fails at the back-end shows at once, and one that works heals it',
  async (t) => {
    const { keyring, key } = await ring()
    await sign(keyring)
    t.match(keyring.health('door'), { isGood: true })
    key.isDown = true
    await t.rejects(sign(keyring), { code: 'KEY_UNAVAILABLE' })
    t.match(keyring.health('door'), { isGood: false, code: 'KEY_UNAVAILABLE' })
    key.isDown = false
    await sign(keyring)
    t.match(keyring.health('door'), { isGood: true })
  },
)
