import { hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { eddsa } from '@noble/curves/abstract/edwards.js'
import { ed25519 } from '@noble/curves/ed25519.js'
import { p256, p384, p521 } from '@noble/curves/nist.js'
import { COORDINATE_SIZES, compactSignature } from './ecdsa-signature.ts'

/** What the thread is asked; all bytes are copies. */
export interface PortableQuestion {
  readonly id: number
  /** 0, 1, 2: ECDSA over P-256, P-384, P-521; `ed25519ph`: Ed25519 over a SHA-512 digest. */
  readonly curve: 0 | 1 | 2 | 'ed25519ph'
  readonly point: Uint8Array
  readonly digest: Uint8Array
  readonly signature: Uint8Array
}

export interface PortableAnswer {
  readonly id: number
  readonly good: boolean
}

const CURVES = [p256, p384, p521] as const

const DOM2 = Buffer.from('SigEd25519 no Ed25519 collisions\u0001\u0000', 'latin1')

/** Ed25519ph (RFC 8032 §5.1) over a digest that exists already, so the pre-hash is the identity. */
const ed25519ph = eddsa(
  ed25519.Point,
  Object.assign(
    (bytes: Uint8Array): Uint8Array => new Uint8Array(hash('sha512', bytes, 'buffer')),
    {
      outputLen: 64,
      blockLen: 128,
    },
  ),
  {
    domain: (bytes: Uint8Array) => new Uint8Array(Buffer.concat([DOM2, bytes])),
    prehash: (digest: Uint8Array) => digest as Uint8Array<ArrayBuffer>,
    zip215: false,
  },
)

function judge({ curve, point, digest, signature }: PortableQuestion): boolean {
  try {
    if (curve === 'ed25519ph') {
      return (
        digest.length === 64 &&
        signature.length === 64 &&
        ed25519ph.verify(signature, digest, point)
      )
    }
    const compact = compactSignature(signature, COORDINATE_SIZES[curve])
    // High s is allowed, as in node:crypto and Go: Sigstore has always taken such signatures.
    const options = { prehash: false, lowS: false, format: 'compact' } as const
    return compact !== null && CURVES[curve].verify(compact, digest, point, options)
  } catch {
    // The library throws for values out of range, which the signature's author chooses.
    return false
  }
}

parentPort?.on('message', (question: PortableQuestion) => {
  parentPort?.postMessage({ id: question.id, good: judge(question) } satisfies PortableAnswer)
})
