import t from 'tap'
import { AIRSEAL, run } from '../support/site.ts'

await t.test('a token is not sent to another machine without TLS', async (t) => {
  const image = `registry.example/app@sha256:${'0'.repeat(64)}`
  const env = { AIRSEAL_TOKEN: 'a-token-of-more-than-twenty-characters' }
  const verify = (server: string) => run(AIRSEAL, ['verify', '--server', server, image], { env })
  const refused = await verify('http://192.0.2.1:9')
  t.equal(refused.code, 2)
  t.match(refused.stderr, /over https only \[USAGE\]/)
  for (const server of ['http://127.0.0.1:9', 'http://[::1]:9', 'http://localhost:9']) {
    const { stderr } = await verify(server)
    t.match(stderr, /\[SERVER_UNREACHABLE\]/, server)
  }
})
