import { generateKeyPairSync } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Signer } from '../../keys/index.ts'
import { loadConfig } from '../../src/config.ts'
import { fromBase64, toBase64, utf8, type Json, type JsonObject } from '../../src/core/index.ts'
import { createTuf, tufKeys, tufReadiness, type SiteTuf } from '../../src/operations/index.ts'
import type { PlacedKey, TufKeys } from '../../src/operations/tuf-keys.ts'
import { tufOperations } from '../../src/operations/tuf.ts'
import type { PublicFile } from '../../src/public-files.ts'
import { signTufFile } from '../../src/tuf-sign.ts'
import {
  listedKey,
  memoryStore,
  readProposal,
  refresh,
  signAny,
  type RepositorySource,
} from '../../src/tuf/index.ts'
import { newSigner } from '../tuf/simulator.ts'
import { logSite, NOW } from '../support/log-site.ts'

/** The TUF repository of a site, over a real database, with a clock that the test sets. */

const DAY = 86_400_000
const PASSPHRASE = 'a passphrase of the tests'

interface Place {
  readonly directory: string
  /** Keys by their names, and the names of those that are not here. */
  readonly made: Map<string, Signer>
  readonly away: Set<string>
  now: number
  readonly trustFiles: Map<string, PublicFile>
  readonly notices: string[]
  tuf: SiteTuf
  call(verb: string, body?: JsonObject): Promise<JsonObject>
  /** As after a restart of the service. */
  reopen(): Promise<void>
  /** A client that has only ever seen this root. */
  client(root?: Uint8Array): { refresh(): Promise<JsonObject>; kept: Map<string, Uint8Array> }
  served(path: string): Uint8Array
  /** What is stored, to be compared byte for byte. */
  stored(): Promise<string>
}

/** Keys without files: opening those of the product takes a tenth of a second each, on purpose. */
function memoryKeys(made: Map<string, Signer>, away: ReadonlySet<string>): TufKeys {
  const uriOf = (id: string): string =>
    [...made].find(([, { publicKey }]) => listedKey(publicKey).id === id)?.[0] ?? ''
  const placed = (uri: string, { publicKey }: Signer): PlacedKey => {
    const listed = listedKey(publicKey)
    return { listed, place: { id: listed.id, uri } }
  }
  return {
    open: (places, ids) =>
      Promise.resolve(
        places.flatMap(({ id, uri }) => {
          const signer = ids.includes(id) && !away.has(uri) ? made.get(uriOf(id)) : undefined
          return signer === undefined ? [] : [signer]
        }),
      ),
    isHere: ({ uri }) => Promise.resolve(!away.has(uri)),
    make: (names) =>
      Promise.resolve(
        names.map((name) => {
          const signer = made.get(name) ?? offlineKey()
          made.set(name, signer)
          return placed(name, signer)
        }),
      ),
    lookUp: (uri) => Promise.resolve(placed(uri, made.get(uri) ?? offlineKey())),
    close: () => Promise.resolve(),
  }
}

function offlineKey(): Signer {
  return { ...newSigner(), name: 'offline', close: () => Promise.resolve() }
}

