import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import {
  digestOf,
  sha256Hex,
  toBase64,
  utf8,
  type Digest,
  type JsonObject,
} from '../../src/core/index.ts'
import {
  attestationStatement,
  bundleText,
  dsseProposal,
  envelopeText,
  hashedrekordProposal,
  pae,
  parseBundle,
  parseEntryBody,
  parseEnvelope,
  parseRekorBundleAnnotation,
  parseSimpleSigning,
  parseStatement,
  parseTrustedRoot,
  predicateOf,
  PREDICATE_NAMES,
  predicateTypeUri,
  rekorBundleAnnotation,
  signedEntryTimestampPayload,
  signingConfigText,
  signStatement,
  simpleSigningPayload,
  trustedRootText,
} from '../../src/sigstore/index.ts'
import { attest, bundleOf, signBundle, testKey, TestLog } from '../support/evidence.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const digest = digestOf(utf8('an image'))
const key = testKey()
const log = new TestLog()
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString()

void t.test('a simple-signing payload is byte for byte cosign’s', async (t) => {
  const known = simpleSigningPayload({
    repository: 'example.com/test/image',
    digest: `sha256:${'d34db33f'.repeat(8)}`,
  })
  t.equal(known.length, 238)
  t.equal(sha256Hex(known), '9614e9e77d11eccb144b2f69be2164b0a7311fcccb97f01424f2ae3aee74b8d6')
  const annotated = simpleSigningPayload({
    repository: 'r/x',
    digest,
    annotations: {
      b: '<&>',
      a: 'line\u2028',
      '\u{10000}': 'astral',
      '\uffee': 'bmp',
      __proto__: 'own',
    },
  })
  t.ok(
    textOf(annotated).endsWith(
      '"optional":{"a":"line\\u2028","b":"\\u003c\\u0026\\u003e","\uffee":"bmp","\u{10000}":"astral"}}',
    ),
    'escaped as Go does, sorted by UTF-8 bytes',
  )
  t.match(parseSimpleSigning(annotated), { reference: 'r/x', digest, optional: { b: '<&>' } })
})

void t.test(
  'the payloads that real tools signed are read, and made again byte for byte',
  NEEDS_VECTORS,
  async (t) => {
    const file = join(vectorsDirectory() ?? '', 'cosign-legacy', 'index.json')
    const { cases } = JSON.parse(readFileSync(file, 'utf8')) as {
      cases: {
        manifestDigest: Digest
        signatures: { payload: string; dockerReference: string }[]
      }[]
    }
    for (const { manifestDigest, signatures } of cases) {
      for (const { payload, dockerReference } of signatures) {
        const read = parseSimpleSigning(utf8(payload))
        t.match(read, { digest: manifestDigest, reference: dockerReference })
        if (Object.keys(read.optional).length > 0) continue
        const made = simpleSigningPayload({ repository: dockerReference, digest: manifestDigest })
        if (payload.includes('"optional":null')) t.equal(textOf(made), payload)
      }
    }
  },
)

void t.test('the bytes that an envelope signs count bytes, not characters', async (t) => {
  t.equal(
    textOf(pae('http://example.com/HelloWorld', utf8('hello world'))),
    'DSSEv1 29 http://example.com/HelloWorld 11 hello world',
  )
  t.equal(textOf(pae('ä', utf8('ö'))), 'DSSEv1 2 ä 2 ö')
  t.equal(textOf(pae('', new Uint8Array())), 'DSSEv1 0  0 ')
})

void t.test('an envelope is read back as it was written', async (t) => {
  const envelope = {
    payloadType: 'text/plain',
    payload: utf8('<x>'),
    signatures: [{ sig: utf8('s'), keyid: '' }],
  }
  const text = envelopeText(envelope)
  t.equal(
    text,
    '{"payload":"PHg+","payloadType":"text/plain","signatures":[{"sig":"cw==","keyid":""}]}',
  )
  t.match(parseEnvelope(text), { payloadType: 'text/plain', signatures: [{ keyid: '' }] })
  t.same(textOf(parseEnvelope(text).payload), '<x>')
  t.match(
    parseEnvelope(text.replace('PHg+', 'PHg-')),
    { payloadType: 'text/plain' },
    'URL-safe base64 is read',
  )
  for (const bad of [
    text.replace('PHg+', 'PHg+ '),
    text.replace('"cw=="', '""'),
    text.replace('[{"sig":"cw==","keyid":""}]', '[]'),
    text.replace('[{"sig":"cw==","keyid":""}]', '[null]'),
    text.replace('"payloadType":"text/plain",', ''),
    text.replace('"payload":"PHg+",', ''),
    text.replace('{"payload"', '{"payload":"eA==","payload"'),
    `${text}{}`,
    'null',
    '[]',
  ]) {
    t.throws(() => parseEnvelope(bad), { code: 'BUNDLE_INVALID' }, bad)
  }
})

