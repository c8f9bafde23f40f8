import t, { type Test } from 'tap'
import { AirsealError, toHex, utf8, type JsonObject } from '../../src/core/index.ts'
import { fileBytes, listedKey } from '../../src/tuf/documents.ts'
import { memoryStore, refresh, sourceOf, type Client } from '../../src/tuf/index.ts'
import { DAY, newRepository, newSigner, NOW, signedFile, type Simulator } from './simulator.ts'

/** Attacks of the TUF specification against our client, each over a repository that is right in all else. */

interface Follower {
  readonly kept: Map<string, Uint8Array>
  refresh(now?: number): Promise<Client>
  /** What is trusted, `role:version`, in the order of the workflow. */
  trusted(): string
}

function follower(repository: Simulator): Follower {
  const kept = new Map([['root', repository.firstRoot()]])
  return {
    kept,
    refresh: (now = NOW) =>
      refresh({ source: sourceOf(repository.files), store: memoryStore(kept), now }),
    trusted: () =>
      ['root', 'timestamp', 'snapshot', 'targets']
        .flatMap((role) => {
          const bytes = kept.get(role)
          if (bytes === undefined) return []
          const file = JSON.parse(Buffer.from(bytes).toString()) as { signed: { version: number } }
          return [`${role}:${file.signed.version}`]
        })
        .join(' '),
  }
}

async function refused(t: Test, work: Promise<unknown>, code: string): Promise<void> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  )
  t.equal(error instanceof AirsealError ? error.code : String(error), code)
}

function edited(change: JsonObject): (signed: JsonObject) => JsonObject {
  return (signed) => ({ ...signed, ...change })
}

await t.test('follows the repository, and keeps the very bytes', async (t) => {
  const repository = await newRepository()
  const client = follower(repository)
  const first = await client.refresh()
  t.equal(client.trusted(), 'root:1 timestamp:1 snapshot:1 targets:1')
  t.same(client.kept.get('timestamp'), repository.files.get('timestamp.json'))
  const target = await first.find('a.txt')
  t.ok(target)
  if (target !== null) t.equal(Buffer.from(await first.download(target)).toString(), 'first')
  t.equal(await first.find('b.txt'), null)
  repository.targets.set('b.txt', Buffer.from('second'))
  await repository.publish()
  const second = await client.refresh()
  t.ok(await second.find('b.txt'))
  t.equal(client.trusted(), 'root:1 timestamp:2 snapshot:2 targets:2')
})

