import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bundleFromJSON } from '@sigstore/bundle'
import { TrustedRoot } from '@sigstore/protobuf-specs'
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify'
import t from 'tap'
import { isObject, type Digest, type Json } from '../../src/core/index.ts'
import { parseTrustedRoot } from '../../src/sigstore/index.ts'
import { trustFromRoot, verifyBlobBundle } from '../../src/verify/index.ts'
import { changed, mutantsOf } from '../support/mutants.ts'
import { needs, requiredProgram } from '../support/programs.ts'
import { run, temporaryDirectory } from '../support/site.ts'
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

/** Where and why airseal refuses what another verifier accepts: every such case must fall under one of these, and each has its case. */
const STRICTER: readonly {
  readonly who: 'js' | 'go' | 'both'
  readonly place: RegExp
  readonly change: RegExp
  readonly reason: RegExp
  readonly why: string
}[] = [
  {
    who: 'js',
    place: /./,
    change: /^more members$/,
    reason: /^BUNDLE_INVALID$/,
    why: 'members that are not known are read past: another reader may know them',
  },
  {
    who: 'both',
    place: /messageDigest\.algorithm$/,
    change: /^(left out|null|number)$/,
    reason: /^BUNDLE_INVALID$/,
    why: 'a digest without algorithm is taken for SHA-256',
  },
  {
    who: 'both',
    place: /inclusionProof\.(rootHash|treeSize)$/,
    change: /./,
    reason: /^(BUNDLE_INVALID|INCLUSION_PROOF_INVALID)$/,
    why: 'root and size are taken from the checkpoint; what stands beside it is not compared',
  },
  {
    who: 'js',
    place: /tlogEntries\.\[\]\.logIndex$/,
    change: /./,
    reason: /^(BUNDLE_INVALID|INCLUSION_PROOF_INVALID)$/,
    why: 'the index of a Rekor v2 entry is not looked at, though it is shown',
  },
  {
    who: 'go',
    place: /inclusionProof\.logIndex$/,
    change: /./,
    reason: /^INCLUSION_PROOF_INVALID$/,
    why: 'the index of a Rekor v2 entry is used in place of the one in the proof',
  },
  {
    who: 'go',
    place: /canonicalizedBody$/,
    change: /./,
    reason: /^ENTRY_MISMATCH$/,
    why: 'the body of a Rekor v2 entry is built anew from the bundle, and the stored one is not read',
  },
  {
    who: 'go',
    place: /kindVersion/,
    change: /./,
    reason: /^LOG_ENTRY_INVALID$/,
    why: 'the kind that the bundle states is not compared with the one of the body',
  },
  {
    who: 'js',
    place: /certificate|x509CertificateChain/,
    change: /^bit at 0$/,
    reason: /^CERTIFICATE_INVALID$/,
    why: 'a certificate may begin with another DER tag',
  },
  {
    who: 'js',
    place: /signedTimestamp$/,
    change: /^bit at /,
    reason: /^TIMESTAMP_INVALID$/,
    why: 'parts of a time-stamp response are not read: its outer tag, certificates that are not used',
  },
]

/** Changed bundles that are judged, by count; `all` by the environment. */
const STRIDE = process.env['AIRSEAL_MUTANTS'] === 'all' ? 1 : 3

interface Judged {
  readonly name: string
  readonly place: string
  readonly change: string
  readonly text: string
  readonly reason: string | null
  readonly js: boolean
  readonly go: boolean | null
}

/** What sigstore-go says of each, in one process. */
async function sigstoreGo(questions: readonly object[]): Promise<readonly boolean[]> {
  const input = questions.map((question) => `${JSON.stringify(question)}\n`).join('')
  const done = await run(requiredProgram('sigstore-verify'), [], { input, timeoutMs: 200_000 })
  if (done.code !== 0) throw new Error(done.stderr)
  return done.stdout
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { verified: boolean }).verified)
}

const chosenCases = (): readonly Case[] => {
  const { cases } = JSON.parse(read('index.json')) as { cases: Case[] }
  return cases.filter(
    ({ name, mode }) =>
      mode === 'identity' &&
      /^(happy-path-(v0\.1|v0\.3|intoto)|rekor2-(happy|dsse|timestamp-with-embedded)|bundle-with-sct)/.test(
        name,
      ),
  )
}

const questionOf = (one: Case, bundle: string): object => ({
  bundle,
  trustedRoot: join(FOLDER, one.trustedRoot),
  digest: one.artifactDigest.slice('sha256:'.length),
  identity: one.identity,
  issuer: one.issuer,
})

