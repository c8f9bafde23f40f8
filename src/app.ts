import { createSecretKey, type KeyObject } from 'node:crypto'
import {
  openFileSigner,
  openSigner,
  readPassphraseFile,
  readProvidedSecret,
  type Signer,
} from '../keys/index.ts'
import type { Config } from './config.ts'
import {
  AirsealError,
  asAirsealError,
  systemClock,
  type Clock,
  type Json,
  type PublicKey,
} from './core/index.ts'
import { inspectDirectory, type DataDirectory } from './data-directory.ts'
import { createAdmission } from './admission-service.ts'
import { followedState } from './admission-following.ts'
import { keyUris } from './admission-keys.ts'
import { checkAgainst, createEvidenceStore, createVerification } from './evidence/index.ts'
import { parseTokens, type Caller, type HttpServices } from './http/index.ts'
import { acquireDirectoryLock, openEvidenceDatabase, openLog } from './log/index.ts'
import {
  callerName,
  contributionOf,
  createTuf,
  enclaveName,
  loadPolicies,
  openAwsDoor,
  openTrust,
  publishedFiles,
  siteOperations,
  trustReadiness,
  tufKeys,
  tufReadiness,
  type SiteTuf,
} from './operations/index.ts'
import { createPolicyStore } from './policy-store.ts'
import { writePublicFiles } from './public-files.ts'
import { publicUrlOf } from './public-url.ts'
import { requireImageKey } from './key-backends.ts'
import { createReadiness } from './readiness.ts'
import { registrySettings } from './registry-settings.ts'
import { createRekor } from './rekor/index.ts'
import { finishPending, startServing } from './serving.ts'
import { createSigning } from './sign/index.ts'
import { openSiteKeys, signerKeys, SIGNING_KEY } from './site-keys.ts'
import { version } from './version.ts'

export { initialise } from './init.ts'
export { publicUrlOf, readPassphraseFile }

export interface AirsealOptions {
  readonly directory: DataDirectory
  readonly config: Config
  readonly clock?: Clock
  /** Asked for once, when the keys are opened. */
  readonly passphrase: () => Promise<string>
  /** Takes lines for the operator. Never holds a secret. */
  readonly log: (line: string) => void
  /** Called once when storage failed: nothing more is promised, so the process must end. */
  readonly onPoisoned?: () => void
}

/** The appliance over one data directory, whether it serves or works for one command. */
export interface Airseal {
  /** What `POST /v1/NAME` answers: `sign`, `attest`, `verify` and the managed operations. */
  readonly operations: ReadonlyMap<string, (body: Json, caller: Caller) => Promise<Json>>
  /** Logs and pushes what an earlier process signed but did not finish. */
  finishPending(): Promise<void>
  /** Serves on the configured address and on the socket in the data directory. */
  listen(): Promise<{ readonly url: string; close(): Promise<void> }>
  close(): Promise<void>
}

/**
 * Opens a data directory under its lock.
 * @throws AirsealError DATA_DIRECTORY, DATA_PERMISSIONS, DATA_LOCKED, PASSPHRASE, KEY_INVALID, LOG_DAMAGED, STORAGE, CONFIG_INVALID
 */