await t.test('root rotation', async (t) => {
  await t.test('is followed over several versions, signed by old and new keys', async (t) => {
    const repository = await newRepository()
    const client = follower(repository)
    for (let count = 0; count < 3; count++) {
      const old = repository.signers.root
      repository.signers.root = [newSigner(), newSigner()]
      repository.thresholds.root = 2
      await repository.root(undefined, [...old, ...repository.signers.root])
    }
    await client.refresh()
    t.match(client.trusted(), /^root:4 /)
  })
  await t.test('an intermediate root may have expired, the last one may not', async (t) => {
    const repository = await newRepository()
    repository.expires.root = NOW - DAY
    await repository.root()
    const client = follower(repository)
    await refused(t, client.refresh(), 'TUF_EXPIRED')
    t.equal(client.trusted(), 'root:2')
    repository.expires.root = NOW + DAY
    await repository.root()
    await client.refresh()
    t.match(client.trusted(), /^root:3 /)
  })
  const attacks: Record<string, (repository: Simulator) => Promise<void>> = {
    'signed by the new keys only': async (repository) => {
      repository.signers.root = [newSigner()]
      await repository.root()
    },
    'signed by the old keys only': async (repository) => {
      const old = repository.signers.root
      repository.signers.root = [newSigner()]
      await repository.root(undefined, old)
    },
    'signed by fewer than the old threshold': async (repository) => {
      repository.thresholds.root = 2
      repository.signers.root.push(newSigner())
      await repository.root()
      repository.thresholds.root = 1
      await repository.root(undefined, repository.signers.root.slice(0, 1))
    },
    'with a threshold that one key meets twice': async (repository) => {
      const [first = newSigner()] = repository.signers.root
      const { id, record } = listedKey(first.publicKey)
      const twin = 'f'.repeat(64)
      const sig = (bytes: Uint8Array): string =>
        String(/"sig": "([0-9a-f]+)"/.exec(Buffer.from(bytes).toString())?.[1])
      await repository.root((signed) => ({
        ...signed,
        keys: { ...(signed['keys'] as JsonObject), [twin]: record },
        roles: {
          ...(signed['roles'] as JsonObject),
          root: { keyids: [id, twin], threshold: 2 },
        },
      }))
      const bytes = repository.files.get('2.root.json') ?? new Uint8Array()
      const { signed } = JSON.parse(Buffer.from(bytes).toString()) as { signed: JsonObject }
      const signatures = new Map([
        [id, sig(bytes)],
        [twin, sig(bytes)],
      ])
      repository.files.set('2.root.json', fileBytes({ signed, signatures }))
    },
  }
  for (const [what, attack] of Object.entries(attacks)) {
    await t.test(`is refused when ${what}`, async (t) => {
      const repository = await newRepository()
      const client = follower(repository)
      await client.refresh()
      const before = new Map(client.kept)
      await attack(repository)
      await refused(t, client.refresh(), 'TUF_SIGNATURES')
      if (!what.includes('fewer')) t.same(client.kept, before, 'nothing was kept')
    })
  }
  await t.test('is refused when it skips a version or repeats one', async (t) => {
    for (const version of [1, 3]) {
      const repository = await newRepository()
      const client = follower(repository)
      await repository.root(edited({ version }))
      await refused(t, client.refresh(), 'TUF_ROLLBACK')
      t.equal(client.trusted(), 'root:1')
    }
  })
  await t.test('ends after 256 versions', async (t) => {
    const repository = await newRepository()
    const client = follower(repository)
    const signed = (version: number) =>
      signedFile(
        {
          ...(JSON.parse(Buffer.from(repository.firstRoot()).toString()) as { signed: JsonObject })
            .signed,
          version,
        },
        repository.signers.root,
      )
    for (let version = 2; version <= 258; version++)
      repository.files.set(`${version}.root.json`, await signed(version))
    await refused(t, client.refresh(), 'TOO_LARGE')
    t.equal(client.trusted(), 'root:257')
  })
})

await t.test('rollback', async (t) => {
  async function seen(): Promise<[Simulator, Follower]> {
    const repository = await newRepository()
    await repository.publish()
    const client = follower(repository)
    await client.refresh()
    return [repository, client]
  }
  await t.test('of the timestamp is refused', async (t) => {
    const [repository, client] = await seen()
    const before = new Map(client.kept)
    repository.versions.timestamp = 0
    await repository.timestamp()
    await refused(t, client.refresh(), 'TUF_ROLLBACK')
    t.same(client.kept, before)
  })
  await t.test('of the snapshot is refused, from the timestamp already', async (t) => {
    const [repository, client] = await seen()
    repository.versions.snapshot = 0
    await repository.snapshot()
    await repository.timestamp()
    await refused(t, client.refresh(), 'TUF_ROLLBACK')
    t.equal(client.trusted(), 'root:1 timestamp:2 snapshot:2 targets:2')
  })
  await t.test('of the targets is refused, and so is their removal', async (t) => {
    const [repository, client] = await seen()
    repository.versions.targets = 0
    await repository.publish()
    await refused(t, client.refresh(), 'TUF_ROLLBACK')
    t.equal(client.trusted(), 'root:1 timestamp:3 snapshot:2 targets:2')
    const [other, second] = await seen()
    await other.snapshot(edited({ meta: { 'other.json': { version: 9 } } }))
    await other.timestamp()
    await refused(t, second.refresh(), 'TUF_ROLLBACK')
  })
  await t.test(
    'does not lock out a repository that rotates its keys after a fast-forward attack',
    async (t) => {
      const repository = await newRepository()
      Object.assign(repository.versions, { targets: 998, snapshot: 998, timestamp: 998 })
      await repository.publish()
      const client = follower(repository)
      await client.refresh()
      t.equal(client.trusted(), 'root:1 timestamp:999 snapshot:999 targets:999')
      repository.signers.snapshot = [newSigner()]
      repository.signers.timestamp = [newSigner()]
      await repository.root()
      Object.assign(repository.versions, { targets: 1, snapshot: 1, timestamp: 1 })
      await repository.publish()
      await client.refresh()
      t.equal(client.trusted(), 'root:2 timestamp:2 snapshot:2 targets:2')
    },
  )
  await t.test('a timestamp of the same version and other content is not taken', async (t) => {
    const [repository, client] = await seen()
    const kept = client.kept.get('timestamp')
    repository.versions.timestamp = 1
    await repository.timestamp(edited({ meta: { 'snapshot.json': { version: 100 } } }))
    await client.refresh()
    t.equal(client.kept.get('timestamp'), kept)
  })
})