async function place(t: Test, yaml = '', real = false): Promise<Place> {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-tuf-'))
  await mkdir(join(directory, 'keys'), { mode: 0o700 })
  const log = logSite(directory)
  let opened = await log.open()
  t.teardown(async () => {
    await site.tuf.close()
    await opened.close()
    await rm(directory, { recursive: true })
  })
  await writeFile(join(directory, 'c.yaml'), yaml === '' ? '{}' : yaml)
  const config = await loadConfig(join(directory, 'c.yaml'))
  const notices: string[] = []
  const made = new Map<string, Signer>()
  const away = new Set<string>()
  const keys = (): TufKeys =>
    real ? tufKeys(directory, () => Promise.resolve(PASSPHRASE)) : memoryKeys(made, away)
  const make = (): SiteTuf =>
    createTuf({
      keys: keys(),
      config: config.tuf,
      clock: () => site.now,
      records: opened.records,
      publicUrl: 'https://airseal.example',
      notify: (line) => notices.push(line),
      trustFiles: () => site.trustFiles,
    })
  const site: Omit<Place, 'tuf'> & { tuf: SiteTuf } = {
    directory,
    made,
    away,
    now: NOW,
    trustFiles: new Map([
      ['trusted_root.json', file('{"a":1}')],
      ['signing_config.json', file('{}')],
      ['rekor.pub', file('key')],
    ]),
    notices,
    tuf: make(),
    call: async (verb, body = {}) => {
      const operations = tufOperations({ tuf: site.tuf, clock: () => site.now, config })
      const answer: Json | undefined = await operations[`tuf/${verb}`]?.run(body, {
        kind: 'socket',
      })
      return answer as JsonObject
    },
    reopen: async () => {
      await site.tuf.close()
      await opened.close()
      opened = await log.open()
      site.tuf = make()
    },
    client: (root) => {
      const kept = new Map([['root', root ?? site.served('1.root.json')]])
      const read = (path: string): Promise<Uint8Array | null> =>
        Promise.resolve(site.tuf.file(path)?.bytes ?? null)
      const source: RepositorySource = {
        metadata: (name) => read(name),
        target: (path) => read(`targets/${path}`),
      }
      return {
        kept,
        refresh: async () => {
          const client = await refresh({ source, store: memoryStore(kept), now: site.now })
          const { root: newest, timestamp, snapshot } = client.trusted
          const target = await client.find('trusted_root.json')
          return {
            root: newest.signed.version,
            timestamp: timestamp?.signed.version ?? 0,
            snapshot: snapshot?.signed.version ?? 0,
            trust: target === null ? null : Buffer.from(await client.download(target)).toString(),
          }
        },
      }
    },
    served: (path) => site.tuf.file(path)?.bytes ?? new Uint8Array(),
    stored: async () => (await opened.records.document('tuf', 'repository'))?.text ?? '',
  }
  return site
}

function file(text: string): PublicFile {
  return { contentType: 'application/json', bytes: utf8(text) }
}

function versions(status: JsonObject): Record<string, number> {
  return status['versions'] as Record<string, number>
}

function alarms(status: JsonObject): string {
  return JSON.stringify(status['alarms'])
}

await t.test('is made at the first start, and renewed before it expires', async (t) => {
  const site = await place(t)
  await t.rejects(site.call('status'), { code: 'TUF_ABSENT' })
  await site.tuf.start()
  const first = await site.call('status')
  t.match(first, {
    origin: 'own',
    alarms: [],
    targets: ['rekor.pub', 'signing_config.v0.2.json', 'trusted_root.json'],
    signsHere: ['root', 'targets', 'snapshot', 'timestamp'],
  })
  const client = site.client()
  t.match(await client.refresh(), { root: 1, trust: '{"a":1}' })
  await t.rejects(site.call('init'), { code: 'TUF_PRESENT' })

  await t.test('nothing is signed while nothing is due', async (t) => {
    const stored = await site.stored()
    site.now += 20 * 3_600_000
    t.same(versions(await site.call('refresh')), versions(first))
    t.equal(await site.stored(), stored)
  })
  await t.test(
    'the timestamp is renewed daily, the rest in the last part of its life',
    async (t) => {
      for (const [days, changed] of [
        [2, 'timestamp'],
        [170, 'timestamp'],
        [170, 'snapshot timestamp'],
        [170, 'targets snapshot timestamp'],
        [170, 'timestamp'],
      ] as const) {
        const before = versions(await site.call('status'))
        site.now += days * DAY
        const after = versions(await site.call('refresh'))
        const news = Object.keys(after).filter((role) => after[role] !== before[role])
        t.same(
          news,
          ['root', 'targets', 'snapshot', 'timestamp'].filter((role) => changed.includes(role)),
        )
        await client.refresh()
      }
    },
  )
  await t.test('the root as well, as long as its key is here', async (t) => {
    for (let count = 0; count < 5; count++) {
      site.now += 170 * DAY
      await site.call('refresh')
    }
    t.match(await client.refresh(), { root: 2 })
    t.match(await site.client().refresh(), { root: 2 }, 'a new client gets there too')
  })
  await t.test('and after a restart it is the same', async (t) => {
    const before = await site.call('status')
    await site.reopen()
    t.same(await site.call('status'), before)
    t.equal((await site.stored()).includes(PASSPHRASE), false)
  })
})

