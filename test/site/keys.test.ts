import { join } from 'node:path'
import t from 'tap'
import { isObject, type Json, type JsonObject } from '../../src/core/index.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { startTrustPlace } from '../trust/support/place.ts'
import { temporaryDirectory } from '../support/site.ts'

const START = Date.UTC(2026, 10, 24)
const HOUR = 3_600_000

t.setTimeout(120_000)
const directory = await temporaryDirectory(t)

function text(value: Json | undefined): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

function listOf(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}

await t.test('the life of keys at one site', async (t) => {
  const place = await startTrustPlace(t, join(directory, 'data'), { now: START })
  const all = await tinyLayout(join(directory, 'images'), ['a', 'b', 'c', 'd', 'e', 'f'])
  const [a = '', b = '', c = '', d = '', e = '', f = ''] = all
  const sign = (image: string, more: JsonObject = {}): Promise<JsonObject> =>
    place.call('sign', { images: [image], signatures: 'legacy', ...more })
  const states = async (): Promise<Json> => {
    const { keys } = await place.call('key/list')
    return Object.fromEntries(listOf(keys).map(({ name, state }) => [text(name), state ?? null]))
  }
  const fileUri = (name: string): string => `file:${join(directory, `${name}.key`)}`

  await t.test('the key that init made is registered, and signs', async (t) => {
    t.match(await place.call('key/list'), {
      default: 'signing',
      keys: [{ name: 'signing', state: 'active', uri: 'file:keys/cosign.key', validIn: null }],
    })
    await sign(a)
    t.match(await place.verdict(a), { outcome: 'verified' })
    t.match(await place.call('key/check'), { isGood: true, results: [{ key: 'signing' }] })
    t.match(await place.call('key/describe', { key: 'signing' }), {
      backend: { backend: 'file', extractable: true, madeInside: null },
    })
  })

  await t.test(
    'another key is made and chosen by name; bad names and URIs are refused',
    async (t) => {
      await place.call('key/create', { key: 'team', uri: fileUri('team') })
      await sign(b, { key: 'team' })
      t.match(await place.verdict(b), { outcome: 'verified' })
      const refusals: readonly [JsonObject, string][] = [
        [{ key: 'team', uri: fileUri('x') }, 'KEY_EXISTS'],
        [{ key: 'Team', uri: fileUri('x') }, 'REQUEST_INVALID'],
        [{ key: '../x', uri: fileUri('x') }, 'REQUEST_INVALID'],
        [{ key: 'log', uri: fileUri('x') }, 'REQUEST_INVALID'],
        [{ key: 'x', uri: fileUri('team') }, 'KEY_EXISTS'],
        [{ key: 'x', uri: 'https://x' }, 'KEY_REFERENCE'],
        [{ key: 'x', uri: fileUri('x'), algorithm: 'ed25519' }, 'KEY_UNSUPPORTED'],
        [{ key: 'x', uri: fileUri('x'), algorithm: 'ecdsa-p384' }, 'KEY_UNSUPPORTED'],
        [{ key: 'x', uri: fileUri('x'), more: 1 }, 'REQUEST_INVALID'],
      ]
      for (const [body, code] of refusals) await t.rejects(place.call('key/create', body), { code })
      await t.rejects(place.call('key/import', { key: 'twin', uri: fileUri('team') }), {
        code: 'KEY_EXISTS',
      })
      await t.rejects(sign(c, { key: 'nobody' }), { code: 'KEY_UNKNOWN' })
      t.same(await states(), { signing: 'active', team: 'active' })
    },
  )

  await t.test(
    'a policy is enforced before the key is used, and its caps outlive a restart',
    async (t) => {
      const policy = {
        repositories: [`oci:${directory}/**`],
        payloads: ['sign'],
        maxLifetime: 3,
        maxPerDay: 2,
      }
      await place.call('key/policy', { key: 'team', policy })
      t.match(await place.call('key/policy', { key: 'team' }), { policy })
      // One was made before there was a cap: it counts.
      await sign(c, { key: 'team' })
      t.match(
        (await sign(c, { key: 'team' }))['results'],
        [{ signatures: [{ status: 'present' }] }],
        'the same again uses no key',
      )
      await t.rejects(sign(d, { key: 'team' }), {
        code: 'KEY_POLICY',
        details: { rule: 'maxPerDay' },
      })
      place.now += 24 * HOUR
      await place.restart()
      await sign(d, { key: 'team' })
      await t.rejects(sign(e, { key: 'team' }), {
        code: 'KEY_POLICY',
        details: { rule: 'maxLifetime' },
      })
      await t.rejects(sign(e, { key: 'team', identity: 'registry.example/x' }), {
        code: 'KEY_POLICY',
        message: /it is not for registry.example/,
      })
      await t.rejects(
        place.call('attest', { images: [e], key: 'team', type: 'custom', predicate: {} }),
        { code: 'KEY_POLICY', message: /it is not for attest/ },
      )
      await t.rejects(place.call('key/policy', { key: 'team', policy: { sign: true } }), {
        code: 'REQUEST_INVALID',
      })
      await place.call('key/policy', { key: 'team', none: true })
    },
  )

  await t.test('a rotation keeps old images, and names who took over', async (t) => {
    const answer = await place.call('key/rotate', { reason: 'yearly' })
    t.match(answer, {
      old: { name: 'signing', state: 'verify-only', successor: 'signing-2', reason: 'yearly' },
      new: { name: 'signing-2', state: 'active', isDefault: true, uri: 'file:keys/signing-2.key' },
    })
    t.match(await place.verdict(a), { outcome: 'verified' })
    await t.rejects(sign(e, { key: 'signing' }), {
      code: 'KEY_STATE',
      message: /"signing-2" took over/,
    })
    await sign(e)
    t.match(await place.verdict(e), { outcome: 'verified' })
    await t.rejects(place.call('key/rotate', { key: 'signing' }), { code: 'KEY_STATE' })
    await t.rejects(place.call('key/rotate', { to: 'signing-2' }), { code: 'REQUEST_INVALID' })
    await t.rejects(place.call('key/rotate', { to: 'signing' }), { code: 'KEY_STATE' })
    const files = await place.snapshot()
    const { keys } = await place.call('key/list')
    const pem = listOf(keys).find(({ name }) => name === 'signing-2')?.['publicKeyPem']
    const published = Buffer.from(files['cosign.pub'] ?? '', 'base64').toString()
    t.equal(published, pem, 'cosign.pub is the key that signs')
  })

  await t.test(
    'old images are signed again, once, and then the old key can be retired',
    async (t) => {
      await t.rejects(place.call('key/retire', { key: 'signing-2' }), { code: 'KEY_STATE' })
      await t.rejects(place.call('key/retire', { key: 'signing' }), {
        code: 'KEY_STATE',
        details: { total: 1 },
      })
      t.match(await place.call('key/resign', { from: 'signing', countOnly: true }), {
        found: 1,
        added: 0,
      })
      t.match(await place.call('key/resign', {}), { found: 1, added: 1, failed: [], next: null })
      t.match(await place.call('key/resign', {}), { found: 1, added: 0, present: 1 })
      await place.call('key/retire', { key: 'signing' })
      t.match(await place.verdict(a), { outcome: 'verified' }, 'by the new key')
    },
  )

  await t.test(
    'a compromise refuses from its entry on, by index and by time, and only moves back',
    async (t) => {
      place.now += HOUR
      await sign(f, { key: 'team' })
      const { entries } = await place.call('key/signed', { key: 'team' })
      t.equal(listOf(entries).length, 4)
      const last = listOf(entries).at(-1)
      await place.call('key/compromise', { key: 'team', from: new Date(place.now).toISOString() })
      t.match(await place.verdict(f), { outcome: 'rejected', reason: 'KEY_NOT_VALID_AT_INDEX' })
      t.match(await place.verdict(b), { outcome: 'verified' })
      const first = Number(listOf(entries)[0]?.['logIndex'])
      t.match(await place.call('key/signed', { key: 'team', from: String(first + 1) }), {
        total: 3,
      })
      await place.call('key/compromise', { key: 'team', from: String(first + 1) })
      t.match(await place.verdict(c), { outcome: 'rejected', reason: 'KEY_NOT_VALID_AT_INDEX' })
      t.match(await place.verdict(b), { outcome: 'verified' })
      const later = { key: 'team', from: text(last?.['logIndex']) }
      await t.rejects(place.call('key/compromise', later), { code: 'KEY_STATE' })
      for (const from of ['99999', 'yesterday', '2026-13-01'])
        await t.rejects(place.call('key/compromise', { key: 'team', from }), {
          code: 'REQUEST_INVALID',
        })
      // What was signed after it is not signed again.
      t.match(await place.call('key/resign', { from: 'team' }), { added: 1, refused: 3 })
    },
  )

  await t.test('all of it is as before after a restart', async (t) => {
    await place.restart()
    t.same(await states(), { signing: 'retired', 'signing-2': 'active', team: 'compromised' })
    t.match(await place.verdict(c), { outcome: 'rejected' })
    t.match(await place.verdict(a), { outcome: 'verified' })
  })
})
