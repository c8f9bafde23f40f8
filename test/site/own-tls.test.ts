import { X509Certificate } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import t from 'tap'
import { listen } from '../../src/http/index.ts'
import { issueServerTls } from '../../src/own-tls.ts'
import { temporaryDirectory } from '../support/site.ts'

const DAY = 86_400_000

t.test('a certificate for the names, by an authority that is made once', async (t) => {
  const directory = await temporaryDirectory(t)
  const now = Date.now()
  const options = {
    directory,
    names: ['airseal-admission.airseal.svc', '127.0.0.1'],
    clock: () => now,
  }
  const [first, second] = [await issueServerTls(options), await issueServerTls(options)]
  const [leaf, again] = [first, second].map(({ cert }) => new X509Certificate(cert))
  const ca = new X509Certificate(first.cert.slice(first.cert.indexOf('-----BEGIN', 10)))
  t.equal(leaf?.checkHost('airseal-admission.airseal.svc'), 'airseal-admission.airseal.svc')
  t.equal(leaf?.checkIP('127.0.0.1'), '127.0.0.1')
  t.ok(leaf?.verify(ca.publicKey) && again?.verify(ca.publicKey))
  t.not(leaf?.serialNumber, again?.serialNumber)
  t.ok(ca.ca)
  t.ok(first.renewAt > now && first.renewAt < now + 4 * DAY)
})

t.test('an authority without its key, or of another, is refused', async (t) => {
  const [a, b] = [await temporaryDirectory(t), await temporaryDirectory(t)]
  const of = (directory: string) => issueServerTls({ directory, names: ['x'], clock: Date.now })
  await of(a)
  const { cert } = await of(b)
  await writeFile(join(a, 'ca.crt'), cert.slice(cert.indexOf('-----BEGIN', 10)))
  await t.rejects(of(a), { code: 'CONFIG_INVALID' })
  const c = await temporaryDirectory(t)
  await writeFile(join(c, 'ca.crt'), 'x')
  await t.rejects(of(c), { code: 'CONFIG_INVALID' })
})

t.test('a certificate is exchanged under load without one failed request', async (t) => {
  const directory = await temporaryDirectory(t)
  const options = { directory, names: ['127.0.0.1'], clock: Date.now }
  const first = await issueServerTls(options)
  const server = await listen(
    (_request, response) => {
      response.end('ok')
    },
    { host: '127.0.0.1', port: 0, tls: first },
  )
  t.teardown(() => server.close())
  const ca = first.cert.slice(first.cert.indexOf('-----BEGIN', 10))
  const seen = new Set<string>()
  const ask = () =>
    new Promise<number>((resolve, reject) => {
      const asked = request(`${server.url}/`, { ca, agent: false }, (answer) => {
        seen.add(
          (
            answer.socket as unknown as { getPeerCertificate(): { serialNumber: string } }
          ).getPeerCertificate().serialNumber,
        )
        answer.resume()
        answer.once('end', () => resolve(answer.statusCode ?? 0))
      })
      asked.once('error', reject)
      asked.end()
    })
  for (let round = 0; round < 4; round++) {
    const answers = await Promise.all([
      ask(),
      ask(),
      issueServerTls(options).then((next) => (server.replaceTls(next), 200)),
      ask(),
    ])
    t.strictSame(answers, [200, 200, 200, 200])
  }
  t.ok(seen.size >= 3, `${seen.size} certificates were seen`)
})
