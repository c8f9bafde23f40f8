import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createKey } from '../../keys/index.ts'
import { buildImage } from '../../scripts/demo/image.ts'
import { softhsmPlace } from '../keys/support/softhsm.ts'
import { needs } from '../support/programs.ts'
import { AIRSEAL, run, startSite, temporaryDirectory } from '../support/site.ts'

await t.test('both keys in an HSM', { ...needs('softhsm2-util'), timeout: 120_000 }, async (t) => {
  const place = softhsmPlace(t)
  const directory = await temporaryDirectory(t)
  place.initialise('appliance')
  const uri = (name: string): string => place.uri('appliance', name)
  for (const name of ['signing', 'log', 'other']) await createKey(uri(name), 'ecdsa-p256')
  await createKey(uri('large'), 'ecdsa-p384')
  await createKey(uri('edwards'), 'ed25519')
  const config = join(directory, 'airseal.yaml')
  const configure = (signing: string): void => {
    writeFileSync(config, `keys:\n  signing: "${uri(signing)}"\n  log: "${uri('log')}"\n`)
  }
  const layout = join(directory, 'image')
  const image = `oci:${layout}@${await buildImage(layout)}`
  const data = join(directory, 'data')

  await t.test('an image is signed, logged and verified; no key file is made', async (t) => {
    configure('signing')
    const site = await startSite(data, ['--config', config])
    t.teardown(() => site.stop())
    t.match(await site.airseal(['sign', image]), { code: 0 })
    t.match(await site.airseal(['verify', image]), { code: 0 })
    t.match(await site.airseal(['fsck']), { code: 0 })
    const offline = [
      '--key',
      site.file('cosign.pub'),
      '--trusted-root',
      site.file('trusted_root.json'),
    ]
    t.match(await run(AIRSEAL, ['verify', ...offline, image]), { code: 0 })
    t.throws(() => {
      mkdirSync(join(data, 'keys'))
    }, 'the folder is there, for a passphrase')
    t.match(await run('ls', [join(data, 'keys')]), { stdout: /^(?!.*(?:cosign|rekor)\.key)/s })
  })

  await t.test(
    'another key behind the same place is refused, and the old one goes on',
    async (t) => {
      configure('other')
      const refused = await run(AIRSEAL, ['serve', '--data', data, '--config', config])
      t.match(refused, { code: 3, stderr: /KEY_CHANGED/ })
      configure('signing')
      const site = await startSite(data, ['--config', config])
      t.match(await site.airseal(['verify', image]), { code: 0 })
      t.match(await site.stop(), { code: 0 })
    },
  )

  await t.test('a key that verifiers could not follow is refused at the first start', async (t) => {
    for (const name of ['large', 'edwards']) {
      configure(name)
      const second = join(directory, 'second')
      const refused = await run(AIRSEAL, ['init', '--data', second, '--config', config])
      t.match(refused, { stderr: /KEY_UNSUPPORTED/ })
      t.not(refused.code, 0)
    }
  })
})
