import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../support/programs.ts'
import { startSite, type Finished } from '../support/site.ts'
import { said, startPlace } from './support/place.ts'

/** The log, driven by unmodified rekor-cli. It checks SET, inclusion and checkpoint of every entry that it is shown. */

const PAYLOAD_TYPE = 'application/vnd.in-toto+json'

await t.test('rekor-cli', needs('rekor-cli'), async (t) => {
  const place = await startPlace(t)
  let { site } = place
  t.teardown(() => site.stop())
  const address = new URL(site.url).host
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const file = (name: string): string => join(place.directory, name)
  const rekor = (args: readonly string[]): Promise<Finished> =>
    place.client('rekor-cli', [...args, '--rekor_server', place.site.url])
  const json = async (args: readonly string[]): Promise<Record<string, unknown>> => {
    const done = await rekor([...args, '--format', 'json'])
    if (done.code !== 0) throw new Error(said(done))
    return JSON.parse(done.stdout) as Record<string, unknown>
  }

  const artifact = Buffer.from('an artifact of the tests\n')
  const signature = sign('sha256', artifact, key.privateKey)
  await writeFile(file('artifact'), artifact)
  await writeFile(file('artifact.sig'), signature)
  await writeFile(file('key.pub'), key.publicKey.export({ format: 'pem', type: 'spki' }))
  const hash = createHash('sha256').update(artifact).digest('hex')
  const signed = ['--artifact', file('artifact'), '--signature', file('artifact.sig')]
  const uploadArgs = ['upload', ...signed, '--public-key', file('key.pub')]
  let location = ''

  await t.test('sees an empty log', async (t) => {
    const info = await rekor(['loginfo'])
    t.equal(info.code, 0, said(info))
    t.match(info.stdout, /Total Tree Size:\s+0\b/)
  })

  await t.test('uploads a hashedrekord, and is told when it is there already', async (t) => {
    const first = await rekor(uploadArgs)
    t.equal(first.code, 0, said(first))
    t.match(first.stdout, /Created entry at index 0, available at: http/)
    location = /available at: (\S+)/.exec(first.stdout)?.[1] ?? ''
    t.ok(location.startsWith(`${site.url}/api/v1/log/entries/`), location)
    const again = await rekor(uploadArgs)
    t.equal(again.code, 0, said(again))
    t.match(again.stdout, /Entry already exists; available at: http/)
    t.equal(/available at: (\S+)/.exec(again.stdout)?.[1], location)
  })

  await t.test('is refused a signature that does not fit', async (t) => {
    await writeFile(file('unsigned'), 'another artifact\n')
    const args = ['upload', '--artifact', file('unsigned'), ...uploadArgs.slice(3)]
    t.not((await rekor(args)).code, 0)
  })

  const statement = JSON.stringify({
    _type: 'https://in-toto.io/Statement/v0.1',
    predicateType: 'https://example.test/predicate/v1',
    subject: [{ name: 'artifact', digest: { sha256: hash } }],
    predicate: {},
  })
  await writeFile(file('envelope.json'), JSON.stringify(envelopeOf(statement, key.privateKey)))
  for (const type of ['dsse', 'intoto']) {
    await t.test(`uploads ${type}`, async (t) => {
      const entry = ['--artifact', file('envelope.json'), '--public-key', file('key.pub')]
      const done = await rekor(['upload', '--type', type, ...entry])
      t.equal(done.code, 0, said(done))
      const [, index] = /Created entry at index (\d+)/.exec(done.stdout) ?? []
      const got = await json(['get', '--log-index', String(index)])
      t.ok(Object.keys(got['Body'] as object).some((kind) => kind.toLowerCase().startsWith(type)))
    })
  }

  await t.test('gets entries by index and by both forms of UUID', async (t) => {
    const entryId = location.split('/').pop() ?? ''
    t.match(entryId, /^[0-9a-f]{80}$/)
    const byIndex = await json(['get', '--log-index', '0'])
    t.equal(byIndex['UUID'], entryId)
    for (const uuid of [entryId, entryId.slice(16)]) {
      t.same(await json(['get', '--uuid', uuid]), byIndex)
    }
    const body = byIndex['Body'] as { HashedRekordObj: { data: { hash: { value: string } } } }
    t.equal(body.HashedRekordObj.data.hash.value, hash)
  })

  await t.test('fails for what does not exist', async (t) => {
    const absent = `${location.split('/').pop()?.slice(0, 16)}${'0'.repeat(64)}`
    for (const asked of [
      ['get', '--log-index', '999'],
      ['get', '--uuid', absent],
      ['verify', '--log-index', '999'],
    ]) {
      t.not((await rekor(asked)).code, 0, asked.join(' '))
    }
  })

  await t.test('verifies entries by artifact, index and UUID', async (t) => {
    const uuid = location.split('/').pop() ?? ''
    for (const asked of [
      ['verify', ...uploadArgs.slice(1)],
      ['verify', '--log-index', '0'],
      ['verify', '--log-index', '1'],
      ['verify', '--log-index', '2'],
      ['verify', '--uuid', uuid],
    ]) {
      const done = await rekor(asked)
      t.equal(done.code, 0, `${asked.join(' ')}: ${said(done)}`)
      t.match(done.stdout, /Current Tree Size|Checkpoint/)
    }
  })

  await t.test(
    'verifies with the key that stands in public/, which is the one served',
    async (t) => {
      const served = await fetch(`${place.site.url}/api/v1/log/publicKey`)
      t.equal(await served.text(), await readFile(site.file('rekor.pub'), 'utf8'))
    },
  )

  await t.test('proves that the log grows only, and keeps that over a restart', async (t) => {
    const size = async (): Promise<unknown> => (await json(['loginfo']))['ActiveTreeSize']
    const before = Number(await size())
    t.equal(before, 3)
    const proof = await rekor(['logproof', '--first-size', '1', '--last-size', String(before)])
    t.equal(proof.code, 0, said(proof))
    await site.stop()
    await cp(site.data, file('backup'), { recursive: true })
    site = await startSite(site.data, ['--listen', address])
    t.equal(Number(await size()), before, 'the same tree after the restart')
    const more = sign('sha256', artifact, key.privateKey)
    await writeFile(file('artifact.sig'), more)
    t.equal((await rekor(uploadArgs)).code, 0)
    const info = await rekor(['loginfo'])
    t.equal(info.code, 0, said(info))
    t.notMatch(said(info), /No previous log state/)
    t.equal(Number(await size()), before + 1, 'consistent with what was stored')
  })

  await t.test('searches by hash and by key', async (t) => {
    for (const asked of [
      ['search', '--sha', hash],
      ['search', '--artifact', file('artifact')],
      ['search', '--public-key', file('key.pub'), '--pki-format', 'x509'],
    ]) {
      const done = await rekor(asked)
      t.equal(done.code, 0, `${asked.join(' ')}: ${said(done)}`)
      t.match(done.stdout, location.split('/').pop() ?? '?')
    }
    t.not((await rekor(['search', '--sha', '0'.repeat(64)])).code, 0)
  })

  await t.test('refuses the log when it was rolled back to an older copy', async (t) => {
    await site.stop()
    site = await startSite(file('backup'), ['--listen', address])
    const info = await rekor(['loginfo'])
    t.not(info.code, 0, said(info))
  })

  await t.test('refuses another log in its place when the key is pinned', async (t) => {
    await site.stop()
    const env = {
      REKOR_REKOR_SERVER_PUBLIC_KEY: await readFile(place.site.file('rekor.pub'), 'utf8'),
    }
    const pinned = (): Promise<Finished> =>
      place.client('rekor-cli', ['loginfo', '--rekor_server', place.site.url], { env })
    site = await startSite(place.site.data, ['--listen', address])
    t.equal((await pinned()).code, 0)
    await site.stop()
    site = await startSite(file('other-log'), ['--listen', address])
    const other = await pinned()
    t.not(other.code, 0, said(other))
  })
})

function envelopeOf(payload: string, privateKey: Parameters<typeof sign>[2]): object {
  const text = `DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${Buffer.byteLength(payload)} ${payload}`
  return {
    payloadType: PAYLOAD_TYPE,
    payload: Buffer.from(payload).toString('base64'),
    signatures: [{ sig: sign('sha256', Buffer.from(text), privateKey).toString('base64') }],
  }
}
