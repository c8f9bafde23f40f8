import { generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto'
import type { Signer } from '../../keys/signer.ts'
import { AirsealError, publicKeyFromSpki } from '../../src/core/index.ts'

export interface TestSigner extends Signer {
  /** While true, signing rejects with KEY_UNAVAILABLE. */
  isDown: boolean
  readonly privateKey: KeyObject
  /** Signatures made. */
  count: number
}

/** A P-256 signer over a key made now, or over `privateKey`. Checks its own signatures, as real ones do. */
export function testSigner(privateKey?: KeyObject): TestSigner {
  const secret = privateKey ?? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const jwk = secret.export({ format: 'jwk' })
  const point = Buffer.concat([
    Buffer.from(jwk.x ?? '', 'base64url'),
    Buffer.from(jwk.y ?? '', 'base64url'),
  ])
  const prefix = Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex')
  const publicKey = publicKeyFromSpki(Buffer.concat([prefix, point]))
  const signer: TestSigner = {
    name: 'test',
    publicKey,
    privateKey: secret,
    isDown: false,
    count: 0,
    sign(message) {
      if (signer.isDown)
        return Promise.reject(new AirsealError('KEY_UNAVAILABLE', 'the test key is down'))
      signer.count += 1
      return new Promise((resolve, reject) => {
        sign('sha256', message, secret, (error, signature) => {
          if (error !== null) {
            reject(error)
            return
          }
          verify('sha256', message, publicKey.handle, signature, (fault, good) => {
            if (fault !== null || !good)
              reject(new AirsealError('SIGNATURE_FAULT', 'bad signature'))
            else resolve(signature)
          })
        })
      })
    },
    close: () => Promise.resolve(),
  }
  return signer
}
