import { join } from 'node:path'
import t from 'tap'
import { main } from '../../src/main.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { AIRSEAL, run, temporaryDirectory } from '../support/site.ts'
import { pushTiny } from '../support/tiny-layout.ts'

t.setTimeout(120_000)
const directory = await temporaryDirectory(t)
const data = join(directory, 'data')
const registry = await startPlainRegistry()
t.teardown(() => registry.stop())

await t.test('a command that waits for a registry says so, in the form asked for', async (t) => {
  const [image = ''] = await pushTiny(`${registry.address}/app`, ['a'])
  t.equal((await run(AIRSEAL, ['init', '--data', data])).code, 0)
  for (const [command, form, wanted] of [
    ['sign', 'text', /^airseal: signing \S+@sha256:\S+ \(1 of 1\) \(1 s\) …\n/],
    ['verify', 'json', /^\{"progress":"verifying \S+","seconds":1\}\n/],
  ] as const) {
    const said = { stdout: '', stderr: '' }
    // The registry answers nothing before the command has said that it waits, and is then asked again.
    const held: (() => void)[] = []
    registry.intercept = (_request, response) => {
      if (said.stderr !== '') return false
      held.push(() => response.writeHead(503, { 'retry-after': '0' }).end())
      return true
    }
    const code = await main([command, '--data', data, '--output', form, image], {
      stdout: (text) => (said.stdout += text),
      stderr: (text) => {
        said.stderr += text
        for (const answer of held.splice(0)) answer()
      },
      interactive: false,
      environment: process.env,
    })
    t.equal(code, 0, said.stderr)
    t.match(said.stderr, wanted)
    t.doesNotThrow(() => void JSON.parse(form === 'json' ? said.stdout : '0'), 'stdout is clean')
  }
})
