/** What a verifier of digests is asked. `curve` counts P-256, P-384, P-521 from 0. */
export interface EcdsaQuestion {
  readonly curve: 0 | 1 | 2
  /** Uncompressed point, raw. */
  readonly point: Uint8Array
  readonly digest: Uint8Array
  /** ASN.1 DER. Attacker-controlled. */
  readonly signature: Uint8Array
}

/** Bytes of one coordinate, by curve. */
export const COORDINATE_SIZES = [32, 48, 66] as const

/**
 * r ‖ s, each as long as a coordinate, of a signature in strict DER (X.690 §10: shortest lengths, shortest integers, nothing after the
 * end); null when it is anything else. Zero and values above the group order are for the curve code to refuse.
 */
export function compactSignature(der: Uint8Array, coordinateSize: number): Uint8Array | null {
  let at = 0
  const header = (tag: number): number | null => {
    if (der[at] !== tag) return null
    let length = der[at + 1] ?? -1
    at += 2
    if (length === 0x81) {
      length = der[at++] ?? -1
      if (length < 0x80) return null
    } else if (length > 0x80) {
      return null
    }
    return length >= 0 && length !== 0x80 && at + length <= der.length ? length : null
  }
  const compact = new Uint8Array(2 * coordinateSize)
  const whole = header(0x30)
  if (whole === null || at + whole !== der.length) return null
  for (const end of [coordinateSize, 2 * coordinateSize]) {
    const length = header(0x02)
    if (length === null || length === 0) return null
    let digits = der.subarray(at, at + length)
    at += length
    const [first = 0, second] = digits
    if (first >= 0x80) return null
    if (first === 0 && second !== undefined) {
      if (second < 0x80) return null
      digits = digits.subarray(1)
    }
    if (digits.length > coordinateSize) return null
    compact.set(digits, end - digits.length)
  }
  return at === der.length ? compact : null
}

/** The same signature in DER: what tokens return as r ‖ s becomes what clients read. An odd or empty input gives null. */
export function derSignature(compact: Uint8Array): Uint8Array | null {
  if (compact.length === 0 || compact.length > 132 || compact.length % 2 !== 0) return null
  const half = compact.length / 2
  const body = [...derInteger(compact.subarray(0, half)), ...derInteger(compact.subarray(half))]
  return Uint8Array.from([0x30, ...(body.length < 0x80 ? [] : [0x81]), body.length, ...body])
}

function derInteger(digits: Uint8Array): number[] {
  let start = 0
  while (start < digits.length - 1 && digits[start] === 0) start += 1
  const shortest = [...digits.subarray(start)]
  if ((shortest[0] ?? 0) >= 0x80) shortest.unshift(0)
  return [0x02, shortest.length, ...shortest]
}
