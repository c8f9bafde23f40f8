import { AirsealError, canonicalJson, toBase64, type Json, type JsonObject } from '../core/index.ts'
import type { Caller } from '../http/index.ts'
import { parseTrustedRoot } from '../sigstore/index.ts'
import {
  differences,
  mergeRevocations,
  parseTrustProposal,
  proposalFile,
  proposalState,
  type RootKey,
  type TrustDocument,
  type TrustProposal,
  type TrustRevocations,
} from '../trust/index.ts'
import type { Operations } from './operation.ts'
import type { SiteParts } from './site-parts.ts'
import { bundleAnswer, outcomeAnswer, statusAnswer } from './trust-answers.ts'
import { TrustBody } from './trust-body.ts'
import { importTrust } from './trust-import.ts'
import type { Change } from './trust-keeper.ts'

const EDITS = ['removeForeign', 'policies', 'removePolicies', 'authorities'] as const
const NOTHING: TrustRevocations = { keys: [], images: [], entries: [] }

/** What `airseal trust` asks for. */
export function trustOperations(site: SiteParts): Operations {
  const { trustKeeper: keeper, clock, config, log } = site
  const manage = (run: (body: Json, caller: Caller) => Promise<Json>) =>
    ({ permission: 'manage', run }) as const
  const read = (run: (body: Json) => Promise<Json>) => ({ permission: 'trust:read', run }) as const
  return {
    'trust/show': read(async (body) => {
      const version = new TrustBody(body, ['version']).count('version', 1)
      return bundleAnswer(version === null ? keeper.bundle() : await keeper.version(version))
    }),
    'trust/status': read(() => statusAnswer(keeper, config.trust, log, clock())),
    'trust/files': read((body) => {
      new TrustBody(body, [])
      const files = [...keeper.files()].map(([name, { bytes }]) => [name, toBase64(bytes)])
      return Promise.resolve({
        version: keeper.bundle().document.version,
        files: Object.fromEntries(files) as JsonObject,
      })
    }),
    'trust/diff': manage(async (body) => {
      const request = new TrustBody(body, ['from', 'to'])
      const [from, to] = [request.count('from', 1), request.count('to', 1)]
      const now = keeper.bundle().document
      if (from === null) return { changes: [...differences(now, keeper.draft() ?? now)] }
      const old = (await keeper.version(from)).document
      const next = to === null ? now : (await keeper.version(to)).document
      return { changes: [...differences(old, next)] }
    }),
    'trust/edit': manage(async (body, caller) =>
      outcomeAnswer(await keeper.edit(caller, 'edit', editOf(new TrustBody(body, EDITS)))),
    ),
    'trust/propose': manage(async (body, caller) =>
      proposalAnswer(await keeper.propose(caller, editOf(new TrustBody(body, EDITS)))),
    ),
    'trust/publish': manage(async (body, caller) => {
      const file = new TrustBody(body, ['proposal']).bytes('proposal')
      return outcomeAnswer(await keeper.publish(caller, parseTrustProposal(file)))
    }),
    'trust/import': manage(async (body, caller) => {
      const request = new TrustBody(body, ['file', 'name', 'pin', 'source', 'fetched'])
      const now = clock()
      const options = {
        name: request.text('name'),
        pin: request.text('pin'),
        source: request.text('source') ?? 'a file',
        fetched: request.time('fetched') ?? now,
      }
      const done = await importTrust(keeper, caller, request.bytes('file'), options, now)
      return { kind: done.kind, ...outcomeAnswer(done) }
    }),
    'trust/rotate-root': manage(async (body, caller) => {
      const request = new TrustBody(body, ['keys', 'threshold'])
      const keys = request.rootKeys('keys')
      if (keys.length === 0) return outcomeAnswer(await keeper.rotateOnline(caller))
      const roots = newRoots(keys, request.count('threshold', 1))
      return proposalAnswer(await keeper.propose(caller, roots))
    }),
    'trust/revoke': manage(async (body, caller) => {
      const known = ['key', 'fromIndex', 'image', 'repository', 'entry', 'reason']
      const request = new TrustBody(body, known)
      const revoke: Change = (document) => ({
        ...document,
        revocations: mergeRevocations(
          document.revocations,
          revocationOf(request, document, log.logId),
        ),
      })
      return outcomeAnswer(await keeper.edit(caller, 'revoke', revoke))
    }),
  }
}

function proposalAnswer(proposal: TrustProposal): JsonObject {
  const { signed, missing, missingNew } = proposalState(proposal)
  const { document } = proposal.next
  return {
    version: document.version,
    proposal: toBase64(proposalFile(proposal)),
    changes: [...differences(proposal.current.document, document)],
    signedBy: signed.map(({ name }) => name),
    missing,
    missingNew,
  }
}

