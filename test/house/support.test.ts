import { execFileSync } from 'node:child_process'
import t from 'tap'
import { buildImage, pushImage } from '../support/image.ts'
import { needs, pinnedVersion, requiredProgram } from '../support/programs.ts'
import { startRegistry, type RegistryKind } from '../support/registries.ts'

t.test('the version of a program is the one that .ci/install-clients names', (t) => {
  t.match(pinnedVersion('crane'), /^v\d+\.\d+\.\d+$/)
  t.equal(pinnedVersion('no-such-program'), null)
  t.end()
})

const KINDS: readonly RegistryKind[] = ['crane', 'referrers-registry', 'docker-registry']

for (const kind of KINDS) {
  t.test(
    `${kind} takes the small image for two platforms and gives it back whole`,
    needs('crane', kind),
    async (t) => {
      const registry = await startRegistry(t, kind)
      const image = await buildImage(t.testdir({}))
      await pushImage(image, `${registry.host}/app:v1`)
      const crane = (...args: string[]): string =>
        execFileSync(requiredProgram('crane'), args, { encoding: 'utf8', timeout: 30_000 }).trim()
      t.equal(crane('digest', `${registry.host}/app:v1`), image.index)
      for (const manifest of image.manifests)
        crane('validate', '--remote', `${registry.host}/app@${manifest}`)
      const referrers = await fetch(`http://${registry.host}/v2/app/referrers/${image.index}`)
      t.equal(referrers.ok, kind === 'referrers-registry', 'only one of them has the referrers API')
      await referrers.body?.cancel()
    },
  )
}