await t.test(
  'a change of the trust files is published, in the name of older clients too',
  async (t) => {
    const site = await place(t)
    await site.tuf.start()
    const client = site.client()
    await client.refresh()
    site.trustFiles.set('trusted_root.json', file('{"a":2}'))
    await site.tuf.attend()
    t.match(await client.refresh(), { root: 1, trust: '{"a":2}' })
    const targets = JSON.parse(Buffer.from(client.kept.get('targets') ?? []).toString()) as {
      signed: { targets: Record<string, object> }
    }
    t.match(targets.signed.targets['rekor.pub'], {
      custom: { sigstore: { status: 'Active', usage: 'Rekor', uri: 'https://airseal.example' } },
    })
    t.equal(site.notices.length, 0)
  },
)

await t.test('a clock five years off changes nothing, and is named', async (t) => {
  const site = await place(t)
  await site.tuf.start()
  const stored = await site.stored()
  const right = site.now
  for (const [years, said] of [
    [-5, /the clock says 2021-11-25.*before 2026-11-24/],
    [5, /the clock says 2031-11-23.*1825 days after/],
  ] as const) {
    site.now = right + years * 365 * DAY
    await t.rejects(site.call('refresh'), { code: 'TUF_CLOCK', message: said })
    await site.tuf.attend()
    t.match(site.notices.at(-1), said)
    t.match(alarms(await site.call('status')), said)
    t.equal(await site.stored(), stored)
  }
  await t.test('until the operator says that it is right', async (t) => {
    await site.call('refresh', { clockIsRight: true })
    t.match(await site.client().refresh(), { root: 2 })
  })
})

await t.test('alarms come well ahead of the end, by hand or by itself', async (t) => {
  const site = await place(t, 'tuf: { rootDays: 400, targetsDays: 700 }')
  await site.tuf.start()
  site.away.add('tuf-root')
  const at = async (day: number): Promise<string> => {
    site.now = NOW + day * DAY
    await site.tuf.refresh(null, { isClockRight: true }).catch(() => undefined)
    return alarms(await site.call('status'))
  }
  t.equal(await at(290), '[]')
  t.match(
    await at(310),
    /warning.*the root expires in 90 days|warning.*the root expires in 89 days/,
  )
  await t.test('and are told once, and by the readiness of the service', async (t) => {
    site.now = NOW + 320 * DAY
    const before = site.notices.length
    await site.tuf.attend()
    await site.tuf.attend()
    t.equal(site.notices.length, before + 1)
    t.match(site.notices.at(-1), /^airseal: tuf: warning: the root expires in (79|80) days$/)
    t.match(
      await tufReadiness(site.tuf, site.now),
      /^own, good until .*; warning: the root expires/,
    )
  })
  t.match(
    await at(380),
    /critical.*the root expires in 19 days|critical.*the root expires in 20 days/,
  )
  t.match(await at(401), /critical.*the root expired 1 days ago|critical.*the root expired/)
  await t.rejects(site.client().refresh(), { code: 'TUF_EXPIRED' })
})

