import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { parse, parseAllDocuments } from 'yaml'
import { fromUtf8, publicKeyFromPem, publicKeyFromSpki, sha256Hex } from '../../src/core/index.ts'
import { parseTrustedRoot } from '../../src/sigstore/index.ts'
import {
  bundleFile,
  compileTrustFiles,
  parseTrustBundle,
  TRUST_FORMATS,
  type TrustDocument,
  type TrustFile,
} from '../../src/trust/index.ts'
import { CREATED, document, rootWithLog, seal, signerKey, testKey } from './support/fixture.ts'

const [root, log, farLog] = [testKey('root'), testKey('log'), testKey('far-log')]
const [now, old, far, vendor] = [testKey('now'), testKey('old'), testKey('far'), testKey('vendor')]
const revokedDigest = `sha256:${'cd'.repeat(32)}`

const inner = seal(
  document([root], far, farLog, {
    enclave: 'far.test',
    trustedRoot: rootWithLog(farLog.key, 'http://far.test'),
  }),
  [root],
)
const full: Partial<TrustDocument> = {
  keys: [signerKey(old, { state: 'verify-only' }), signerKey(now)],
  foreign: [
    { kind: 'enclave', name: 'far.test', fetched: CREATED, source: 'medium', bundle: inner },
    { kind: 'key', name: 'vendor', fetched: CREATED, source: 'mail', key: vendor.key },
  ],
  revocations: {
    keys: [],
    images: [{ digest: revokedDigest, repository: 'r.test/team/app', reason: 'vulnerable' }],
    entries: [],
  },
  policies: [
    { name: 'all', scope: '*', keys: null },
    { name: 'vendor', scope: 'r.test/vendor', keys: ['vendor', 'now'] },
  ],
  tuf: { mirror: 'http://airseal.test:8470/tuf', root: new Uint8Array([123, 125]) },
}

function compile(changes: Partial<TrustDocument> = full): ReadonlyMap<string, TrustFile> {
  return compileTrustFiles(seal(document([root], now, log, changes), [root]))
}

function text(files: ReadonlyMap<string, TrustFile>, name: string): string {
  return fromUtf8(files.get(name)?.bytes ?? new Uint8Array(), name)
}

await t.test('the same bundle gives the same bytes, also after it was written and read', (t) => {
  const bundle = seal(document([root], now, log, full), [root])
  const [once, again] = [bundle, parseTrustBundle(bundleFile(bundle))].map(compileTrustFiles)
  t.same([...(once?.keys() ?? [])], [...(again?.keys() ?? [])])
  for (const [name, { bytes }] of once ?? [])
    t.same(Buffer.from(bytes), Buffer.from(again?.get(name)?.bytes ?? []), name)
  t.end()
})

await t.test('each file says which version it is from, or the list of files does', (t) => {
  const files = compile()
  const list = JSON.parse(text(files, 'trust-files.json')) as {
    sha256: Record<string, string>
    'airseal-trust-version': string
  }
  t.equal(list['airseal-trust-version'], '1')
  for (const [name, { bytes, contentType }] of files) {
    if (name !== 'trust-files.json') t.equal(list.sha256[name], sha256Hex(bytes), name)
    if (contentType === 'application/yaml') {
      t.match(text(files, name), /^# Made by airseal from trust version 1 of airseal\.test/, name)
      for (const document of parseAllDocuments(text(files, name))) {
        const object = document.toJS() as { kind?: string; metadata?: { annotations: object } }
        if (object.kind !== undefined)
          t.match(object.metadata?.annotations, { 'airseal-trust-version': '1' }, name)
      }
    }
  }
  t.match(text(files, 'containers-policy.json'), '"airseal-trust-version=1"')
  for (const name of TRUST_FORMATS.values()) t.ok(files.has(name), name)
  t.end()
})

await t.test(
  'keys that sign come first, then those that only verify, then those of carried enclaves, and vendors only where named',
  (t) => {
    const files = compile()
    const pems = text(files, 'keys.pem').match(/-----BEGIN[^]*?END PUBLIC KEY-----\n/g) ?? []
    t.same(
      pems.map((pem) => publicKeyFromPem(pem).id),
      [now, old, far].map(({ key }) => key.id),
    )
    t.equal(publicKeyFromPem(text(files, 'cosign.pub')).id, now.key.id)
    t.equal(publicKeyFromPem(text(files, 'rekor.pub')).id, log.key.id)
    t.equal(publicKeyFromPem(text(files, 'foreign-vendor.pub')).id, vendor.key.id)
    t.same(
      parseTrustedRoot(text(files, 'trusted_root.json')).logs.map(({ logId }) => logId),
      [log.key.id, farLog.key.id],
    )
    const policy = JSON.parse(text(files, 'containers-policy.json')) as {
      default: { keyDatas: string[] }[]
      transports: { docker: Record<string, { type: string; keyDatas?: string[] }[]> }
    }
    t.same(
      policy.default.map(({ keyDatas }) => keyDatas.length),
      [3],
    )
    const { docker } = policy.transports
    t.same(
      docker['r.test/vendor']?.map(({ keyDatas }) => keyDatas?.length),
      [3, 2],
      'both policies hold',
    )
    t.same(docker[`r.test/team/app@${revokedDigest}`], [{ type: 'reject' }])
    t.end()
  },
)

await t.test(
  'a revoked or compromised key is in no file, and without any key everything is refused',
  (t) => {
    const revocations = {
      keys: [{ keyId: old.key.id, from: { logId: log.key.id, index: 7 }, reason: 'stolen' }],
      images: [],
      entries: [],
    }
    const gone = compile({ ...full, revocations })
    const none = compile({
      keys: [signerKey(now, { state: 'compromised' }), signerKey(old, { state: 'retired' })],
    })
    for (const [name] of gone) {
      if (name === 'trust-bundle.json') continue
      t.notMatch(text(gone, name), old.key.pem.split('\n')[1] ?? '', name)
    }
    t.notOk(none.has('cosign.pub'))
    for (const [name] of none) {
      if (name === 'trust-bundle.json') continue
      t.notMatch(text(none, name), now.key.pem.split('\n')[1] ?? '', name)
    }
    t.same((JSON.parse(text(none, 'containers-policy.json')) as { default: unknown }).default, [
      { type: 'reject' },
    ])
    t.match(text(none, 'policy-controller-clusterimagepolicy.yaml'), /action: fail/)
    t.match(text(none, 'kyverno-clusterpolicy.yaml'), /deny:/)
    t.match((parse(text(none, 'connaisseur-values.yaml')) as { application: object }).application, {
      validators: [{ type: 'static', approve: false }],
    })
    t.end()
  },
)

await t.test('where there is no authority, one stands in that nobody can use', (t) => {
  const files = compile()
  const key = publicKeyFromPem(text(files, 'ctfe.pub'))
  t.equal(
    Buffer.from(key.point.subarray(1, 33)).toString('hex'),
    sha256Hex('airseal: a key that nobody has, 2'),
  )
  const certificate = new X509Certificate(text(files, 'fulcio.crt.pem'))
  t.equal(
    publicKeyFromSpki(certificate.publicKey.export({ format: 'der', type: 'spki' })).id,
    key.id,
  )
  t.notOk(certificate.verify(certificate.publicKey))
  t.ok(certificate.validToDate.getTime() < CREATED)
  t.end()
})
