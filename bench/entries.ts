import { generateKeyPairSync, hash, randomBytes, sign } from 'node:crypto'
import type { RequestSource } from './load.ts'
import { postRequest } from './http-message.ts'

export const KINDS = ['hashedrekord', 'dsse'] as const
export type Kind = (typeof KINDS)[number]

export const PAYLOAD_TYPE = 'application/vnd.in-toto+json'

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
const PEM = Buffer.from(publicKey.export({ format: 'pem', type: 'spki' })).toString('base64')

/** Makes what one run signs differ from what every other run signs. */
const RUN = randomBytes(16).toString('hex')
let serial = 0

/** Proposed entries, one key, every payload new. The texts are canonical JSON (RFC 8785). */
const PROPOSE: Readonly<Record<Kind, () => string>> = {
  hashedrekord: () => {
    const payload = Buffer.from(`artifact ${RUN} ${serial++}`)
    const signature = sign('sha256', payload, privateKey).toString('base64')
    return (
      `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":{"algorithm":"sha256",` +
      `"value":"${hash('sha256', payload)}"}},"signature":{"content":"${signature}","publicKey":{"content":"${PEM}"}}}}`
    )
  },
  // What cosign 3 logs for `cosign sign`: a statement about one image.
  dsse: () => {
    const image = hash('sha256', `image ${RUN} ${serial++}`)
    const payload = Buffer.from(
      `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"${image}"}}],` +
        `"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`,
    )
    const signature = sign('sha256', preAuthentication(payload), privateKey).toString('base64')
    const envelope =
      `{"payload":"${payload.toString('base64')}","payloadType":"${PAYLOAD_TYPE}",` +
      `"signatures":[{"sig":"${signature}"}]}`
    return (
      `{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":${JSON.stringify(envelope)},` +
      `"verifiers":["${PEM}"]}}}`
    )
  },
}

/** What a DSSE signature covers (DSSE 1.0, protocol.md). */
function preAuthentication(payload: Buffer): Buffer {
  const head = `DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `
  return Buffer.concat([Buffer.from(head), payload])
}

/** Signs `count` entries and lays out the whole requests in one buffer, so that sending costs no more than the write. */
export function signEntries(kind: Kind, count: number, port: number): RequestSource {
  const requests: Buffer[] = []
  for (let n = 0; n < count; n++) {
    requests.push(postRequest(port, '/api/v1/log/entries', PROPOSE[kind]()))
  }
  const all = Buffer.concat(requests)
  let at = 0
  const ends = Float64Array.from(requests, (request) => (at += request.length))
  let next = 0
  return () => {
    const end = ends[next]
    if (end === undefined) return null
    const request = all.subarray(next === 0 ? 0 : ends[next - 1], end)
    next++
    return request
  }
}
