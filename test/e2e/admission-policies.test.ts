import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { needs } from '../support/programs.ts'
import { startRegistry } from '../support/registries.ts'
import { clusterPolicy, keyAttestor, pod, yaml } from '../admission/support/cluster-policies.ts'
import { said, startPlace } from './support/place.ts'

t.test('policies are added, linted, tested and enforced', needs('crane'), async (t) => {
  const place = await startPlace(t)
  const { host } = await startRegistry(t, 'crane')
  const [key, rekor] = await Promise.all(
    ['cosign.pub', 'rekor.pub'].map((name) => readFile(place.site.file(name), 'utf8')),
  )
  const signed = await place.push(host)
  const unsigned = await place.push(host)
  t.equal((await place.site.airseal(['sign', signed.reference])).code, 0)
  const policy = clusterPolicy({
    references: [`${host}/*`],
    attestors: [{ entries: [keyAttestor(key!, rekor!, place.site.url)] }],
  })
  const policyFile = join(place.directory, 'policy.yaml')
  const podFile = join(place.directory, 'pod.yaml')
  await writeFile(policyFile, yaml(policy))
  const judge = async (image: string) => {
    await writeFile(podFile, yaml(pod([image])))
    return place.site.airseal(['policy', 'test', policyFile, '--resource', podFile])
  }

  await t.test('lint finds nothing in a policy that needs no Internet', async (t) => {
    const done = await place.site.airseal(['policy', 'lint', policyFile])
    t.equal(done.code, 0, said(done))
  })
  await t.test('test allows what is signed, and pins its tag', async (t) => {
    const done = await judge(`${signed.repository}:v1`)
    t.equal(done.code, 0, said(done))
    t.match(done.stdout, `:v1@${signed.index}`)
  })
  await t.test('test denies what is not', async (t) => {
    const done = await judge(`${unsigned.repository}:v1`)
    t.equal(done.code, 1, said(done))
    t.match(done.stdout, /NO_SIGNATURES/)
  })
  await t.test('a policy that was added is enforced', async (t) => {
    const added = await place.site.airseal(['policy', 'add', policyFile])
    t.equal(added.code, 0, said(added))
    for (const [image, allowed] of [
      [signed.reference, true],
      [unsigned.reference, false],
    ] as const) {
      const object = pod([image])
      const review = {
        apiVersion: 'admission.k8s.io/v1',
        kind: 'AdmissionReview',
        request: {
          uid: 'u1',
          kind: { group: '', version: 'v1', kind: 'Pod' },
          resource: { group: '', version: 'v1', resource: 'pods' },
          operation: 'CREATE',
          namespace: 'default',
          object,
          oldObject: null,
          userInfo: { username: 'admin' },
        },
      }
      const answer = await fetch(`${place.site.url}/admission/validate?timeout=10s`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(review),
      })
      t.equal(answer.status, 200)
      const body = (await answer.json()) as {
        response: { uid: string; allowed: boolean; status?: { message: string } }
      }
      t.equal(body.response.uid, 'u1')
      t.equal(body.response.allowed, allowed, JSON.stringify(body))
    }
  })
})