void t.test(
  'statements: of signatures v1 without name, of attestations v0.1 with it',
  async (t) => {
    const hex = digest.slice(7)
    t.equal(
      textOf(signStatement(digest, { b: '2', a: '1' })),
      `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"${hex}"},"annotations":{"a":"1","b":"2"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`,
    )
    t.notMatch(textOf(signStatement(digest)), 'annotations')
    const made = attestationStatement({
      subjectName: 'r/x',
      digest,
      predicateType: 'https://a/b',
      predicate: { p: [1] },
    })
    const read = parseStatement(made)
    t.match(read, {
      type: 'https://in-toto.io/Statement/v0.1',
      predicateType: 'https://a/b',
      predicate: { p: [1] },
      subjects: [{ name: 'r/x' }],
    })
    t.equal(read.subjects[0]?.digest.get('sha256'), hex)
    const many = {
      ...(JSON.parse(textOf(made)) as JsonObject),
      subject: Array.from({ length: 1025 }, () => ({ digest: { sha256: hex } })),
    }
    t.throws(
      () => parseStatement(utf8(JSON.stringify(many))),
      { code: 'BUNDLE_INVALID' },
      'more subjects than are read',
    )
  },
)

const fit: Readonly<Record<string, string>> = {
  custom: 'any text, "not" JSON',
  slsaprovenance: '{"builder":{"id":"b"},"buildType":"t"}',
  slsaprovenance02: '{"builder":{"id":"b"},"buildType":"t"}',
  slsaprovenance1: '{"buildDefinition":{},"runDetails":{}}',
  spdx: 'SPDXVersion: SPDX-2.3',
  spdxjson: '{"spdxVersion":"SPDX-2.3"}',
  cyclonedx: '{"bomFormat":"CycloneDX"}',
  link: '{"name":"step"}',
  vuln: '{"invocation":{},"scanner":{},"metadata":{}}',
  openvex: '{"@context":"https://openvex.dev/ns/v0.2.0","statements":[]}',
  'https://example.com/type': '{}',
}

void t.test('every predicate type takes its documents and refuses others', async (t) => {
  const now = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  t.same(Object.keys(fit).slice(0, -1), PREDICATE_NAMES)
  for (const [type, text] of Object.entries(fit)) {
    const { predicateType, predicate } = predicateOf(type, utf8(text), now)
    t.equal(predicateType, predicateTypeUri(type))
    if (type === 'custom') t.same(predicate, { Data: text, Timestamp: '2026-01-02T03:04:05Z' })
    else if (type === 'spdx') t.equal(predicate, text)
    else t.same(predicate, JSON.parse(text), type)
    t.throws(
      () => predicateOf(type, Buffer.from([0xff]), now),
      { code: 'PREDICATE_INVALID' },
      `${type}: not UTF-8`,
    )
    if (type === 'custom' || type === 'spdx') continue
    for (const bad of ['', '[]', 'null', '"x"', '{"a":1,"a":2}', text.slice(0, -1)]) {
      t.throws(
        () => predicateOf(type, utf8(bad), now),
        { code: 'PREDICATE_INVALID' },
        `${type}: ${bad}`,
      )
    }
    if (type in fit && PREDICATE_NAMES.includes(type)) {
      t.throws(
        () => predicateOf(type, utf8('{}'), now),
        { code: 'PREDICATE_INVALID' },
        `${type}: empty object`,
      )
    }
  }
  t.throws(() => predicateOf('https://sigstore.dev/cosign/sign/v1', utf8('{}'), now), {
    code: 'PREDICATE_INVALID',
    message: /an attestation must not pass for one/,
  })
  const statement = '{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[]}'
  t.throws(() => predicateOf('https://example.com/type', utf8(statement), now), {
    code: 'PREDICATE_INVALID',
    message: /statement/,
  })
  for (const bad of ['', 'nonsense', 'https://a b', '//relative', 'https://a\n']) {
    t.throws(() => predicateTypeUri(bad), { code: 'PREDICATE_INVALID' }, bad)
  }
})

