import { generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import {
  AirsealError,
  fromBase64,
  publicKeyFromSpki,
  toBase64,
  type Json,
} from '../../src/core/index.ts'
import {
  bundleFile,
  parseTrustBundle,
  parseTrustProposal,
  proposalFile,
  signedBytes,
  withSignature,
  type SignedTrustBundle,
} from '../../src/trust/index.ts'
import { temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { after, DAY, document, rootWithLog, seal, testKey } from './support/fixture.ts'
import { startTrustPlace, type Place } from './support/place.ts'

const NOW = Date.parse('2026-11-24T12:00:00.000Z')
const YEARS = 365 * DAY

t.setTimeout(240_000)

/** The code of what an operation refuses with. */
async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
  } catch (error) {
    return error instanceof AirsealError ? error.code : `not ours: ${String(error)}`
  }
  return 'none'
}

async function bundleOf(place: Place): Promise<SignedTrustBundle> {
  return parseTrustBundle(await readFile(join(place.directory.public, 'trust-bundle.json')))
}

const image = (references: readonly string[], at: number): string => references[at] ?? ''

await t.test(
  'a key that is revoked from an index on: before stays good, after is refused, at once',
  async (t) => {
    const place = await startTrustPlace(t, join(await temporaryDirectory(t), 'data'), { now: NOW })
    const images = await tinyLayout(await temporaryDirectory(t), ['one', 'two'])
    await place.call('sign', { images: [image(images, 0)], signatures: 'legacy' })
    t.match(await place.verdict(image(images, 0)), { outcome: 'verified', version: '1' })
    const { published } = await place.call('trust/revoke', {
      key: 'signing',
      fromIndex: 1,
      reason: 'laptop stolen',
    })
    t.equal(published, 2)
    t.match(await place.verdict(image(images, 0)), { outcome: 'verified', version: '2' })
    await place.call('sign', { images: [image(images, 1)], signatures: 'legacy' })
    t.match(await place.verdict(image(images, 1)), {
      outcome: 'rejected',
      reason: 'KEY_NOT_VALID_AT_INDEX',
    })

    const pem = (await bundleOf(place)).document.keys[0]?.key.pem.split('\n')[1] ?? 'none'
    const names = await readdir(place.directory.public)
    t.notOk(names.includes('cosign.pub'))
    for (const name of names.filter((name) => name !== 'trust-bundle.json'))
      t.notMatch(await readFile(join(place.directory.public, name), 'utf8'), pem, name)

    await place.restart()
    t.match(await place.verdict(image(images, 1)), {
      reason: 'KEY_NOT_VALID_AT_INDEX',
      version: '2',
    })
    t.match(await place.verdict(image(images, 0)), { outcome: 'verified' })
  },
)

await t.test('an image and an entry that are revoked are refused at once', async (t) => {
  const place = await startTrustPlace(t, join(await temporaryDirectory(t), 'data'), { now: NOW })
  const [first = '', second = ''] = await tinyLayout(await temporaryDirectory(t), ['one', 'two'])
  await place.call('sign', { images: [first, second], signatures: 'legacy' })
  const digest = first.slice(first.indexOf('@') + 1)
  await place.call('trust/revoke', { image: digest, repository: 'r.test/app', reason: 'broken' })
  t.match(await place.verdict(first), { outcome: 'rejected', reason: 'DIGEST_REVOKED' })
  t.match(await place.verdict(second), { outcome: 'verified' })
  t.equal(await codeOf(place.call('trust/revoke', { key: 'unknown', reason: 'x' })), 'KEY_UNKNOWN')
  t.equal(await codeOf(place.call('trust/revoke', { key: 'signing' })), 'REQUEST_INVALID')
  t.equal(
    await codeOf(place.call('trust/revoke', { entry: '../x', reason: 'x' })),
    'REQUEST_INVALID',
  )
  t.equal(
    await codeOf(place.call('trust/revoke', { key: 'signing', image: digest, reason: 'x' })),
    'REQUEST_INVALID',
  )
  t.match(
    await place.verdict(second),
    { outcome: 'verified', version: '2' },
    'nothing came of these',
  )
})

interface Root {
  readonly name: string
  readonly privateKey: KeyObject
  readonly pem: string
  readonly id: string
}

function root(name: string): Root {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const { pem, id } = publicKeyFromSpki(publicKey.export({ format: 'der', type: 'spki' }))
  return { name, privateKey, pem, id }
}

