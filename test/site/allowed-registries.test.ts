import { createServer } from 'node:http'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { call } from '../support/call.ts'
import { startSite, temporaryDirectory } from '../support/site.ts'

await t.test('only the registries that are allowed are contacted', async (t) => {
  const asked: string[] = []
  const inside = createServer((request, response) => {
    asked.push(request.url ?? '')
    response.writeHead(404).end()
  })
  await new Promise<void>((resolve) => inside.listen(0, '127.0.0.1', resolve))
  t.teardown(() => inside.close())
  const bound = inside.address()
  const host = `127.0.0.1:${typeof bound === 'object' && bound !== null ? bound.port : 0}`

  const directory = await temporaryDirectory(t)
  const config = join(directory, 'airseal.yaml')
  const image = `${host}/team/app@sha256:${'0'.repeat(64)}`
  for (const [allowed, reason] of [
    ['[registry.example]', 'REGISTRY_REFUSED'],
    ['[]', 'REGISTRY_REFUSED'],
    [`["${host}"]`, 'IMAGE_NOT_FOUND'],
  ]) {
    await writeFile(config, `registries:\n  allowHosts: ${allowed ?? ''}\n`)
    const site = await startSite(join(directory, 'data'), ['--config', config])
    const { json } = await call(`${site.url}/v1/verify`, { body: { images: [image] } })
    t.match(json, { results: [{ outcome: 'error', reason }] })
    await site.stop()
    t.equal(asked.length > 0, reason === 'IMAGE_NOT_FOUND')
  }
})
