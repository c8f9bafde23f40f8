import { readFile } from 'node:fs/promises'
import t from 'tap'

const root = new URL('../../', import.meta.url)
const read = (path: string): Promise<string> => readFile(new URL(path, root), 'utf8')

await t.test('every test that the list of advisories names is there', async (t) => {
  const rows = (await read('docs/advisories.md')).matchAll(
    /\| `([a-z0-9/-]+\.test\.ts)`: (.+) \|$/gm,
  )
  let named = 0
  for (const [, file = '', title = ''] of rows) {
    named++
    const text = (await read(`test/${file}`)).replaceAll("\\'", "'")
    t.ok(text.includes(`'${title}'`), `test/${file}: ${title}`)
  }
  t.ok(named > 25, `${named} tests`)
})
