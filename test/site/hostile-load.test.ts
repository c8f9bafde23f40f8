import { readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { call } from '../support/call.ts'
import { startSite, temporaryDirectory, type Site } from '../support/site.ts'

const MEGABYTE = 1024 * 1024

async function memory(site: Site): Promise<number> {
  const status = await readFile(`/proc/${site.process.pid ?? ''}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) * 1024
}

/** How long the service takes for the least that it can be asked. Milliseconds. */
async function pause({ url }: Site): Promise<number> {
  const started = performance.now()
  await call(`${url}/ping`)
  return performance.now() - started
}

await t.test('requests that are made to cost much', async (t) => {
  const site = await startSite(await temporaryDirectory(t))
  t.teardown(() => site.stop())

  await t.test('a body that is all brackets does not stop the service', async (t) => {
    const body = `{"hash":[${'{},'.repeat(10_000_000)}0]}`
    const asked = call(`${site.url}/api/v1/index/retrieve`, { body })
    await delay(200)
    const paused = await pause(site)
    const { status, text } = await asked
    t.equal(status, 400, text)
    t.match(text, /holds more than 20000 values/)
    t.ok(paused < 2_000, `another request waited ${paused} ms`)
  })

  await t.test('many large bodies at a time are refused, small ones are not', async (t) => {
    const before = await memory(site)
    const port = Number(new URL(site.url).port)
    const senders = Array.from({ length: 24 }, () => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write(
        'POST /v1/verify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 33000000\r\n\r\n',
      )
      socket.write(Buffer.alloc(30_000_000, 0x20))
      return socket
    })
    while (senders.some(({ writableLength }) => writableLength > 0)) await delay(50)
    const grown = (await memory(site)) - before
    t.ok(grown < 500 * MEGABYTE, `${Math.round(grown / MEGABYTE)} MiB for 720 MB of bodies`)
    const small = await call(`${site.url}/api/v1/index/retrieve`, {
      body: { hash: 'a'.repeat(64) },
    })
    t.equal(small.status, 200)
    const large = await call(`${site.url}/api/v1/index/retrieve`, {
      body: `{"hash":"${'a'.repeat(64)}"}${' '.repeat(30 * MEGABYTE)}`,
    })
    t.equal(large.status, 503)
    t.equal(large.headers['retry-after'], '1')
    for (const socket of senders) socket.destroy()
    await delay(500)
    const again = await call(`${site.url}/api/v1/index/retrieve`, {
      body: `{"hash":"${'a'.repeat(64)}"}${' '.repeat(30 * MEGABYTE)}`,
    })
    t.equal(again.status, 200, again.text)
  })
})