export async function openAirseal(options: AirsealOptions): Promise<Airseal> {
  const { directory, config, clock = systemClock } = options
  await requireReady(directory)
  const unlock = acquireDirectoryLock(directory.root)
  const closing: (() => unknown)[] = [unlock]
  const close = async (): Promise<void> => {
    for (const step of closing.splice(0).reverse()) await step()
  }
  try {
    const passphrase = askedOnce(options.passphrase)
    const logSigner = await openLogSigner(directory, config, passphrase)
    closing.push(() => logSigner.close())
    const log = await openLog({
      path: directory.database,
      signer: logSigner,
      clock,
      onPoisoned: options.onPoisoned ?? (() => undefined),
    })
    closing.push(() => log.close())
    const { keyring, backends, signers } = await openSiteKeys({
      root: directory.root,
      config,
      log,
      clock,
      passphrase,
      notify: options.log,
    })
    closing.push(() => keyring.close())
    const publicUrl = publicUrlOf(config, log.hostname)
    // Made after the trust whose files it publishes, and a part of it itself.
    const repository: { tuf: SiteTuf | null } = { tuf: null }
    const trust = await openTrust({
      directory,
      config: config.trust,
      clock,
      records: log.records,
      passphrase,
      notify: options.log,
      enclave: enclaveName(log.hostname),
      contribute: contributionOf({
        publicUrl,
        logKey: logSigner.publicKey,
        start: Date.parse((await log.records.setting('createdAt')) ?? ''),
        keys: (otherLogs) => signerKeys(keyring.registry, log.logId, otherLogs),
        tufRoot: () =>
          config.tuf.mode === 'off'
            ? undefined
            : (repository.tuf?.file('root.json')?.bytes ?? null),
      }),
    })
    const publish = (): Promise<void> => writePublicFiles(directory, publishedFiles(trust))
    await trust.refresh()
    await publish()
    trust.onChange(publish)
    keyring.registry.onChange(() => trust.refresh())
    const rekor = createRekor({ log })
    const settings = await registrySettings(config.registries)
    const cache = openEvidenceDatabase(directory.cache, config.evidenceCacheBytes)
    closing.push(() => cache.close())
    const evidence = createEvidenceStore(cache, clock, (error) => {
      options.log(`airseal: the evidence cache failed: ${asAirsealError(error).message}`)
    })
    closing.push(() => evidence.settled())
    const signing = createSigning({
      log,
      records: log.records,
      canonicalLeaf: (proposed) => rekor.canonicalEntry(proposed),
      keys: keyring,
      registrySettings: settings,
      defaultFormats: config.signatures,
      clock,
      onLogged: (digest, pieces, place) => void evidence.keep(digest, pieces, 'signed', place),
    })
    const policies = createPolicyStore(log.records)
    const verification = createVerification({
      trust: () => trust.current(),
      registrySettings: settings,
      log,
      clock,
      store: evidence,
      policies,
    })
    const tuf = createTuf({
      keys: tufKeys(directory.root, passphrase),
      config: config.tuf,
      clock,
      records: log.records,
      publicUrl,
      notify: options.log,
      trustFiles: () => trust.files(),
    })
    closing.push(() => tuf.close())
    repository.tuf = tuf
    trust.onChange(() => tuf.attend())
    const uris = await keyUris(config, log.records, trust)
    const admission = createAdmission({
      settings: config.admission,
      trust: () => trust.current(),
      keysByUri: (uri) => uris.find(uri),
      registrySettings: settings,
      localEntryCheck: checkAgainst(log),
      clock,
      monotonic: () => performance.now(),
    })
    await loadPolicies({ records: log.records }, admission)
    const managed = siteOperations({
      admission,
      directory,
      config,
      clock,
      log,
      records: log.records,
      signers,
      logKey: logSigner.publicKey,
      registrySettings: settings,
      trust,
      trustKeeper: trust,
      policies,
      evidence,
      tuf,
      publicUrl,
      passphrase,
      notify: options.log,
      keyring,
      backends,
      signing,
    })
    const awsDoor = await openAwsDoor({ config, keyring, clock, notify: options.log })
    const operations: HttpServices['operations'] = {
      sign: (body, caller) =>
        checked(config, body, caller, () => signing.sign(body, callerName(caller))),
      attest: (body, caller) =>
        checked(config, body, caller, () => signing.attest(body, callerName(caller))),
      verify: (body, caller) => checked(config, body, caller, () => verification.verify(body)),
      managed: new Map(Object.entries(managed)),
    }
    const services: HttpServices = {
      rekor,
      operations,
      verdicts: verification,
      evidence: (digest) => evidence.list(digest),
      trustFile: (name) => trust.files().get(name) ?? null,
      tufFile: (path) => tuf.file(path),
      trustVersion: () => trust.bundle().document.version,
      ready: createReadiness({
        log,
        logKey: logSigner.publicKey,
        clock,
        keyring,
        tuf: () => tufReadiness(tuf, clock()),
        trust: () => trustReadiness(trust, config.trust, log, clock()),
      }),
      admission: {
        review: (phase, body, timeoutMs) => admission.review(phase, body, timeoutMs),
        state: () =>
          Promise.resolve(
            followedState(
              admission,
              trust.current(),
              config.admission,
              trust.files().get('trusted_root.json')?.bytes ?? new Uint8Array(),
              uris.all(),
            ),
          ),
      },
      access: {
        tokens: await readTokens(config),
        writeToken: config.logWrites === 'open' ? 'open' : 'required',
      },
      maxBodyBytes: config.maxBodyBytes,
      version: version(),
      log: (record) => {
        // TUF clients ask for the next root to learn that there is none.
        const isUsual = record.route === '/tuf/*path' && record.status === 404
        if (record.status >= 400 && !isUsual)
          options.log(JSON.stringify({ time: new Date(clock()).toISOString(), ...record }))
      },
    }
    return {
      operations: operationsByName(operations),
      finishPending: () => finishPending(signing, options.log),
      listen: () =>
        startServing({
          services,
          directory,
          config,
          clock,
          notify: options.log,
          signing,
          trust,
          log,
          tuf,
          keyring,
          awsDoor,
        }),
      close,
    }
  } catch (error) {
    await close()
    throw error
  }
}

