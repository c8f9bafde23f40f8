import { spawnSync } from 'node:child_process'
import { cp, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseReceiptCode, receiptText } from '../../offline-bundles/index.ts'
import { startPlainRegistry, type PlainRegistry } from '../support/plain-registry.ts'
import { temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { codeOf, startEnclave, startPair, type Enclave } from './support/enclaves.ts'

interface Place {
  readonly folder: string
  readonly low: Enclave
  readonly high: Enclave
  readonly registry: PlainRegistry
  /** `HOST/in` */
  readonly to: string
  /** Makes an image of this name and signs it. @returns reference by digest */
  image(name: string): Promise<string>
}

async function start(t: Test): Promise<Place> {
  const folder = await temporaryDirectory(t)
  const registry = await startPlainRegistry()
  t.teardown(() => registry.stop())
  const { low, high } = await startPair(t, folder)
  const image = async (name: string): Promise<string> => {
    const [reference = ''] = await tinyLayout(join(folder, name), [name])
    await low.call('sign', { images: [reference] })
    return reference
  }
  return { folder, low, high, registry, to: `${registry.address}/in`, image }
}

/** Tags that the registry has, without staging. */
function tags({ registry }: Place): string[] {
  return [...registry.manifests.keys()].filter((name) => !name.includes('sha256:')).sort()
}

const place = await start(t)

await t.test('a bundle carries an image with what vouches for it', async (t) => {
  const { low, high, folder, to } = place
  const reference = await place.image('app')
  await low.call('attest', {
    images: [reference],
    type: 'cyclonedx',
    predicate: { bomFormat: 'CycloneDX' },
  })
  const bundle = join(folder, 'bundle-1')
  const { header } = await low.export(bundle, [`oci:${join(folder, 'app')}:app`])
  t.match(header, {
    source: 'low.example',
    target: 'any',
    sequence: 1,
    kind: 'full',
    previous: null,
  })

  const sums = spawnSync('sha256sum', ['-c', '--quiet', 'SHA256SUMS'], { cwd: bundle })
  t.equal(sums.status, 0, 'sha256sum alone can check it')
  const local = {
    images: [`oci:${join(bundle, 'images', '0001')}@${reference.split('@')[1] ?? ''}`],
  }
  t.match(
    await low.call('verify', local),
    { results: [{ outcome: 'verified' }] },
    'it holds an image layout',
  )

  const { result, replay } = await high.import(bundle, to)
  t.equal(replay, false)
  t.match(result, { sequence: 1, images: [{ by: 'signing' }] })
  const there = { images: [`${to}/app:app`] }
  t.match(await high.call('verify', there), {
    results: [{ outcome: 'verified', keyName: 'low.example/signing' }],
  })
  const summary = { ...there, type: 'https://slsa.dev/verification_summary/v1' }
  t.match(await high.call('verify', summary), {
    results: [{ outcome: 'verified', keyName: 'signing' }],
  })
  const sbom = { ...there, type: 'cyclonedx' }
  t.match(await high.call('verify', sbom), { results: [{ outcome: 'verified' }] })

  await t.test(
    'and the same bundle again changes nothing and gives the first result',
    async (t) => {
      const before = new Map(place.registry.manifests)
      const again = await high.import(bundle, to)
      t.equal(again.replay, true)
      t.same(again.result, result)
      t.same(place.registry.manifests, before)
    },
  )
})

await t.test('bundles are imported in order', async (t) => {
  const { low, high, folder, to } = place
  // A stream of its own.
  const target = 'high.example'
  const bundles: string[] = []
  for (const name of ['one', 'two', 'three']) {
    const bundle = join(folder, `bundle-${name}`)
    await low.export(bundle, [await place.image(name)], { target })
    bundles.push(bundle)
  }
  const [one = '', two = '', three = ''] = bundles

  await t.test(
    'a gap is refused, and the message says what is missing and how to ask for it',
    async (t) => {
      await high.import(one, to)
      await t.rejects(high.import(three, to), {
        code: 'TRANSFER_GAP',
        message: /bundle 2 is missing.*airseal bundle export --kind rebase/,
      })
      t.equal(
        tags(place).some((name) => name.includes('three')),
        false,
      )
    },
  )

  await t.test('a lower number is refused', async (t) => {
    await high.import(two, to)
    await t.rejects(high.import(one, to), { code: 'TRANSFER_OLD' })
    await high.import(three, to)
  })

  await t.test('a second history is refused, and both sides of it are kept', async (t) => {
    // The sender's directory as it was, used again: its ledger and log know nothing of what was exported since.
    const forked = await forkOf(t, place)
    const bundle = join(folder, 'bundle-fork')
    await forked.export(bundle, [await place.image('fork')], { target })
    await t.rejects(high.import(bundle, to), { code: 'TRANSFER_FORK' })
    const report = await high.call('bundle/report', {})
    t.match(report, { alarms: [{ source: 'low.example', sequence: 1 }] })
    t.equal(
      tags(place).some((name) => name.includes('fork')),
      false,
    )
  })

  await t.test('a rebase mends a lost medium', async (t) => {
    await low.export(join(folder, 'bundle-lost'), [await place.image('four')], { target })
    const next = join(folder, 'bundle-five')
    await low.export(next, [await place.image('five')], { target })
    t.equal(await codeOf(high.import(next, to)), 'TRANSFER_GAP')
    const rebase = join(folder, 'bundle-rebase')
    const { header } = await low.export(rebase, [await place.image('six')], {
      kind: 'rebase',
      target,
    })
    t.equal(header.sequence, 6)
    t.equal((await high.import(rebase, to)).replay, false)
    t.equal(
      await codeOf(high.import(next, to)),
      'TRANSFER_OLD',
      'what it stands for comes too late',
    )
    const after = join(folder, 'bundle-after')
    await low.export(after, [await place.image('seven')], { target })
    t.equal((await high.import(after, to)).replay, false, 'and the order goes on from there')
  })
})

/** The sender with keys and trust of now and a ledger of before. */
async function forkOf(t: Test, { folder, low }: Place): Promise<Enclave> {
  const { default: Database } = await import('better-sqlite3')
  const copy = join(folder, 'fork', 'low.example')
  await low.close()
  await cp(low.data, copy, { recursive: true })
  await low.reopen()
  const database = new Database(join(copy, 'airseal.db'))
  database.exec("DELETE FROM document WHERE kind IN ('bundle', 'bundle-items')")
  database.close()
  return startEnclave(t, join(folder, 'fork'), 'low.example')
}

await t.test('a receipt is the base of the next delta', async (t) => {
  const { low, high, folder, to } = place
  const target = 'any'
  const first = await place.image('first')
  await low.export(join(folder, 'b1'), [first], { target })
  t.equal(
    await codeOf(low.export(join(folder, 'none'), [first], { kind: 'delta', target })),
    'TRANSFER_BASE',
  )
  const { result } = await high.import(join(folder, 'b1'), to)
  const { code } = result['receipt'] as { code: string }
  t.ok(code.replace(/\s/g, '').length <= 125, `${code.replace(/\s/g, '').length} characters`)

  await t.test('a mistyped code is refused and the row is named', async (t) => {
    const wrong = code.replace(/^(.)(.)/, (_, a: string, b: string) => (a === b ? `2${b}` : b + a))
    await t.rejects(low.call('bundle/take-receipt', { receipt: wrong }), {
      code: 'RECEIPT_INVALID',
      message: /row 1/,
    })
  })

  await t.test('typed, with or without blanks, it is taken', async (t) => {
    const typed = code.replaceAll(/\s+/g, '')
    t.match(await low.call('bundle/take-receipt', { receipt: typed }), {
      enclave: 'high.example',
      sequence: 2,
    })
    const file = await high.call('bundle/receipt', { source: null })
    t.match(await low.call('bundle/take-receipt', { receipt: JSON.stringify(file) }), {
      sequence: 2,
      logRoot: /^[0-9a-f]{64}$/,
    })
  })

  await t.test('the delta leaves out what is there, and is whole over there', async (t) => {
    const second = await place.image('second')
    const found = await low.call('bundle/since-receipt', { target })
    t.same(
      (found['images'] as { digest: string }[]).map(({ digest }) => digest),
      [second.split('@')[1]],
    )
    const { header } = await low.export(join(folder, 'b2'), [first, second], {
      kind: 'delta',
      target,
    })
    t.match(header, { sequence: 3, base: { sequence: 2 }, witness: { enclave: 'high.example' } })
    const contents = JSON.parse(await readFile(join(folder, 'b2', 'contents.json'), 'utf8')) as {
      omitted: unknown[]
    }
    t.ok(contents.omitted.length >= 4, 'image, config and signatures of the first')
    await high.import(join(folder, 'b2'), to)
    for (const name of ['first', 'second']) {
      const digest = (name === 'first' ? first : second).split('@')[1] ?? ''
      t.match(await high.call('verify', { images: [`${to}/${name}@${digest}`] }), {
        results: [{ outcome: 'verified' }],
      })
    }
  })

  await t.test(
    'a registry that lost the base is noticed before anything is promoted',
    async (t) => {
      const third = await place.image('third')
      await low.export(join(folder, 'b3'), [first, third], { kind: 'delta', target })
      const { registry } = place
      const lost = [...registry.manifests.keys()].filter((name) =>
        name.includes(first.split('@')[1] ?? ''),
      )
      for (const name of lost) registry.manifests.delete(name)
      t.equal(await codeOf(high.import(join(folder, 'b3'), to)), 'TRANSFER_BASE')
      t.equal(
        [...registry.manifests.keys()].some((name) => name.startsWith('in/third/')),
        false,
      )
    },
  )

  await t.test('a receipt that nobody known signed is refused', async (t) => {
    const { signature, ...read } = parseReceiptCode(code)
    const receipt = receiptText({
      ...read,
      signature: signature.map((byte, at) => (at === 9 ? byte ^ 1 : byte)),
    })
    await t.rejects(low.call('bundle/take-receipt', { receipt }), {
      code: 'RECEIPT_INVALID',
      message: /not signed/,
    })
  })
})