await t.test(
  'targets whose key is elsewhere are proposed, signed there, and published',
  async (t) => {
    const site = await place(t)
    await site.tuf.start()
    const client = site.client()
    await client.refresh()
    site.away.add('tuf-targets')
    site.trustFiles.set('trusted_root.json', file('{"a":3}'))
    site.now += 2 * DAY
    const before = await site.call('refresh')
    t.match(alarms(before), /tuf propose targets/)
    t.match(await client.refresh(), { trust: '{"a":1}' }, 'the timestamp is renewed all the same')
    await t.rejects(site.call('refresh', { renew: 'targets' }), { code: 'TUF_KEY_OFFLINE' })

    const proposal = await propose(site, 'propose', { role: 'targets' })
    await t.test('not without a signature, nor with that of another key', async (t) => {
      await t.rejects(publish(site, proposal), { code: 'TUF_SIGNATURES' })
      await sign(proposal, offlineKey())
      await t.rejects(publish(site, proposal), { code: 'TUF_SIGNATURES' })
      t.match(await client.refresh(), { trust: '{"a":1}' })
    })
    await sign(proposal, site.made.get('tuf-targets'))
    await t.test('not when the trust has changed meanwhile', async (t) => {
      site.trustFiles.set('trusted_root.json', file('{"a":4}'))
      await t.rejects(publish(site, proposal), { code: 'TUF_MISMATCH' })
      site.trustFiles.set('trusted_root.json', file('{"a":3}'))
    })
    const done = await publish(site, proposal)
    t.match(done, { published: true, alarms: [] })
    t.match(await client.refresh(), { trust: '{"a":3}' })
    await t.test('and not twice', async (t) => {
      await t.rejects(publish(site, proposal), { code: 'TUF_ROLLBACK' })
    })
  },
)

await t.test('root keys leave the machine by a ceremony, and are rotated by another', async (t) => {
  const site = await place(t)
  await site.tuf.start()
  const client = site.client()
  await client.refresh()
  const [alice, bob, carol] = [offlineKey(), offlineKey(), offlineKey()]
  const stored = await site.stored()
  const second = await propose(site, 'rotate', {
    role: 'root',
    keys: [alice.publicKey.pem, bob.publicKey.pem, carol.publicKey.pem],
    threshold: 2,
  })
  await t.rejects(publish(site, second), { code: 'TUF_SIGNATURES' })
  await sign(second, alice)
  await t.rejects(publish(site, second), { code: 'TUF_SIGNATURES' })
  t.match(await client.refresh(), { root: 1 })
  await sign(second, carol)
  t.match(await publish(site, second), { published: true, thresholds: { root: 2 } })
  t.match(await client.refresh(), { root: 2 })
  t.not(await site.stored(), stored)
  t.match((await site.call('status'))['signsHere'], ['targets', 'snapshot', 'timestamp'])
  await t.rejects(site.call('refresh', { renew: 'root' }), { code: 'TUF_KEY_OFFLINE' })

  const third = await propose(site, 'propose', { role: 'root' })
  await sign(third, bob)
  await sign(third, carol)
  await publish(site, third)
  t.match(await client.refresh(), { root: 3 })
  t.match(await site.client().refresh(), { root: 3 })

  await t.test('the key of another role is rotated by them too', async (t) => {
    const fourth = await propose(site, 'rotate', { role: 'online' })
    await sign(fourth, alice)
    await sign(fourth, bob)
    await publish(site, fourth)
    t.match(await client.refresh(), { root: 4 })
  })
  await t.test(
    'a threshold that can not be met is refused, and so is a key of the wrong kind',
    async (t) => {
      const body = { role: 'root', keys: [alice.publicKey.pem], threshold: 2 }
      await t.rejects(site.call('rotate', body), { code: 'REQUEST_INVALID' })
      const twice = { role: 'root', keys: [alice.publicKey.pem, alice.publicKey.pem] }
      await t.rejects(site.call('rotate', twice), { code: 'REQUEST_INVALID' })
      const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' })
      const pem = publicKey.export({ format: 'pem', type: 'spki' })
      await t.rejects(site.call('rotate', { role: 'root', keys: [String(pem)] }), {
        code: 'KEY_UNSUPPORTED',
      })
    },
  )
})