await t.test('mix-and-match', async (t) => {
  const mixes: Record<string, [(repository: Simulator) => void, string]> = {
    'another snapshot under the name': [
      ({ files }) => files.set('2.snapshot.json', files.get('1.snapshot.json') ?? new Uint8Array()),
      'root:1 timestamp:2 snapshot:1 targets:1',
    ],
    'other targets under the name': [
      ({ files }) => files.set('2.targets.json', files.get('1.targets.json') ?? new Uint8Array()),
      'root:1 timestamp:2 snapshot:2 targets:1',
    ],
  }
  for (const [what, [mix, trusted]] of Object.entries(mixes)) {
    await t.test(`${what} is refused`, async (t) => {
      const repository = await newRepository()
      const client = follower(repository)
      await client.refresh()
      await repository.publish()
      mix(repository)
      await refused(t, client.refresh(), 'TUF_MISMATCH')
      t.equal(client.trusted(), trusted)
    })
  }
  await t.test('versions are compared where no hashes are given', async (t) => {
    const repository = await newRepository()
    await repository.snapshot(edited({ version: 7, meta: { 'targets.json': { version: 1 } } }))
    await repository.timestamp(edited({ meta: { 'snapshot.json': { version: 2 } } }))
    await refused(t, follower(repository).refresh(), 'TUF_MISMATCH')
    const other = await newRepository()
    await other.publishTargets(edited({ version: 7 }))
    await other.snapshot(edited({ meta: { 'targets.json': { version: 2 } } }))
    await other.timestamp()
    await refused(t, follower(other).refresh(), 'TUF_MISMATCH')
  })
  await t.test('what is missing is said to be missing', async (t) => {
    for (const name of ['timestamp.json', '1.snapshot.json', '1.targets.json']) {
      const repository = await newRepository()
      repository.files.delete(name)
      await refused(t, follower(repository).refresh(), 'TUF_MISSING')
    }
  })
  await t.test('a half-written update leaves the previous trust in force', async (t) => {
    const repository = await newRepository()
    const client = follower(repository)
    await client.refresh()
    const before = new Map(client.kept)
    await repository.publishTargets()
    await repository.snapshot()
    await client.refresh()
    t.same(client.kept, before, 'without the timestamp nothing has happened')
  })
})

await t.test('signatures', async (t) => {
  for (const role of ['timestamp', 'snapshot', 'targets'] as const) {
    await t.test(`of the ${role} must reach the threshold, each key counting once`, async (t) => {
      const repository = await newRepository()
      const [one = newSigner()] = repository.signers[role]
      repository.signers[role] = [one, newSigner(), newSigner()]
      repository.thresholds[role] = 2
      await repository.root()
      await repository.publish()
      await follower(repository).refresh()
      repository.signers[role] = [one, newSigner()]
      await repository.publish()
      await refused(t, follower(repository).refresh(), 'TUF_SIGNATURES')
    })
  }
  await t.test('two of one key id make a file malformed', async (t) => {
    const repository = await newRepository()
    const file = JSON.parse(
      Buffer.from(repository.files.get('timestamp.json') ?? []).toString(),
    ) as { signatures: unknown[] }
    file.signatures.push(file.signatures[0])
    repository.files.set('timestamp.json', utf8(JSON.stringify(file)))
    await refused(t, follower(repository).refresh(), 'TUF_INVALID')
  })
  await t.test('a wrong one beside enough right ones does no harm', async (t) => {
    const repository = await newRepository()
    repository.signers.timestamp.push(newSigner())
    await repository.root()
    await repository.publish()
    const text = Buffer.from(repository.files.get('timestamp.json') ?? []).toString()
    const last = [...text.matchAll(/"sig": "([0-9a-f]+)"/g)].at(-1)?.[1] ?? ''
    repository.files.set('timestamp.json', utf8(text.replace(last, '')))
    t.match((await follower(repository).refresh()).trusted.timestamp, { signed: { version: 2 } })
  })
  await t.test(
    'a file of another role does not pass, though its key may sign this one',
    async (t) => {
      const repository = await newRepository()
      repository.signers.snapshot = repository.signers.timestamp
      await repository.root()
      await repository.publish()
      repository.files.set(
        'timestamp.json',
        repository.files.get('2.snapshot.json') ?? new Uint8Array(),
      )
      await refused(t, follower(repository).refresh(), 'TUF_INVALID')
    },
  )
})

