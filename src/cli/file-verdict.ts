import { readFile } from 'node:fs/promises'
import { AirsealError, digestOf, isDigest, type Digest } from '../core/index.ts'
import { REASONS, type Verdict } from '../verify/index.ts'
import type { Input, Terminal } from './command.ts'

/** What is asked about: a file, or only its digest. */
export interface FileSubject {
  readonly digest: Digest
  readonly artifact: Uint8Array | undefined
}

/** As the conformance suite has it: a digest only where no such file exists. @throws AirsealError USAGE */
export async function fileSubject(subject: string): Promise<FileSubject> {
  const artifact = await readFile(subject).catch(() => null)
  if (artifact !== null) return { digest: digestOf(artifact), artifact }
  if (isDigest(subject)) return { digest: subject, artifact: undefined }
  throw new AirsealError('USAGE', `${subject} can't be read, and is not sha256: and 64 hex digits`)
}

/** As cosign: the verdict on stderr, exit code 0 or 1. */
export function reportFile(
  { outcome, reason, message, unchecked, evidence }: Verdict,
  input: Input,
  terminal: Terminal,
): number {
  if (outcome === 'verified') {
    if (input.json) {
      const { identity, keyId, times, entry } = evidence
      terminal.stdout(
        `${JSON.stringify({ outcome, keyId, certificateIdentity: identity?.subjects[0] ?? null, certificateOidcIssuer: identity?.issuer ?? null, signedAt: times.map((time) => Math.floor(time / 1000)), logIndex: entry?.logIndex ?? null, unchecked })}\n`,
      )
    }
    terminal.stderr(`${unchecked.map((item) => `not checked: ${item}\n`).join('')}Verified OK\n`)
    return 0
  }
  const code = reason ?? 'BUNDLE_INVALID'
  const { remedy } = REASONS[code]
  terminal.stderr(
    input.json
      ? `${JSON.stringify({ error: { code, message, remedy, outcome } })}\n`
      : `airseal: the file is refused: ${message} [${code}]\n         ${remedy}\n`,
  )
  return 1
}
