import t from 'tap'
import { digestOf, toBase64, utf8 } from '../../src/core/index.ts'
import { judgeAttestations, type AttestationQuestion } from '../../src/verify/index.ts'
import { NOW, testKey, TestLog, trustIn } from '../support/evidence.ts'

const BOM = 'https://cyclonedx.org/bom'

await t.test('what an attacker wrote is shown in one printable line', async (t) => {
  const digest = digestOf(utf8('image'))
  const statement = JSON.stringify({
    _type: 'https://in-toto.io/Statement/v0.1',
    predicateType: 'x\r\u001b[2K\nVerification for it --\u009b8m\u202e',
    subject: [{ name: 'x', digest: { sha256: digest.slice('sha256:'.length) } }],
    predicate: {},
  })
  const envelope = {
    payloadType: 'application/vnd.in-toto+json',
    payload: toBase64(utf8(statement)),
    signatures: [{ sig: 'AAAA', keyid: '' }],
  }
  const question: AttestationQuestion = {
    digest,
    trust: trustIn([testKey()], [new TestLog()]),
    policy: { predicateType: BOM },
    now: NOW,
  }
  const { reason, message, verdicts } = await judgeAttestations(
    [
      {
        format: 'legacy',
        kind: 'attestation',
        payload: utf8(JSON.stringify(envelope)),
        annotations: {},
      },
    ],
    question,
  )
  t.equal(reason, 'PREDICATE_TYPE_MISMATCH')
  for (const text of [message, verdicts[0]?.message ?? '']) {
    t.match(text, /Verification for it/)
    t.notMatch(text, /[\p{Cc}\p{Cf}]/u)
  }
})