await t.test('expiry', async (t) => {
  const trusted: Record<string, string> = {
    root: 'root:2',
    timestamp: 'root:2',
    snapshot: 'root:2 timestamp:2',
    targets: 'root:2 timestamp:2 snapshot:2',
  }
  for (const [role, left] of Object.entries(trusted)) {
    await t.test(`of the ${role} ends the update there`, async (t) => {
      const repository = await newRepository()
      repository.expires[role as 'root'] = NOW
      await repository.root()
      await repository.publish()
      const client = follower(repository)
      await refused(t, client.refresh(), 'TUF_EXPIRED')
      t.equal(client.trusted(), left)
      await client.refresh(NOW - 1000)
    })
  }
  await t.test(
    'a clock five years ahead refuses, and says what it says; the trust before stays',
    async (t) => {
      const repository = await newRepository()
      const client = follower(repository)
      await client.refresh()
      const before = new Map(client.kept)
      await repository.publish()
      const error = await client.refresh(NOW + 5 * 365 * DAY).then(
        () => null,
        (thrown: unknown) => thrown,
      )
      t.match(error, { code: 'TUF_EXPIRED', message: /the clock of this machine says 2031-11-2/ })
      t.same(client.kept, before)
      await client.refresh()
      t.match(client.trusted(), /timestamp:2/)
    },
  )
  await t.test('an expired file that is kept still guards against a rollback', async (t) => {
    const repository = await newRepository()
    await repository.publish()
    const client = follower(repository)
    await client.refresh()
    repository.expires.timestamp = NOW + 100 * DAY
    repository.versions.timestamp = 0
    await repository.timestamp()
    await refused(t, client.refresh(NOW + 50 * DAY), 'TUF_ROLLBACK')
    repository.versions.timestamp = 2
    await repository.timestamp()
    await client.refresh(NOW + 50 * DAY)
  })
  await t.test('that is no time is refused, not taken for never', async (t) => {
    for (const expires of ['never', '', '2030-13-45T00:00:00Z', '2030-01-01', 'Infinity']) {
      const repository = await newRepository()
      await repository.timestamp(edited({ expires }))
      await refused(t, follower(repository).refresh(), 'TUF_INVALID')
    }
  })
})