await t.test('keys that are here are rotated at once, and clients follow', async (t) => {
  const site = await place(t, '', true)
  await site.tuf.start()
  const client = site.client()
  await client.refresh()
  for (const [role, root] of [
    ['root', 2],
    ['root', 3],
    ['online', 4],
  ] as const) {
    t.match(await site.call('rotate', { role }), { published: true, versions: { root } })
    t.match(await client.refresh(), { root })
  }
  await site.reopen()
  site.now += 3 * DAY
  await site.call('refresh')
  t.match(await client.refresh(), { root: 4 })
  await t.test('a key file that was moved away signs where it is', async (t) => {
    const names = await readdir(join(site.directory, 'keys'))
    t.same(names.sort(), [
      'tuf-online-4.key',
      'tuf-online.key',
      'tuf-root-2.key',
      'tuf-root-3.key',
      'tuf-root.key',
      'tuf-targets.key',
    ])
    const away = join(site.directory, 'root.key')
    await rename(join(site.directory, 'keys/tuf-root-3.key'), away)
    await site.reopen()
    t.match((await site.call('status'))['signsHere'], ['targets', 'snapshot', 'timestamp'])
    const proposal = await propose(site, 'propose', { role: 'root' })
    await t.rejects(signTufFile(proposal, `file:${away}`, null, 'wrong'), { code: 'PASSPHRASE' })
    const signed = await signTufFile(proposal, `file:${away}`, null, PASSPHRASE)
    t.match(signed, { role: 'root', version: 5 })
    await publish(site, proposal)
    t.match(await client.refresh(), { root: 5 })
  })
})