void t.test('proposed entries have the members that Rekor takes', async (t) => {
  const pem = key.publicKey.pem
  t.same(hashedrekordProposal({ sha256Hex: 'ab', signature: utf8('s'), publicKeyPem: pem }), {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm: 'sha256', value: 'ab' } },
      signature: { content: 'cw==', publicKey: { content: toBase64(utf8(pem)) } },
    },
  })
  t.same(dsseProposal({ envelopeText: '{}', publicKeyPem: pem }), {
    apiVersion: '0.0.1',
    kind: 'dsse',
    spec: { proposedContent: { envelope: '{}', verifiers: [toBase64(utf8(pem))] } },
  })
})

void t.test('the log annotation has Go’s member order and is read back strictly', async (t) => {
  const { entry } = signBundle(digest, key, log)
  const text = rekorBundleAnnotation(entry)
  t.match(
    text,
    /^\{"SignedEntryTimestamp":"[^"]+","Payload":\{"body":"[^"]+","integratedTime":\d+,"logIndex":\d+,"logID":"[0-9a-f]{64}"\}\}$/,
  )
  const read = parseRekorBundleAnnotation(text)
  t.same(
    { ...read, body: textOf(read.body) },
    { ...entry, body: textOf(entry.body), inclusionProof: null, set: Buffer.from(entry.set) },
  )
  t.same(signedEntryTimestampPayload(read), signedEntryTimestampPayload(entry))
  t.match(
    textOf(signedEntryTimestampPayload(entry)),
    /^\{"body":"[^"]+","integratedTime":\d+,"logID":"[0-9a-f]{64}","logIndex":\d+\}$/,
  )
  for (const [from, to] of [
    ['"logIndex":', '"logIndex":-'],
    ['"logIndex":', '"logIndex":1e30,"x":'],
    ['"logID":"', '"logID":"A'],
    ['"logID":"', '"logID":"","was":"'],
    ['"body":"', '"body":"-'],
    ['"Payload":', '"Payload":{},"Payload":'],
    ['"Payload":', '"more":1,"Payload":'],
    ['"SignedEntryTimestamp":"', '"SignedEntryTimestamp":"","x":"'],
  ] as const) {
    t.throws(
      () => parseRekorBundleAnnotation(text.replace(from, to)),
      { code: 'BUNDLE_INVALID' },
      to,
    )
  }
})

void t.test('a bundle is read back as it was written', async (t) => {
  const signed = signBundle(digest, key, log)
  const read = parseBundle(bundleOf(signed))
  t.match(read, {
    version: '0.3',
    material: { kind: 'publicKey', hint: Buffer.from(key.publicKey.id, 'hex').toString('base64') },
    timestamps: { length: 0 },
    content: { kind: 'dsse', envelope: { payloadType: signed.envelope.payloadType } },
  })
  const [entry] = read.entries
  t.match(entry, {
    logId: signed.entry.logId,
    logIndex: signed.entry.logIndex,
    kindVersion: { kind: 'dsse', version: '0.0.1' },
  })
  t.equal(entry?.inclusionProof?.checkpoint, signed.entry.inclusionProof.checkpoint)
  const message = bundleText({
    content: {
      kind: 'message',
      message: {
        messageDigest: { algorithm: 'sha256', digest: Buffer.alloc(32) },
        signature: utf8('s'),
      },
    },
    publicKeyHint: '',
    entry: null,
  })
  t.match(parseBundle(message), {
    entries: { length: 0 },
    content: { kind: 'message', message: { messageDigest: { algorithm: 'sha256' } } },
  })
})