function editOf(request: TrustBody): Change {
  const [gone, oldPolicies] = [request.texts('removeForeign'), request.texts('removePolicies')]
  const policies = request.policies('policies')
  const authorities = request.object('authorities')
  if (authorities !== null) parseTrustedRoot(canonicalJson(authorities))
  return (document) => {
    requireKnown(gone, document.foreign, 'carried root')
    requireKnown(oldPolicies, document.policies, 'policy')
    const replaced = new Set([...oldPolicies, ...policies.map(({ name }) => name)])
    return {
      ...document,
      foreign: document.foreign.filter(({ name }) => !gone.includes(name)),
      policies: [...document.policies.filter(({ name }) => !replaced.has(name)), ...policies].sort(
        (a, b) => (a.name < b.name ? -1 : 1),
      ),
      trustedRoot:
        authorities === null ? document.trustedRoot : withAuthorities(document, authorities),
    }
  }
}

/** The authorities are those of `root` now; our logs stay, and logs that it names beside them come in. */
function withAuthorities({ trustedRoot }: TrustDocument, root: JsonObject): JsonObject {
  const list = (from: JsonObject, name: string): Json[] => {
    const value = from[name]
    return Array.isArray(value) ? value : []
  }
  const ids = new Set(list(trustedRoot, 'tlogs').map(idOf))
  const logs = list(root, 'tlogs').filter((log) => !ids.has(idOf(log)))
  const merged: JsonObject = { ...trustedRoot, tlogs: [...list(trustedRoot, 'tlogs'), ...logs] }
  for (const name of ['certificateAuthorities', 'ctlogs', 'timestampAuthorities'])
    if (root[name] !== undefined) merged[name] = root[name]
  return merged
}

function idOf(log: Json): string {
  return canonicalJson((log as JsonObject)['logId'] ?? null)
}

function requireKnown(
  names: readonly string[],
  items: readonly { readonly name: string }[],
  what: string,
): void {
  const unknown = names.find((name) => !items.some((item) => item.name === name))
  if (unknown !== undefined)
    throw new AirsealError('NOT_FOUND', `there is no ${what} named "${unknown.slice(0, 80)}"`)
}

function newRoots(keys: readonly RootKey[], threshold: number | null): Change {
  return ({ roots, ...document }) => {
    const known = new Map(roots.keys.map(({ name, key }) => [key.id, name]))
    // A key that stays keeps its name.
    const named = keys.map(({ name, key }) => ({ name: known.get(key.id) ?? name, key }))
    const enough = threshold ?? Math.floor(named.length / 2) + 1
    return { ...document, roots: { version: roots.version + 1, threshold: enough, keys: named } }
  }
}

function revocationOf(
  request: TrustBody,
  document: TrustDocument,
  logId: string,
): TrustRevocations {
  const reason = request.requiredText('reason')
  const [key, digest, entry] = [request.text('key'), request.digest('image'), request.text('entry')]
  const index = request.count('fromIndex', 0)
  if ([key, digest, entry].filter((what) => what !== null).length !== 1)
    throw new AirsealError('REQUEST_INVALID', 'name one of key, image and entry')
  if (index !== null && key === null)
    throw new AirsealError('REQUEST_INVALID', 'fromIndex is for keys')
  if (digest !== null)
    return { ...NOTHING, images: [{ digest, repository: request.text('repository'), reason }] }
  if (entry !== null) {
    // The end of a Rekor UUID is the leaf hash.
    const leafHash = entry.slice(-64)
    if (!/^(?:[0-9a-f]{16})?[0-9a-f]{64}$/.test(entry))
      throw new AirsealError('REQUEST_INVALID', 'entry is not a UUID or leaf hash')
    return { ...NOTHING, entries: [{ leafHash, reason }] }
  }
  const from = index === null ? null : { logId, index }
  return { ...NOTHING, keys: [{ keyId: keyIdOf(key ?? '', document), from, reason }] }
}

/** A key by its name, the name of a carried one, or its id. */
function keyIdOf(key: string, document: TrustDocument): string {
  const carried = document.foreign.flatMap((root) =>
    root.kind === 'enclave'
      ? root.bundle.document.keys.map(({ name, key }) => ({ name: `${root.name}/${name}`, key }))
      : root.kind === 'key'
        ? [root]
        : [],
  )
  const found = [...document.keys, ...carried].find(
    (known) => known.name === key || known.key.id === key,
  )
  if (found !== undefined) return found.key.id
  throw new AirsealError('KEY_UNKNOWN', `the trust bundle has no key "${key.slice(0, 80)}"`)
}