await t.test('a repository travels by medium', async (t) => {
  const own = await place(t)
  await own.tuf.start()
  const root = own.served('1.root.json')
  const first = files(await own.call('export', { validDays: 90 }))
  const mirror = await place(t, 'tuf: { mode: mirror }')
  await mirror.tuf.start()
  const nothing = await mirror.stored()

  await t.test('the first import wants the root, and no other', async (t) => {
    await t.rejects(mirror.call('import', { files: first }), { code: 'TUF_ABSENT' })
    const wrong = { files: first, root: toBase64(root), rootSha256: '0'.repeat(64) }
    await t.rejects(mirror.call('import', wrong), { code: 'TUF_MISMATCH' })
    const other = await place(t)
    await other.tuf.start()
    const foreign = { files: first, root: toBase64(other.served('1.root.json')) }
    await t.rejects(mirror.call('import', foreign), { code: 'TUF_SIGNATURES' })
    t.equal(await mirror.stored(), nothing)
  })
  await mirror.call('import', { files: first, root: toBase64(root) })
  const client = mirror.client(root)
  t.match(await client.refresh(), { root: 1, trust: '{"a":1}' })
  for (const [name, content] of Object.entries(first))
    t.equal(toBase64(mirror.served(name)), content, name)

  await t.test('newer media are followed, through rotations of the root', async (t) => {
    await own.call('rotate', { role: 'root' })
    await own.call('rotate', { role: 'root' })
    own.trustFiles.set('trusted_root.json', file('{"a":5}'))
    await own.tuf.attend()
    await mirror.reopen()
    t.match(await mirror.call('import', { files: files(await own.call('export')) }), {
      origin: 'mirror',
      versions: { root: 3 },
    })
    t.match(await client.refresh(), { root: 3, trust: '{"a":5}' })
    t.match(await own.client(root).refresh(), { trust: '{"a":5}' }, 'the service stays ahead')
  })
  const stored = await mirror.stored()
  const stays = async (t: Test, body: JsonObject, code: string): Promise<void> => {
    await t.rejects(mirror.call('import', body), { code })
    t.equal(await mirror.stored(), stored, 'what was there stays, byte for byte')
  }
  await t.test('an older medium is refused', (t) => stays(t, { files: first }, 'TUF_ROLLBACK'))
  await t.test('the same again changes nothing', async (t) => {
    const again = Object.fromEntries(
      [...(await mirror.tuf.state()).files].map(([name, bytes]) => [name, toBase64(bytes)]),
    )
    await mirror.call('import', { files: again })
    t.equal(await mirror.stored(), stored)
  })
  await t.test('half-written and damaged media are refused', async (t) => {
    own.trustFiles.set('trusted_root.json', file('{"a":6}'))
    own.now += DAY
    mirror.now += DAY
    await own.tuf.attend()
    const next = files(await own.call('export'))
    for (const name of Object.keys(next)) {
      if (/^[123]\.root|^root/.test(name) || name in first) continue
      const { [name]: _gone, ...rest } = next
      const code = name.startsWith('targets/') || name.endsWith('.json') ? 'TUF_MISSING' : ''
      // Files that no newer metadata names may be missing.
      if (
        await mirror.tuf.state().then(({ files }) => files.has(name) && name !== 'timestamp.json')
      )
        continue
      await stays(t, { files: rest }, code)
      const bytes = Buffer.from(fromBase64(next[name] ?? '', name))
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1
      const damaged = await mirror
        .call('import', { files: { ...next, [name]: toBase64(bytes) } })
        .then(
          () => null,
          (error: unknown) => (error as { code: string }).code,
        )
      t.match(damaged, /TUF_(MISMATCH|SIGNATURES|INVALID)/, name)
      t.equal(await mirror.stored(), stored)
    }
    await t.test('names that lead elsewhere are refused before anything is read', async (t) => {
      for (const name of ['../x.json', '/etc/passwd', 'targets/../x', 'a\\b.json', '.hidden']) {
        await stays(t, { files: { ...next, [name]: '' } }, 'REQUEST_INVALID')
      }
    })
    await t.test('a clock that is off is named before anything else', async (t) => {
      const right = mirror.now
      for (const years of [-5, 5]) {
        mirror.now = right + years * 365 * DAY
        await stays(t, { files: next }, 'TUF_CLOCK')
      }
      await stays(t, { files: next, clockIsRight: true }, 'TUF_EXPIRED')
      mirror.now = right
    })
    await mirror.call('import', { files: next })
    t.match(await client.refresh(), { trust: '{"a":6}' })
  })
  await t.test('a mirror signs nothing, and a site of its own imports nothing', async (t) => {
    await t.rejects(mirror.call('rotate', { role: 'root' }), { code: 'TUF_KEY_OFFLINE' })
    await t.rejects(mirror.call('propose', { role: 'targets' }), { code: 'TUF_KEY_OFFLINE' })
    await t.rejects(own.call('import', { files: first, root: toBase64(root) }), {
      code: 'TUF_PRESENT',
    })
    const again = files(await mirror.call('export'))
    const third = await place(t, 'tuf: { mode: mirror }')
    third.now = mirror.now
    await third.call('import', { files: again, root: toBase64(root) })
    t.match(await third.client(root).refresh(), { root: 3, trust: '{"a":6}' })
  })
})

function files(answer: JsonObject): Record<string, string> {
  return answer['files'] as Record<string, string>
}

async function propose(site: Place, verb: string, body: JsonObject): Promise<string> {
  const answer = await site.call(verb, body)
  const path = join(site.directory, 'proposal.json')
  await writeFile(path, fromBase64(answer['proposal'] as string, 'proposal'))
  return path
}

async function publish(site: Place, path: string): Promise<JsonObject> {
  return site.call('publish', { file: toBase64(await readFile(path)) })
}

/** Signs in place, as `airseal tuf sign` does. */
async function sign(path: string, signer: Signer | undefined): Promise<void> {
  if (signer === undefined) throw new Error('no such key')
  await writeFile(path, await signAny(readProposal(await readFile(path), path), signer))
}