void t.test('a bundle that breaks a rule of its version is refused', async (t) => {
  const good = bundleOf(signBundle(digest, key, log))
  interface Shape extends JsonObject {
    verificationMaterial: { tlogEntries: JsonObject[] } & JsonObject
    dsseEnvelope: { signatures: JsonObject[] } & JsonObject
  }
  const change = (edit: (bundle: Shape) => unknown): string => {
    const bundle = JSON.parse(good) as Shape
    edit(bundle)
    return JSON.stringify(bundle)
  }
  const entryOf = (bundle: Shape): JsonObject => bundle.verificationMaterial.tlogEntries[0]!
  const type = (version: string) => `application/vnd.dev.sigstore.bundle+json;version=${version}`
  for (const version of ['0.1', '0.2', '0.3']) {
    t.equal(parseBundle(change((bundle) => (bundle['mediaType'] = type(version)))).version, version)
  }
  t.ok(
    parseBundle(change((bundle) => (entryOf(bundle)['logIndex'] = 7))),
    'integers may be numbers',
  )
  t.ok(parseBundle(change((bundle) => (bundle['messageSignature'] = null))), 'null is absent')
  const bad: readonly ((bundle: Shape) => unknown)[] = [
    (bundle) => (bundle['mediaType'] = type('0.4')),
    (bundle) => (bundle['mediaType'] = null),
    (bundle) => (bundle['extra'] = 1),
    (bundle) => (bundle['messageSignature'] = { signature: 'cw==' }),
    (bundle) => Reflect.deleteProperty(bundle, 'dsseEnvelope'),
    (bundle) => (bundle.dsseEnvelope['extra'] = 1),
    (bundle) => bundle.dsseEnvelope.signatures.push({ sig: 'cw==', keyid: '' }),
    (bundle) => (bundle.dsseEnvelope.signatures = []),
    (bundle) => (bundle.verificationMaterial['certificate'] = { rawBytes: 'cw==' }),
    (bundle) => Reflect.deleteProperty(bundle.verificationMaterial, 'publicKey'),
    (bundle) => {
      Reflect.deleteProperty(bundle.verificationMaterial, 'publicKey')
      bundle.verificationMaterial['x509CertificateChain'] = { certificates: [{ rawBytes: 'cw==' }] }
    },
    (bundle) =>
      (bundle.verificationMaterial.tlogEntries = Array.from({ length: 33 }, () => entryOf(bundle))),
    (bundle) => (bundle.verificationMaterial.tlogEntries = [null as unknown as JsonObject]),
    (bundle) => (entryOf(bundle)['logIndex'] = '-1'),
    (bundle) => (entryOf(bundle)['logIndex'] = '01'),
    (bundle) => (entryOf(bundle)['logIndex'] = '9007199254740993'),
    (bundle) => (entryOf(bundle)['logIndex'] = 1.5),
    (bundle) => (entryOf(bundle)['logId'] = { keyId: 'cw==' }),
    (bundle) => Reflect.deleteProperty(entryOf(bundle), 'logId'),
    (bundle) => Reflect.deleteProperty(entryOf(bundle), 'kindVersion'),
    (bundle) => Reflect.deleteProperty(entryOf(bundle), 'inclusionProof'),
    (bundle) => Reflect.deleteProperty(entryOf(bundle), 'canonicalizedBody'),
    (bundle) => ((entryOf(bundle)['inclusionProof'] as JsonObject)['rootHash'] = 'cw=='),
    (bundle) =>
      ((entryOf(bundle)['inclusionProof'] as JsonObject)['hashes'] = Array.from(
        { length: 65 },
        () => toBase64(Buffer.alloc(32)),
      )),
    (bundle) => {
      bundle['mediaType'] = type('0.1')
      Reflect.deleteProperty(entryOf(bundle), 'inclusionPromise')
    },
  ]
  for (const edit of bad)
    t.throws(() => parseBundle(change(edit)), { code: 'BUNDLE_INVALID' }, String(edit))
  for (const text of [
    '',
    'null',
    '[]',
    '7',
    `${good} x`,
    good.replace('{"mediaType"', '{"mediaType":"x","mediaType"'),
    '['.repeat(1000),
  ]) {
    t.throws(() => parseBundle(text), { code: 'BUNDLE_INVALID' }, text.slice(0, 30))
  }
})

void t.test(
  'half-filled documents are refused with our code, wherever something is missing',
  async (t) => {
    const sources: readonly (readonly [(text: string) => unknown, string, string])[] = [
      [parseBundle, bundleOf(signBundle(digest, key, log)), 'BUNDLE_INVALID'],
      [
        parseTrustedRoot,
        trustedRootText({
          baseUrl: 'https://log.test',
          logPublicKey: key.publicKey,
          start: '2026-01-01T00:00:00Z',
        }),
        'TRUST_INVALID',
      ],
      [
        (text) => parseStatement(utf8(text)),
        textOf(signStatement(digest, { a: 'b' })),
        'BUNDLE_INVALID',
      ],
      [
        (text) => parseEntryBody(utf8(text)),
        textOf(signBundle(digest, key, log).entry.body),
        'ENTRY_INVALID',
      ],
    ]
    for (const [parse, text, code] of sources) {
      const document = JSON.parse(text) as JsonObject
      for (const replaced of replacements(document)) {
        try {
          parse(JSON.stringify(replaced))
        } catch (thrown) {
          t.equal((thrown as { code?: string }).code, code, (thrown as Error).message)
        }
      }
    }
  },
)