/** A proposal with the signatures of these roots. */
function signedBy(file: Json | undefined, ...roots: readonly Root[]): string {
  let proposal = parseTrustProposal(fromBase64(typeof file === 'string' ? file : '', 'proposal'))
  for (const { id, privateKey } of roots) {
    const sig = sign('sha256', signedBytes(proposal.next.payload), privateKey)
    proposal = withSignature(proposal, { keyid: id, sig })
  }
  return toBase64(proposalFile(proposal))
}

await t.test(
  'with offline roots, what a change takes away counts at once, and what it adds once enough have signed',
  async (t) => {
    const place = await startTrustPlace(t, join(await temporaryDirectory(t), 'data'), { now: NOW })
    const [one = ''] = await tinyLayout(await temporaryDirectory(t), ['one'])
    await place.call('sign', { images: [one], signatures: 'legacy' })
    const [a, b, c] = [root('a'), root('b'), root('c')]
    const keys = [a, b, c].map(({ name, pem }) => ({ name, publicKey: pem }))
    const turn = await place.call('trust/rotate-root', { keys, threshold: 2 })
    t.match(turn, { version: 2, signedBy: ['root-1'], missing: 0, missingNew: 2 })
    const publish = (proposal: string) => place.call('trust/publish', { proposal })
    const before = await place.snapshot()
    t.equal(await codeOf(publish(signedBy(turn['proposal'], a))), 'TRUST_THRESHOLD')
    t.equal(
      await codeOf(publish(signedBy(turn['proposal'], a, root('stranger')))),
      'TRUST_THRESHOLD',
    )
    t.same(await place.snapshot(), before, 'nothing changed')
    t.match(await publish(signedBy(turn['proposal'], a, c)), { published: 2 })
    t.equal(
      await codeOf(publish(signedBy(turn['proposal'], a, c))),
      'none',
      'the same again changes nothing',
    )

    await t.test('a revocation', async (t) => {
      const waits = await place.call('trust/revoke', {
        key: 'signing',
        fromIndex: 0,
        reason: 'stolen',
      })
      t.match(waits, { published: null, version: 2 })
      t.match(await place.verdict(one), { outcome: 'rejected', version: /^2\+/ })
      t.ok((await readdir(place.directory.public)).includes('trust-restrictions.json'))
      await place.restart()
      t.match(await place.verdict(one), { outcome: 'rejected', version: /^2\+/ })
      const vendor = toBase64(Buffer.from(root('v').pem))
      await place.call('trust/import', { file: vendor, name: 'vendor' })
      t.match(await place.call('trust/status'), { waiting: { length: 2 } })
      t.equal((await bundleOf(place)).document.foreign.length, 0, 'what is added waits')
    })
    await t.test('its publication, and the next rotation', async (t) => {
      const { proposal } = await place.call('trust/propose')
      t.match(await publish(signedBy(proposal, b, c)), { published: 3 })
      t.match(await place.call('trust/status'), { waiting: { length: 0 } })
      t.match(await place.verdict(one), { outcome: 'rejected', version: '3' })
      const d = root('d')
      const next = await place.call('trust/rotate-root', {
        keys: [{ name: 'd', publicKey: d.pem }],
      })
      t.match(next, { missing: 2, missingNew: 1 })
      t.equal(
        await codeOf(publish(signedBy(next['proposal'], d))),
        'TRUST_THRESHOLD',
        'new roots alone',
      )
      t.equal(
        await codeOf(publish(signedBy(next['proposal'], a, b))),
        'TRUST_THRESHOLD',
        'old roots alone',
      )
      t.match(await publish(signedBy(next['proposal'], a, b, d)), { published: 4 })
      t.equal((await bundleOf(place)).chain.length, 1, 'whoever comes from version 1 can follow')
      t.equal(await codeOf(place.call('trust/rotate-root')), 'TRUST_ROOT_OFFLINE')
    })
  },
)

