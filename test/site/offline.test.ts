import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { call } from '../support/call.ts'
import { startPlainRegistry } from '../support/plain-registry.ts'
import { registryImage } from '../support/registry-image.ts'
import { needs, requiredProgram } from '../support/programs.ts'
import { AIRSEAL, freePort, run, startSite, temporaryDirectory } from '../support/site.ts'

interface Result {
  readonly outcome: string
  readonly reason: string | null
  readonly source: string | null
}

const POLICY = `
apiVersion: airseal/v1
kind: VerificationPolicy
metadata: { name: release }
spec:
  signatures: { keys: [signing] }
  attestations:
    - type: cyclonedx
      conditions:
        - predicate.bomFormat == 'CycloneDX'
`

await t.test('known images, policies and evidence, with the registry and without', async (t) => {
  t.setTimeout(120_000)
  const directory = await temporaryDirectory(t)
  const registry = await startPlainRegistry()
  t.teardown(() => registry.stop())
  const site = await startSite(join(directory, 'data'))
  t.teardown(() => site.stop())
  const image = await registryImage(`${registry.address}/team/app:1`)
  const unsigned = await registryImage(`${registry.address}/team/app:2`)
  const sbom = join(directory, 'sbom.json')
  await writeFile(sbom, '{"bomFormat":"CycloneDX"}')
  const policy = join(directory, 'release.yaml')
  await writeFile(policy, POLICY)
  t.equal((await site.airseal(['sign', image.reference])).code, 0)

  await t.test('a policy is added, listed, shown and tested', async (t) => {
    t.equal(
      (await site.airseal(['policy', 'test', policy, image.reference])).code,
      12,
      'no SBOM yet',
    )
    t.equal(
      (await site.airseal(['attest', '--type', 'cyclonedx', '--predicate', sbom, image.reference]))
        .code,
      0,
    )
    t.equal(
      (await site.airseal(['policy', 'test', policy, image.reference])).code,
      0,
      'from a file',
    )
    t.match(await site.airseal(['policy', 'add', policy]), {
      code: 0,
      stdout: /release.*revision 1/,
    })
    t.match(await site.airseal(['policy', 'add', policy]), { code: 0, stdout: /revision 2/ })
    t.match(await site.airseal(['policy', 'list']), { code: 0, stdout: /release/ })
    t.match(await site.airseal(['policy', 'show', 'release']), { code: 0, stdout: /cyclonedx/ })
    t.match(await site.airseal(['policy', 'test', 'release', image.reference]), {
      code: 0,
      stdout: /verified\n {2}met {6}signatures.*\n {2}met {6}cyclonedx/,
    })
    t.match(await site.airseal(['policy', 'test', 'release', unsigned.reference]), {
      code: 10,
      stdout: /NO_SIGNATURES/,
    })
    t.match(await site.airseal(['policy', 'show', 'absent']), { code: 1, stderr: /POLICY_UNKNOWN/ })
    t.match(await site.airseal(['policy', 'burn', 'release']), { code: 2, stderr: /USAGE/ })
  })

  await t.test('evidence is listed for those who may sign', async (t) => {
    const found = await call(`${site.url}/v1/evidence/${image.digest}`)
    t.match(found, {
      status: 200,
      json: {
        digest: image.digest,
        pieces: [
          { source: 'signed', format: 'legacy' },
          { format: 'bundle' },
          { kind: 'attestation' },
          {},
        ],
      },
    })
    t.match(
      await call(`${site.url}/v1/evidence/${image.digest}`, { headers: { host: 'evil.example' } }),
      { status: 403 },
    )
    t.match(await call(`${site.url}/v1/evidence/sha256:00`), { status: 400 })
    t.match(await call(`${site.url}/v1/evidence/sha256:${'0'.repeat(64)}`), {
      status: 200,
      json: { pieces: [] },
    })
  })

  await t.test(
    'the same question gets the same bytes, and an addition to the question is another',
    async (t) => {
      const ask = (body: unknown) => call(`${site.url}/v1/verify`, { body })
      const first = await ask({ images: [image.reference] })
      t.match(first, { status: 200, json: { results: [{ outcome: 'verified', source: 'local' }] } })
      const again = await ask({ images: [image.reference] })
      t.equal(again.text, first.text)
      t.equal(again.headers['cache-control'], 'no-store')
      t.match(await ask({ images: [image.reference], annotations: { a: 'b' } }), {
        json: { results: [{ outcome: 'rejected' }] },
      })
      t.match(
        await call(`${site.url}/v1/verify`, {
          body: JSON.stringify({ images: [image.reference] }),
          headers: { 'content-type': 'text/plain' },
        }),
        { status: 415 },
      )
    },
  )

  await site.stop()
  await registry.stop()

  await t.test(
    'in a network namespace without a route, verdicts for known digests send no packet',
    {
      ...needs('unshare', 'ip'),
      ...(process.getuid?.() === 0 ? {} : { skip: 'a network namespace takes root' }),
    },
    async (t) => {
      const port = await freePort()
      const inside = spawn(
        requiredProgram('unshare'),
        [
          '-n',
          'sh',
          '-c',
          `ip link set lo up && exec "$0" serve --data "$1" --listen 127.0.0.1:${port}`,
          AIRSEAL,
          site.data,
        ],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      )
      const ended = new Promise((resolve) => inside.once('close', resolve))
      t.teardown(async () => {
        inside.kill('SIGTERM')
        await ended
      })
      await new Promise<void>((resolve) => {
        inside.stdout.on('data', (chunk: Buffer) => {
          if (chunk.includes('airseal serves')) resolve()
        })
      })
      /** Packets sent and received in the namespace, and connections tried: all interfaces. */
      const packets = async (): Promise<number> => {
        const table = await readFile(`/proc/${inside.pid ?? 0}/net/dev`, 'utf8')
        return table
          .split('\n')
          .slice(2)
          .reduce((sum, line) => {
            const fields = line.trim().split(/\s+/)
            return sum + Number(fields[2] ?? 0) + Number(fields[10] ?? 0)
          }, 0)
      }
      const socketPath = join(site.data, 'airseal.sock')
      const ask = async (body: unknown): Promise<Result[]> => {
        const { json } = await call('http://airseal/v1/verify', { socketPath, body })
        return (json as { results: Result[] }).results
      }
      const elsewhere = `registry.example:5000/other/name@${image.digest}`
      for (let round = 0; round < 3; round++) {
        t.match(await ask({ images: [image.reference, elsewhere], key: 'signing' }), [
          { outcome: 'verified', source: 'local' },
          { outcome: 'verified', source: 'local' },
        ])
        t.match(await ask({ images: [image.reference], policy: 'release' }), [
          { outcome: 'verified' },
        ])
        t.match(
          await ask({
            images: [image.reference],
            type: 'cyclonedx',
            conditions: ["predicate.bomFormat == 'CycloneDX'"],
          }),
          [{ outcome: 'verified' }],
        )
      }
      t.equal(await packets(), 0)
      t.match(await ask({ images: [unsigned.reference] }), [
        { outcome: 'error', reason: 'REGISTRY_UNREACHABLE' },
      ])
      t.ok((await packets()) > 0, 'the counter counts: this one asked the registry, on loopback')
      const verify = await run(AIRSEAL, ['verify', '--data', site.data, image.reference])
      t.equal(
        verify.code,
        0,
        `the command asks the registry, then takes what is known: ${verify.stderr}`,
      )
    },
  )
})
