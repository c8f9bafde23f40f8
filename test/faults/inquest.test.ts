import { createPublicKey } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { call } from '../support/call.ts'
import { AIRSEAL, run, temporaryDirectory } from '../support/site.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { holdInquest } from './inquest.ts'
import { Oracle, receiptOf, type Observation, type Receipt, type SignResult } from './oracle.ts'
import { MortalService } from './service.ts'
import { readNote } from './tree.ts'

t.setTimeout(120_000)

await t.test('the inquest finds each kind of broken promise', async (t) => {
  const directory = await temporaryDirectory(t)
  const layout = join(directory, 'layout')
  const [image = '', unsigned = ''] = await tinyLayout(layout, ['a', 'b'])
  const service = await MortalService.at(join(directory, 'data'))
  t.teardown(async () => {
    await service.end('SIGKILL')
  })
  t.ok(await service.start().ready)
  const { socketPath } = service
  const signed = await call('http://localhost/v1/sign', { socketPath, body: { images: [image] } })
  const [result] = (signed.json as { results: SignResult[] }).results
  const receipt = receiptOf((await call(`${service.url}/api/v1/log/entries?logIndex=1`)).json)
  // A second data directory has the right forms, and another history.
  const other = await MortalService.at(join(directory, 'other'))
  t.teardown(async () => {
    await other.end('SIGKILL')
  })
  t.ok(await other.start().ready)
  await call('http://localhost/v1/sign', {
    socketPath: other.socketPath,
    body: { images: [unsigned] },
  })
  const foreign = (await call(`${other.url}/api/v1/log`)).json as { signedTreeHead: string }
  const foreignReceipt = receiptOf((await call(`${other.url}/api/v1/log/entries?logIndex=0`)).json)
  await other.end('SIGTERM')

  let count = 0
  const faultsOf = async (...observations: Observation[]): Promise<readonly string[]> => {
    const oracle = new Oracle(join(directory, `oracle-${count++}`))
    for (const one of observations) oracle.record(one)
    const inquest = await holdInquest(service, oracle, () =>
      Promise.resolve({ status: 201 }),
    ).catch((error: unknown) => ({ faults: [String(error)] }))
    oracle.close()
    return inquest.faults
  }
  const receiptWith = (change: Partial<Receipt>): Observation => ({
    kind: 'receipt',
    entry: { ...receipt, ...change },
  })
  const proof = receipt.verification.inclusionProof
  const proofWith = (change: Partial<typeof proof>): Observation =>
    receiptWith({
      verification: { ...receipt.verification, inclusionProof: { ...proof, ...change } },
    })
  const body = (await call(`${service.url}/api/v1/log/entries?logIndex=0`)).json

  t.same(await faultsOf({ kind: 'receipt', entry: receipt }, { kind: 'sign-sent', image }), [])
  t.same(
    await faultsOf({ kind: 'signed', result: result! }, { kind: 'sign-sent', image: unsigned }),
    [],
  )
  const named = (faults: readonly string[], pattern: RegExp): void => {
    t.ok(
      faults.some((fault) => pattern.test(fault)),
      `${String(pattern)} in ${faults.join('; ')}`,
    )
  }
  named(await faultsOf(receiptWith({ logIndex: 0 })), /timestamp does not hold/)
  named(await faultsOf(receiptWith({ logIndex: 0 })), /something else there/)
  named(await faultsOf(receiptWith({ integratedTime: receipt.integratedTime + 1 })), /timestamp/)
  named(await faultsOf(receiptWith({ body: receiptOf(body).body })), /proof leads elsewhere/)
  named(
    await faultsOf(
      receiptWith({
        entryId: `${receipt.entryId.startsWith('1') ? 2 : 1}${receipt.entryId.slice(1)}`,
      }),
    ),
    /another name/,
  )
  named(await faultsOf(proofWith({ hashes: [] })), /proof leads elsewhere/)
  named(
    await faultsOf(proofWith({ checkpoint: foreign.signedTreeHead })),
    /signature does not hold/,
  )
  named(await faultsOf({ kind: 'receipt', entry: foreignReceipt }), /timestamp|signature/)
  named(
    await faultsOf({ kind: 'checkpoint', note: foreign.signedTreeHead }),
    /signature does not hold/,
  )
  const moved = result!.signatures.map((one) => ({ ...one, logIndex: one.logIndex + 7 }))
  named(
    await faultsOf({ kind: 'signed', result: { ...result!, signatures: moved } }),
    /not in the log/,
  )
  const half = { ...result!, signatures: result!.signatures.slice(1) }
  named(await faultsOf({ kind: 'signed', result: half }), /signed as bundle/)
  t.equal(await service.end('SIGTERM'), 0)

  // A signature is taken away from beside the image.
  const before = join(directory, 'before')
  const [bare = ''] = await tinyLayout(before, ['a'])
  t.equal((await run(AIRSEAL, ['sign', '--data', service.data, bare])).code, 0)
  await tinyLayout(before, ['a'])
  t.ok(await service.start().ready)
  named(await faultsOf({ kind: 'sign-sent', image: bare }), /has \[\], wanted/)

  const logKey = createPublicKey(await readFile(join(service.data, 'public', 'rekor.pub')))
  const { signedTreeHead } = (await call(`${service.url}/api/v1/log`)).json as {
    signedTreeHead: string
  }
  t.equal(readNote(signedTreeHead, logKey).size, 4)
  const forged = signedTreeHead.replace('\n4\n', '\n5\n')
  t.throws(() => readNote(forged, logKey), /signature does not hold/)
  t.equal(await service.end('SIGTERM'), 0)
})