await t.test(
  'whatever is wrong with what comes in, the trust in force stays, byte for byte, and the reason is said',
  async (t) => {
    const place = await startTrustPlace(t, join(await temporaryDirectory(t), 'data'), { now: NOW })
    const old = await bundleOf(place)
    await place.call('trust/edit', { policies: [{ name: 'team', scope: 'r.test/team', keys: [] }] })
    const before = await place.snapshot()
    const now = await bundleOf(place)
    const file = (bytes: Uint8Array) => ({ file: toBase64(bytes) })
    const [x, y] = [testKey('x'), testKey('y')]
    const stranger = seal({ ...after(now), roots: { version: 1, threshold: 1, keys: [x] } }, [x])
    const usurper = seal({ ...after(now), roots: { version: 2, threshold: 1, keys: [x] } }, [x])
    const other = document([x], y, testKey('log'), {
      enclave: 'other.test',
      trustedRoot: rootWithLog(y.key, 'http://other.test'),
    })
    const refused: Record<string, [string, () => Promise<unknown>]> = {
      'half-written': [
        'TRUST_BUNDLE_INVALID',
        () => place.call('trust/import', file(bundleFile(now).subarray(0, 700))),
      ],
      empty: ['REQUEST_INVALID', () => place.call('trust/import', file(new Uint8Array()))],
      'replayed older version': [
        'TRUST_ROLLBACK',
        () => place.call('trust/import', file(bundleFile(old))),
      ],
      'unknown roots under the same version': [
        'TRUST_CHAIN',
        () => place.call('trust/import', file(bundleFile(stranger))),
      ],
      'unknown roots': [
        'TRUST_THRESHOLD',
        () => place.call('trust/import', file(bundleFile(usurper))),
      ],
      'unknown enclave': [
        'TRUST_UNPINNED',
        () => place.call('trust/import', file(bundleFile(seal(other, [x])))),
      ],
      'wrong fingerprint': [
        'TRUST_UNPINNED',
        () =>
          place.call('trust/import', {
            ...file(bundleFile(seal(other, [x]))),
            pin: 'ab'.repeat(32),
          }),
      ],
      'key without a name': [
        'REQUEST_INVALID',
        () => place.call('trust/import', file(Buffer.from(x.key.pem))),
      ],
      'policy with a pattern': [
        'TRUST_BUNDLE_INVALID',
        () => place.call('trust/edit', { policies: [{ name: 'p', scope: 'r.test/*' }] }),
      ],
      'unknown member': ['REQUEST_INVALID', () => place.call('trust/edit', { policy: [] })],
    }
    for (const [what, [code, work]] of Object.entries(refused))
      t.equal(await codeOf(work()), code, what)
    t.same(await place.snapshot(), before)

    await t.test(
      'a clock that is years off refuses updates and says so; what is in force goes on',
      async (t) => {
        const images = await tinyLayout(await temporaryDirectory(t), ['one'])
        await place.call('sign', { images: [image(images, 0)], signatures: 'legacy' })
        const verdict = await place.verdict(image(images, 0))
        place.now = NOW - 5 * YEARS
        t.equal(await codeOf(place.call('trust/edit', { removePolicies: ['team'] })), 'TRUST_CLOCK')
        t.match(await place.call('trust/status'), {
          stage: 'clock',
          alarms: [{ message: /the clock is wrong/ }],
        })
        t.match(await place.verdict(image(images, 0)), { version: '2' })
        place.now = NOW + 5 * YEARS
        t.match(await place.call('trust/status'), {
          stage: 'enforce',
          alarms: [{ stage: 'clock' }, { stage: 'enforce' }],
        })
        t.equal(await codeOf(place.call('verify', { images })), 'TRUST_STALE')
        place.now = NOW
        t.same(await place.verdict(image(images, 0)), verdict)
        t.same(await place.snapshot(), before, 'nothing was changed by any of it')
      },
    )
  },
)

await t.test('the site renews its bundle by itself when half of its life has passed', async (t) => {
  const place = await startTrustPlace(t, join(await temporaryDirectory(t), 'data'), { now: NOW })
  place.now = NOW + 180 * DAY
  await place.restart()
  t.match(await place.call('trust/status'), { version: 1, stage: 'warn' })
  place.now = NOW + 200 * DAY
  await place.restart()
  t.match(await place.call('trust/status'), { version: 2, stage: 'fresh', alarms: [] })
  t.match(await place.call('trust/diff', { from: 1 }), { changes: [] })
})

