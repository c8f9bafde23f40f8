import t from 'tap'
import type { Json } from '../../src/core/index.ts'
import { parseAttestRequest, parseSignRequest } from '../../src/sign/request.ts'

const IMAGE = `registry.example/app@sha256:${'a'.repeat(64)}`

await t.test('a sign request needs images only', (t) => {
  t.strictSame(parseSignRequest({ images: [IMAGE] }), {
    images: [IMAGE],
    key: null,
    signatures: null,
    resolveTag: false,
    recursive: false,
    annotations: {},
    identity: null,
  })
  t.end()
})

await t.test('null means absent', (t) => {
  t.match(parseSignRequest({ images: [IMAGE], key: null, annotations: null, recursive: null }), {
    key: null,
    recursive: false,
  })
  t.end()
})

await t.test('every member that is wrong is refused by its name', (t) => {
  const cases: readonly (readonly [Json, RegExp])[] = [
    [null, /object/],
    [[], /object/],
    [{}, /images/],
    [{ images: [] }, /images/],
    [{ images: 'a' }, /images/],
    [{ images: [1] }, /images/],
    [{ images: Array.from({ length: 101 }, () => IMAGE) }, /images/],
    [{ images: [IMAGE], image: 'x' }, /image is not known/],
    [{ images: [IMAGE], key: 1 }, /key/],
    [{ images: [IMAGE], recursive: 'yes' }, /recursive/],
    [{ images: [IMAGE], signatures: 'new' }, /signatures/],
    [{ images: [IMAGE], annotations: { a: 1 } }, /annotations\.a/],
    [{ images: [IMAGE], annotations: [] }, /annotations/],
  ]
  for (const [body, message] of cases) {
    t.throws(
      () => parseSignRequest(body),
      { code: 'REQUEST_INVALID', message },
      JSON.stringify(body).slice(0, 80),
    )
  }
  t.end()
})

await t.test('an attest request needs a type and one form of predicate', (t) => {
  const request = parseAttestRequest({
    images: [IMAGE],
    type: 'cyclonedx',
    predicate: { bomFormat: 'CycloneDX' },
  })
  t.equal(Buffer.from(request.predicate).toString(), '{"bomFormat":"CycloneDX"}')
  t.equal(
    Buffer.from(
      parseAttestRequest({ images: [IMAGE], type: 'spdx', predicateBase64: 'YWI=' }).predicate,
    ).toString(),
    'ab',
  )
  for (const body of [
    { images: [IMAGE], predicate: {} },
    { images: [IMAGE], type: 'spdx' },
    { images: [IMAGE], type: 'spdx', predicate: {}, predicateBase64: 'YWI=' },
    { images: [IMAGE], type: 'spdx', predicateBase64: 'YWI' },
    { images: [IMAGE], type: 'spdx', predicateBase64: 1 },
  ] as Json[]) {
    t.throws(() => parseAttestRequest(body), { code: 'REQUEST_INVALID' })
  }
  t.end()
})