await t.test('endless data', async (t) => {
  await t.test('no file is read beyond what it may have', async (t) => {
    const blank = Buffer.alloc(20_000, ' ')
    const swollen = (bytes: Uint8Array | undefined, by: Uint8Array): Uint8Array =>
      Buffer.concat([bytes ?? new Uint8Array(), by])
    for (const [name, by] of [
      ['timestamp.json', blank],
      ['1.snapshot.json', Buffer.from(' ')],
      ['1.targets.json', Buffer.from(' ')],
    ] as const) {
      const repository = await newRepository()
      repository.files.set(name, swollen(repository.files.get(name), by))
      await refused(t, follower(repository).refresh(), 'TOO_LARGE')
    }
    const repository = await newRepository()
    repository.files.set('2.root.json', Buffer.alloc(512_001, ' '))
    await refused(t, follower(repository).refresh(), 'TOO_LARGE')
  })
  await t.test(
    'a target is refused when it is longer, shorter or other than promised',
    async (t) => {
      for (const [content, code] of [
        ['first!', 'TOO_LARGE'],
        ['firs', 'TUF_MISMATCH'],
        ['fIrst', 'TUF_MISMATCH'],
      ] as const) {
        const repository = await newRepository()
        const client = await follower(repository).refresh()
        for (const name of repository.files.keys())
          if (name.startsWith('targets/')) repository.files.set(name, utf8(content))
        const target = await client.find('a.txt')
        if (target !== null) await refused(t, client.download(target), code)
      }
    },
  )
  await t.test('a target whose hashes are not all known is refused', async (t) => {
    const repository = await newRepository()
    await repository.publishTargets((signed) => ({
      ...signed,
      targets: {
        'a.txt': { length: 5, hashes: { md5: 'a', sha256: 'b' } },
        'b.txt': { length: 1, hashes: {} },
      },
    }))
    await repository.snapshot()
    await repository.timestamp()
    const client = await follower(repository).refresh()
    for (const path of ['a.txt', 'b.txt']) {
      const target = await client.find(path)
      t.throws(() => target && client.matches(target, utf8('first')), { code: 'TUF_INVALID' })
    }
  })
})

await t.test('malformed files', async (t) => {
  await t.test('are refused by the strict reader', async (t) => {
    const repository = await newRepository()
    const good = Buffer.from(repository.files.get('timestamp.json') ?? []).toString()
    for (const bad of [
      '',
      'null',
      '[]',
      '{}',
      good.replace('"version": 1\n', '"version": 1, "version": 2\n'),
      good.replace('"version": 1\n', '"version": 1.5\n'),
      good.replace('"version": 1\n', '"version": 0\n'),
      good.replace('"version": 1\n', '"version": -1\n'),
      good.replace('"version": 1\n', '"version": 9007199254740993\n'),
      good.replace('"version": 1\n', '"version": "1"\n'),
      good.replace('"version": 1\n', '"version": 1, "__proto__": {}\n'),
      good.replace('"signed"', '"other"'),
      `\ufeff${good}`,
      good.slice(0, -10),
      `${'['.repeat(5000)}${']'.repeat(5000)}`,
    ]) {
      repository.files.set('timestamp.json', utf8(bad))
      await refused(t, follower(repository).refresh(), 'TUF_INVALID')
    }
    repository.files.set('timestamp.json', Buffer.from([0x7b, 0xff, 0x7d]))
    await refused(t, follower(repository).refresh(), 'TUF_INVALID')
  })
  await t.test('one flipped byte anywhere in what is signed is refused', async (t) => {
    const repository = await newRepository()
    for (const name of ['1.root.json', 'timestamp.json', '1.snapshot.json', '1.targets.json']) {
      const good = Buffer.from(repository.files.get(name) ?? [])
      for (let at = 0; at < good.length; at += 17) {
        const bad = Buffer.from(good)
        bad[at] = (bad[at] ?? 0) ^ 1
        if (isBlank(good[at]) || isBlank(bad[at])) continue
        const source = sourceOf(new Map([...repository.files, [name, bad]]))
        const kept = new Map([['root', name === '1.root.json' ? bad : repository.firstRoot()]])
        const done = await refresh({ source, store: memoryStore(kept), now: NOW }).then(
          () => true,
          (thrown: unknown) => !(thrown instanceof AirsealError) || thrown.code === 'INTERNAL',
        )
        if (done) t.fail(`${name}: byte ${at}`)
      }
      t.pass(name)
    }
  })
  await t.test('key ids and names that JavaScript knows are only names', async (t) => {
    const repository = await newRepository()
    for (const path of ['constructor', 'toString', '../../etc/passwd', 'hasOwnProperty']) {
      const client = await follower(repository).refresh()
      t.equal(await client.find(path), null, path)
    }
    repository.targets.set('../evil', utf8('x'))
    await repository.publish()
    const client = await follower(repository).refresh()
    const target = await client.find('../evil')
    t.ok(target)
    if (target !== null) t.equal(toHex(await client.download(target)), toHex(utf8('x')))
  })
})

function isBlank(byte: number | undefined): boolean {
  return byte === undefined || byte === 0x20 || byte === 0x0a
}