await t.test(
  'another enclave is carried once its roots are pinned, and follows its own rules from then on',
  async (t) => {
    const directory = await temporaryDirectory(t)
    const far = await startTrustPlace(t, join(directory, 'far'), {
      now: NOW,
      publicUrl: 'http://far.test:8470',
    })
    const near = await startTrustPlace(t, join(directory, 'near'), { now: NOW })
    const [one = '', two = ''] = await tinyLayout(await temporaryDirectory(t), ['one', 'two'])
    await far.call('sign', { images: [one], signatures: 'legacy' })
    t.match(await near.verdict(one), { outcome: 'rejected' })
    const first = toBase64(bundleFile(await bundleOf(far)))
    const { roots } = await far.call('trust/status')
    const pin = (roots as { fingerprint: string }).fingerprint
    t.match(await near.call('trust/import', { file: first, pin }), {
      kind: 'enclave',
      published: 2,
    })
    t.match(await near.verdict(one), { outcome: 'verified' })
    t.match(await near.call('trust/import', { file: first }), { published: null }, 'again')

    await far.call('trust/rotate-root')
    await far.call('trust/rotate-root')
    await far.call('trust/revoke', { key: 'signing', fromIndex: 1, reason: 'stolen' })
    await far.call('sign', { images: [two], signatures: 'legacy' })
    const later = toBase64(bundleFile(await bundleOf(far)))
    t.match(
      await near.call('trust/import', { file: later }),
      { published: 3 },
      'two root rotations at once',
    )
    t.match(await near.verdict(one), { outcome: 'verified' })
    t.match(await near.verdict(two), { outcome: 'rejected', reason: 'KEY_NOT_VALID_AT_INDEX' })
    t.equal(await codeOf(near.call('trust/import', { file: first })), 'TRUST_ROLLBACK')

    near.now = NOW + 600 * DAY
    await near.restart()
    t.match(
      await near.verdict(one),
      { outcome: 'rejected', version: /-far\.test$/ },
      'too old to count',
    )
  },
)

await t.test('a root key that was moved away is offline: changes wait for it', async (t) => {
  const place = await startTrustPlace(t, join(await temporaryDirectory(t), 'data'), { now: NOW })
  const { trustRootKey } = place.directory
  await rename(trustRootKey, `${trustRootKey}.away`)
  const [one = ''] = await tinyLayout(await temporaryDirectory(t), ['one'])
  await place.call('sign', { images: [one], signatures: 'legacy' })
  t.match(await place.call('trust/revoke', { key: 'signing', reason: 'stolen' }), {
    published: null,
  })
  t.match(await place.verdict(one), { outcome: 'rejected' })
  t.match(await place.call('trust/propose'), { signedBy: [], missing: 1 })
  await rename(`${trustRootKey}.away`, trustRootKey)
  await place.restart()
  t.match(
    await place.call('trust/status'),
    { version: 2, waiting: [] },
    'published when it came back',
  )
  t.match(await place.verdict(one), { outcome: 'rejected', version: '2' })
})

await t.test(
  'a rotation of the signing key is published by itself, and consumers get both keys',
  async (t) => {
    const place = await startTrustPlace(t, join(await temporaryDirectory(t), 'data'), { now: NOW })
    const [one = '', two = ''] = await tinyLayout(await temporaryDirectory(t), ['one', 'two'])
    await place.call('sign', { images: [one], signatures: 'legacy' })
    await place.call('key/rotate', {})
    await place.call('sign', { images: [two], signatures: 'legacy' })
    const { document } = await bundleOf(place)
    t.same(document.keys.map(({ state }) => state).sort(), ['active', 'verify-only'])
    t.match(await place.verdict(one), { outcome: 'verified' })
    t.match(await place.verdict(two), { outcome: 'verified' })
    const pems = await readFile(join(place.directory.public, 'keys.pem'), 'utf8')
    t.equal(pems.match(/BEGIN PUBLIC KEY/g)?.length, 2)
    const active = document.keys.find(({ state }) => state === 'active')
    t.equal(await readFile(join(place.directory.public, 'cosign.pub'), 'utf8'), active?.key.pem)

    const old = document.keys.find(({ state }) => state === 'verify-only')
    await place.call('key/compromise', { key: old?.name ?? '', from: '0', reason: 'stolen' })
    t.match(await place.verdict(one), { outcome: 'rejected' })
    t.match(await place.verdict(two), { outcome: 'verified' })
    t.notMatch(
      await readFile(join(place.directory.public, 'keys.pem'), 'utf8'),
      old?.key.pem ?? 'none',
    )
  },
)
