import { spawn } from 'node:child_process'
import { createServer } from 'node:http'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { DAY, Simulator } from '../tuf/simulator.ts'

/**
 * The program that speaks the command line of the TUF conformance suite, over HTTP. The suite itself (Python) is run by hand:
 * docs/tuf.md says how, and what came out.
 */

const PROGRAM = fileURLToPath(new URL('tuf-client.ts', import.meta.url))

await t.test('init, refresh and download, as the suite calls them', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'airseal-tuf-client-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const repository = new Simulator()
  const now = Date.now()
  for (const role of ['root', 'targets', 'snapshot', 'timestamp'] as const)
    repository.expires[role] = now + DAY
  repository.targets.set('dir/b.txt', Buffer.from('second'))
  await repository.root()
  await repository.publish()
  const asked: string[] = []
  const server = createServer((request, response) => {
    const path = decodeURIComponent((request.url ?? '').slice('/repo/'.length))
    asked.push(path)
    const bytes = repository.files.get(path)
    response.writeHead(bytes === undefined ? 404 : 200)
    response.end(bytes)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/repo/`
  const metadata = join(directory, 'metadata')
  const targets = join(directory, 'targets')
  await Promise.all([mkdir(metadata), mkdir(targets)])
  const run = (args: readonly string[]): Promise<number | null> =>
    new Promise((resolve) => {
      const child = spawn(process.execPath, [PROGRAM, '--metadata-dir', metadata, ...args])
      child.on('close', resolve)
    })
  const root = join(directory, 'initial.json')
  await writeFile(root, repository.firstRoot())
  t.equal(await run(['init', root]), 0)
  t.same(asked, [], 'nothing is asked for yet')
  t.equal(await run(['--metadata-url', url, 'refresh']), 0)
  t.same(asked, ['2.root.json', 'timestamp.json', '1.snapshot.json', '1.targets.json'])
  t.same((await readdir(metadata)).sort(), [
    'root.json',
    'snapshot.json',
    'targets.json',
    'timestamp.json',
  ])
  const download = (...names: string[]): Promise<number | null> =>
    run([
      ...['--metadata-url', url, '--target-base-url', `${url}targets`, '--target-dir', targets],
      ...names.flatMap((name) => ['--target-name', name]),
      'download',
    ])
  t.equal(await download('dir/b.txt', 'a.txt'), 0)
  const content = async (): Promise<string[]> =>
    Promise.all(
      (await readdir(targets)).sort().map((name) => readFile(join(targets, name), 'utf8')),
    )
  t.same(await content(), ['first', 'second'])
  asked.length = 0
  t.equal(await download('a.txt', 'missing.txt'), 1)
  t.notOk(
    asked.some((path) => path.startsWith('targets/')),
    'what is there is not fetched again',
  )
  for (const name of repository.files.keys())
    if (name.startsWith('targets/')) repository.files.set(name, Buffer.from('malicious'))
  await rm(join(targets, 'a.txt'))
  t.equal(await download('a.txt'), 1)
  t.same(await content(), ['second'])
})
