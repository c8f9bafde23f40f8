import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import t from 'tap'
import { isObject, type Digest, type Json, type JsonObject } from '../../src/core/index.ts'
import { parseTrustedRoot } from '../../src/sigstore/index.ts'
import { trustFromRoot, verifyBlobBundle } from '../../src/verify/index.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

const NOW = Date.UTC(2026, 10, 24)
const FOLDER = join(vectorsDirectory() ?? '', 'sigstore-bundles')
const read = (path: string): string => readFileSync(join(FOLDER, path), 'utf8')

interface Case {
  readonly name: string
  readonly expect: string
  readonly mode: string
  readonly bundle: string
  readonly trustedRoot: string
  readonly artifact: string
  readonly artifactDigest: Digest
  readonly identity: string
  readonly issuer: string
}

/** Both verifiers over one case, each set up once. */
function judges(one: Case) {
  const rootText = read(one.trustedRoot)
  const trust = { keys: [], ...trustFromRoot(parseTrustedRoot(rootText)) }
  const signer = { subject: { exact: one.identity }, issuer: { exact: one.issuer } }
  const artifact = readFileSync(join(FOLDER, one.artifact))
  const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(JSON.parse(rootText))))
  const escaped = one.identity.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const policy = {
    subjectAlternativeName: `^${escaped}$`,
    extensions: { issuer: one.issuer },
  }
  return {
    ours: async (text: string) =>
      verifyBlobBundle({
        bundleText: text,
        digest: one.artifactDigest,
        trust,
        policy: { signer },
        now: NOW,
      }),
    theirs: (text: string): boolean => {
      try {
        const bundle = bundleFromJSON(JSON.parse(text))
        const message = bundle.content.$case === 'messageSignature'
        verifier.verify(toSignedEntity(bundle, message ? artifact : undefined), policy)
        return true
      } catch {
        return false
      }
    },
  }
}

/** Every place of a JSON document that holds a text or number. */
function places(
  value: Json,
  path: readonly (string | number)[] = [],
): (readonly (string | number)[])[] {
  if (Array.isArray(value)) return value.flatMap((item, at) => places(item, [...path, at]))
  if (isObject(value))
    return Object.entries(value).flatMap(([name, item]) => places(item, [...path, name]))
  return [path]
}

function changed(
  text: string,
  path: readonly (string | number)[],
  change: (value: Json) => Json,
): string {
  const root = JSON.parse(text) as JsonObject
  let holder = root as unknown as Record<string | number, Json>
  for (const step of path.slice(0, -1))
    holder = holder[step] as unknown as Record<string | number, Json>
  const last = path.at(-1) ?? ''
  const value = change(holder[last] ?? null)
  // JSON has no undefined: it stands for leaving the member out.
  if (value === null) Reflect.deleteProperty(holder, last)
  else holder[last] = value
  return JSON.stringify(root)
}

/** Changes of one value: a bit of the bytes in several places, nothing, another value. */
const CHANGES: readonly (readonly [string, (value: Json) => Json])[] = [
  ...[0, 0.1, 0.25, 0.4, 0.5, 0.65, 0.75, 0.9, 0.999].map(
    (part) =>
      [
        `bit at ${part}`,
        (value: Json): Json => {
          if (typeof value !== 'string' || !/^[A-Za-z0-9+/]{8,}=*$/.test(value))
            return `${JSON.stringify(value)}1`
          const bytes = Buffer.from(value, 'base64')
          const at = Math.floor(bytes.length * part)
          bytes[at] = (bytes[at] ?? 0) ^ 1
          return bytes.toString('base64')
        },
      ] as const,
  ),
  ['left out', () => null],
  ['empty', () => ''],
]

void t.test(
  'of thousands of changed bundles none is accepted that @sigstore/verify refuses',
  { ...NEEDS_VECTORS, timeout: 240_000 },
  async (t) => {
    const { cases } = JSON.parse(read('index.json')) as { cases: Case[] }
    const chosen = cases.filter(
      ({ name, mode }) =>
        mode === 'identity' &&
        /^(happy-path-(v0\.1|v0\.3|intoto)|rekor2-(happy|dsse|timestamp-with-embedded)|bundle-with-sct)/.test(
          name,
        ),
    )
    t.ok(chosen.length >= 7)
    let judged = 0
    let both = 0
    const onlyOurs: string[] = []
    for (const one of chosen) {
      const { ours, theirs } = judges(one)
      const text = read(one.bundle)
      t.equal((await ours(text)).outcome, 'verified', one.name)
      t.ok(theirs(text), one.name)
      for (const path of places(JSON.parse(text) as Json)) {
        // Hashes of a proof are many and alike: the first two stand for all.
        if (path.includes('hashes') && Number(path.at(-1)) > 1) continue
        for (const [what, change] of CHANGES) {
          const mutant = changed(text, path, change)
          if (mutant === JSON.stringify(JSON.parse(text))) continue
          judged++
          const { outcome } = await ours(mutant)
          if (outcome !== 'verified') continue
          if (theirs(mutant)) both++
          else onlyOurs.push(`${one.name} ${path.join('.')} ${what}`)
        }
      }
    }
    t.ok(judged > 1000, `${judged} changed bundles, ${both} accepted by both`)
    t.strictSame(onlyOurs, [], 'accepted by airseal alone')
  },
)

void t.test(
  'valid but unrelated: no part of another valid bundle can take the place of its own',
  NEEDS_VECTORS,
  async (t) => {
    const { cases } = JSON.parse(read('index.json')) as { cases: Case[] }
    const good = cases.filter(({ mode, expect }) => mode === 'identity' && expect === 'pass')
    const parts = [
      ['verificationMaterial', 'tlogEntries'],
      ['verificationMaterial', 'certificate'],
      ['verificationMaterial', 'x509CertificateChain'],
      ['verificationMaterial', 'timestampVerificationData'],
      ['messageSignature'],
      ['dsseEnvelope'],
    ] as const
    const member = (text: string, path: readonly string[]): Json | undefined => {
      let value: Json | undefined = JSON.parse(text) as Json
      for (const name of path) value = isObject(value) ? value[name] : undefined
      return value
    }
    let judged = 0
    for (const one of good) {
      const text = read(one.bundle)
      for (const other of good) {
        const otherText = read(other.bundle)
        for (const path of parts) {
          const mine = member(text, path)
          const foreign = member(otherText, path)
          if (mine === undefined || foreign === undefined) continue
          if (JSON.stringify(mine) === JSON.stringify(foreign)) continue
          // Bundles that differ in their log proofs alone are of one signature: any of its entries and stamps is its own.
          if (sameSignature(text, otherText)) continue
          judged++
          const { ours } = judges(one)
          const { outcome, unchecked } = await ours(changed(text, path, () => foreign))
          // Stamps of an authority that is not trusted are passed over, and the verdict says so.
          const passedOver = unchecked.includes('RFC 3161 time stamps')
          if (outcome !== 'rejected' && !passedOver)
            t.fail(`${one.name} with ${path.join('.')} of ${other.name}`)
        }
      }
    }
    t.ok(judged > 100, `${judged} exchanges`)
  },
)

function sameSignature(a: string, b: string): boolean {
  const signature = (text: string): unknown => {
    const root = JSON.parse(text) as {
      messageSignature?: { signature: string }
      dsseEnvelope?: { signatures: { sig: string }[] }
    }
    return root.messageSignature?.signature ?? root.dsseEnvelope?.signatures[0]?.sig
  }
  return signature(a) === signature(b)
}
