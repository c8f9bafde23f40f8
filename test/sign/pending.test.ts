import t from 'tap'
import { createSigning, type SigningParts } from '../../src/sign/index.ts'

type Jobs = Awaited<ReturnType<SigningParts['records']['unfinishedJobs']>>

/** Signing over records of which only the unfinished jobs are asked for. */
function signingOver(unfinishedJobs: () => Promise<Jobs>) {
  return createSigning({ records: { unfinishedJobs } } as unknown as SigningParts)
}

await t.test('rounds of finishing do not pile up behind one that takes long', async (t) => {
  let asked = 0
  let answer: (jobs: Jobs) => void = () => undefined
  const signing = signingOver(() => {
    asked++
    return new Promise((resolve) => (answer = resolve))
  })
  const rounds = [signing.finishPending(), signing.finishPending(), signing.finishPending()]
  t.equal(asked, 1)
  answer([])
  t.strictSame(await Promise.all(rounds), Array(3).fill({ finished: 0, waiting: [] }))
  const next = signing.finishPending()
  t.equal(asked, 2)
  answer([])
  await next
})

await t.test('a job that can not be read does not keep the others waiting', async (t) => {
  const job = { state: 'signed', created: 0, updated: 0, document: '{' } as const
  const jobs: Jobs = [
    { ...job, id: 1, identity: 'a', digest: 'sha256:a' },
    { ...job, id: 2, identity: 'b', digest: 'sha256:b' },
  ]
  const { finished, waiting } = await signingOver(() => Promise.resolve(jobs)).finishPending()
  t.equal(finished, 0)
  t.strictSame(
    waiting.map(({ digest }) => digest),
    ['sha256:a', 'sha256:b'],
  )
})
