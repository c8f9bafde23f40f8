import { messageVerifier } from '../core/index.ts'
import type { PublicKey } from '../core/index.ts'

/**
 * ECDSA signature in ASN.1 DER. Like Rekor, r ‖ s of full width (IEEE P1363) is taken as well and turned into DER; a text that begins as
 * DER of its own length is left as it is. Other kinds of signature pass unchanged.
 */
export function derSignature(key: PublicKey, signature: Uint8Array): Uint8Array {
  const size = key.algorithm.coordinateSize
  if (size === undefined || signature.length !== 2 * size || isDerSequence(signature))
    return signature
  const parts = [derInteger(signature.subarray(0, size)), derInteger(signature.subarray(size))]
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return Buffer.concat([
    length < 0x80 ? Buffer.of(0x30, length) : Buffer.of(0x30, 0x81, length),
    ...parts,
  ])
}

function isDerSequence(bytes: Uint8Array): boolean {
  return (
    bytes[0] === 0x30 &&
    (bytes[1] === bytes.length - 2 || (bytes[1] === 0x81 && bytes[2] === bytes.length - 3))
  )
}

/** INTEGER (X.690 §8.3): shortest form, a zero in front when the first bit is set. */
function derInteger(bytes: Uint8Array): Uint8Array {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const digits = bytes.subarray(start)
  const sign = (digits[0] ?? 0) >= 0x80 ? [0] : []
  return Buffer.concat([Buffer.of(0x02, digits.length + sign.length, ...sign), digits])
}

/**
 * Verifies signatures over a message as Rekor does for envelopes: SHA-256 for every ECDSA and RSA key, Ed25519 pure. The message is hashed
 * once, since every key may be tried on every signature.
 */
export function envelopeVerifier(
  message: Uint8Array,
): (key: PublicKey, signature: Uint8Array) => Promise<boolean> {
  const verify = messageVerifier(message)
  return (key, signature) => verify(key, 'sha256', derSignature(key, signature))
}