t.setTimeout(300_000)

void t.test(
  'of thousands of changed bundles none is accepted that the others refuse, and what is refused alone is explained',
  { ...NEEDS_VECTORS, timeout: 240_000 },
  async (t) => {
    const withGo = needs('sigstore-verify').skip === undefined
    const judged: Omit<Judged, 'go'>[] = []
    const questions: object[] = []
    for (const one of chosenCases()) {
      const { ours, theirs } = judges(one)
      const text = read(one.bundle)
      t.equal((await ours(text)).outcome, 'verified', one.name)
      t.ok(theirs(text), one.name)
      for (const mutant of mutantsOf(text).filter((_, at) => at % STRIDE === 0)) {
        const { reason } = await ours(mutant.text)
        judged.push({ name: one.name, ...mutant, reason, js: theirs(mutant.text) })
        questions.push(questionOf(one, mutant.text))
      }
    }
    const go = withGo ? await sigstoreGo(questions) : []
    t.equal(go.length, withGo ? judged.length : 0)
    const all = judged.map((one, at): Judged => ({ ...one, go: go[at] ?? null }))
    t.ok(all.length > 2500 / STRIDE, `${all.length} changed bundles`)

    const alone = all.filter(({ reason, js, go }) => reason === null && !js && go !== true)
    t.strictSame(alone.map(named), [], 'accepted by airseal alone')

    const used = new Set<(typeof STRICTER)[number]>()
    const unexplained = all.filter((one) => {
      const who = ['js', 'go'].filter((name) => one[name as 'js' | 'go'] === true)
      if (one.reason === null || who.length === 0) return false
      return !who.every((name) => {
        const found = STRICTER.find(
          (row) =>
            (row.who === 'both' || row.who === name) &&
            row.place.test(one.place) &&
            row.change.test(one.change) &&
            row.reason.test(one.reason ?? ''),
        )
        if (found !== undefined) used.add(found)
        return found !== undefined
      })
    })
    t.strictSame(unexplained.map(named), [], 'refused by airseal alone, without a reason')
    if (withGo && STRIDE === 1) {
      for (const row of STRICTER) t.ok(used.has(row), `a case for: ${row.why}`)
    }
  },
)

void t.test(
  'cosign refuses the changed bundles that airseal refuses, but for the same reasons',
  { ...both(NEEDS_VECTORS, needs('cosign3')), timeout: 240_000 },
  async (t) => {
    const [one] = chosenCases()
    if (one === undefined) throw new Error('no case')
    const { ours } = judges(one)
    const folder = await temporaryDirectory(t)
    const cosign = async (text: string): Promise<boolean> => {
      const path = join(folder, 'bundle.json')
      await writeFile(path, text)
      const identity = [
        '--certificate-identity',
        one.identity,
        '--certificate-oidc-issuer',
        one.issuer,
      ]
      const trust = ['--trusted-root', join(FOLDER, one.trustedRoot), '--bundle', path]
      const args = ['verify-blob', ...identity, ...trust, join(FOLDER, one.artifact)]
      const env = { HOME: folder, TUF_ROOT: join(folder, 'tuf') }
      return (await run(requiredProgram('cosign3'), args, { env })).code === 0
    }
    const text = read(one.bundle)
    t.ok(await cosign(text), one.name)
    // One change a place.
    const seen = new Set<string>()
    for (const mutant of mutantsOf(text)) {
      if (!/^(bit at 0\.5|left out)$/.test(mutant.change) || seen.has(mutant.place)) continue
      seen.add(mutant.place)
      const { reason } = await ours(mutant.text)
      const theirs = await cosign(mutant.text)
      if (reason === null) t.ok(theirs, `accepted: ${named({ ...one, ...mutant, reason })}`)
      else if (theirs) {
        const row = STRICTER.find(
          ({ who, place, change }) =>
            who !== 'js' && place.test(mutant.place) && change.test(mutant.change),
        )
        t.ok(row, `explained: ${named({ ...one, ...mutant, reason })}`)
      }
    }
    t.ok(seen.size > 10, `${seen.size} places`)
  },
)

function named({ name, place, change, reason }: Omit<Judged, 'text' | 'js' | 'go'>): string {
  return `${name} ${place} ${change} ${reason ?? ''}`
}

/** Skips when either does. */
function both(...options: readonly { skip?: string }[]): { skip?: string } {
  return options.find(({ skip }) => skip !== undefined) ?? {}
}

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