async function requireReady(directory: DataDirectory): Promise<void> {
  const state = await inspectDirectory(directory)
  if (state === 'ready') return
  const what = state === 'interrupted' ? 'is the rest of an interrupted init' : `is ${state}`
  throw new AirsealError(
    'DATA_DIRECTORY',
    `${directory.root} ${what}: run \`airseal init --data ${directory.root}\` first`,
  )
}

/** A key elsewhere needs no passphrase of ours, so it is asked for only where a file is opened. */
async function openLogSigner(
  directory: DataDirectory,
  { keys }: Config,
  passphrase: () => Promise<string>,
): Promise<Signer> {
  if (keys.log === null)
    return openFileSigner({ name: 'log', path: directory.logKey, passphrase: await passphrase() })
  const isFile = keys.log.startsWith('file:')
  return openSigner('log', keys.log, isFile ? { passphrase: await passphrase() } : {})
}

/** Public keys of the URIs in the configuration, for `init`. */
export async function configuredKeys(
  { keys }: Config,
  passphrase: string | null,
): Promise<{ signingKey: PublicKey | null; logKey: PublicKey | null }> {
  const read = async (name: string, uri: string | null): Promise<PublicKey | null> => {
    if (uri === null) return null
    const signer = await openSigner(name, uri, passphrase === null ? {} : { passphrase })
    await signer.close()
    if (name === SIGNING_KEY) requireImageKey(signer)
    return signer.publicKey
  }
  return { signingKey: await read(SIGNING_KEY, keys.signing), logKey: await read('log', keys.log) }
}

/** People are asked once, however many keys want the answer. It is kept outside of JavaScript's heap, where no heap dump shows it. */
function askedOnce(ask: () => Promise<string>): () => Promise<string> {
  let answer: Promise<KeyObject> | null = null
  return async () => {
    answer ??= ask().then(
      (passphrase) => createSecretKey(passphrase, 'utf8'),
      (error: unknown) => {
        answer = null
        throw error
      },
    )
    const bytes = (await answer).export()
    try {
      return bytes.toString('utf8')
    } finally {
      bytes.fill(0)
    }
  }
}

async function readTokens(config: Config): Promise<HttpServices['access']['tokens']> {
  if (config.tokensFile === null) return []
  const tokens = parseTokens(await readProvidedSecret(config.tokensFile, 'CONFIG_INVALID'))
  // Without tokens every process of this machine may sign: a file that was emptied must not open that.
  if (tokens.length === 0)
    throw new AirsealError('CONFIG_INVALID', `tokensFile: ${config.tokensFile} holds no token`)
  return tokens
}

function operationsByName({
  sign,
  attest,
  verify,
  managed,
}: HttpServices['operations']): Airseal['operations'] {
  const byName: [string, (body: Json, caller: Caller) => Promise<Json>][] = []
  for (const [name, { run }] of managed) byName.push([name, run])
  return new Map([['sign', sign], ['attest', attest], ['verify', verify], ...byName])
}

/** Paths are for the operator: from elsewhere only layouts below the configured folders may be named. */
async function checked(
  config: Config,
  body: Json,
  caller: Caller,
  work: () => Promise<Json>,
): Promise<Json> {
  if (caller.kind !== 'socket') {
    const { checkLayouts } = await import('./layout-access.ts')
    await checkLayouts(body, config.layoutRoots)
  }
  return work()
}
