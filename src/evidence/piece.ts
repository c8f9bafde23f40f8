import { canonicalJson, sha256Hex } from '../core/index.ts'
import type { Evidence } from '../verify/index.ts'

/** SHA-256 over all that makes a piece of evidence what it is, 64 lower-case hex digits. */
export function pieceId(evidence: Evidence): string {
  if (evidence.format === 'bundle') return sha256Hex(`bundle ${evidence.text}`)
  const { kind, payload, annotations } = evidence
  return sha256Hex(
    canonicalJson({ kind, payload: sha256Hex(payload), annotations: { ...annotations } }),
  )
}