/** Copies of `value` in which one member, at any depth, is gone, null or of another type. */
function* replacements(value: unknown): Generator {
  if (typeof value !== 'object' || value === null) return
  for (const [name, member] of Object.entries(value)) {
    const put = (other: unknown): unknown =>
      Array.isArray(value)
        ? value.map((item: unknown, at) => (String(at) === name ? other : item))
        : { ...value, [name]: other }
    for (const other of [undefined, null, 7, 'text', [], {}, [null], true]) yield put(other)
    for (const inner of replacements(member)) yield put(inner)
  }
}

void t.test('entry bodies of the public log are read by their kind', NEEDS_VECTORS, async (t) => {
  const file = join(vectorsDirectory() ?? '', 'rekor-v1', 'index.json')
  const { vectors } = JSON.parse(readFileSync(file, 'utf8')) as {
    vectors: { name: string; kind: string; apiVersion: string; canonicalBody: string }[]
  }
  for (const { name, kind, apiVersion, canonicalBody } of vectors) {
    t.match(parseEntryBody(utf8(canonicalBody)), { kind, version: apiVersion }, name)
  }
  t.match(parseEntryBody(utf8('{"kind":"rpm","apiVersion":"0.0.1","spec":{}}')), {
    kind: 'other',
    name: 'rpm',
  })
  t.throws(() => parseEntryBody(utf8('{"kind":"rpm","apiVersion":"0.0.1"}')), {
    code: 'ENTRY_INVALID',
  })
})

void t.test(
  'a trusted root is read back as it was written, and needs a start and one id a log',
  async (t) => {
    const input = {
      baseUrl: 'https://log.test:8470',
      logPublicKey: key.publicKey,
      start: '2026-01-01T00:00:00Z',
    }
    const text = trustedRootText({ ...input, end: '2027-01-01T00:00:00.5+01:00' })
    const { logs } = parseTrustedRoot(text)
    t.match(logs, [{ baseUrl: input.baseUrl, logId: key.publicKey.id }])
    t.same(logs[0]?.validFor, {
      start: Date.UTC(2026, 0, 1),
      end: Date.UTC(2026, 11, 31, 23, 0, 0, 500),
    })
    const root = JSON.parse(trustedRootText(input)) as { tlogs: JsonObject[] } & JsonObject
    for (const [about, bad] of Object.entries({
      'no start': trustedRootText(input).replace('"start": "2026-01-01T00:00:00Z"', ''),
      'a start that is no time': trustedRootText({ ...input, start: 'yesterday' }),
      'an end before the start': trustedRootText({ ...input, end: '2025-01-01T00:00:00Z' }),
      'one log twice': JSON.stringify({ ...root, tlogs: [...root.tlogs, ...root.tlogs] }),
      'an unknown member': JSON.stringify({ ...root, more: 1 }),
      'another media type': JSON.stringify({ ...root, mediaType: 'application/json' }),
      'a key that is none': trustedRootText(input).replace(
        /"rawBytes": "[^"]+"/,
        '"rawBytes": "cw=="',
      ),
    })) {
      t.throws(() => parseTrustedRoot(bad), { code: 'TRUST_INVALID' }, about)
    }
  },
)

void t.test('the trusted root of the public service is read', NEEDS_VECTORS, async (t) => {
  const file = join(vectorsDirectory() ?? '', 'sigstore-bundles', 'trusted_root.production.json')
  const root = parseTrustedRoot(readFileSync(file, 'utf8'))
  t.ok(root.logs.some(({ baseUrl }) => baseUrl === 'https://rekor.sigstore.dev'))
  t.ok(
    root.certificateAuthorities.length > 0 &&
      root.ctLogs.length > 0 &&
      root.timestampAuthorities.length > 0,
  )
})

void t.test('a signing config names one Rekor v1 log, with selector and operator', async (t) => {
  const text = signingConfigText({
    url: 'https://log.test',
    start: '2026-01-01T00:00:00Z',
    operator: 'log.test',
  })
  t.same(JSON.parse(text), {
    mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
    rekorTlogUrls: [
      {
        url: 'https://log.test',
        majorApiVersion: 1,
        validFor: { start: '2026-01-01T00:00:00Z' },
        operator: 'log.test',
      },
    ],
    rekorTlogConfig: { selector: 'ANY' },
  })
})

void t.test('attestations of both formats carry one envelope', async (t) => {
  const signed = attest(digest, 'https://cyclonedx.org/bom', key, log)
  const { content } = parseBundle(bundleOf(signed))
  t.equal(
    content.kind === 'dsse' ? envelopeText(content.envelope) : '',
    envelopeText(signed.envelope),
  )
})
