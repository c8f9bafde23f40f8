import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { initialise, openAirseal, type Airseal } from '../../../src/app.ts'
import { loadConfig, type Config } from '../../../src/config.ts'
import { isObject, type Json, type JsonObject } from '../../../src/core/index.ts'
import { dataDirectory, type DataDirectory } from '../../../src/data-directory.ts'

const PASSPHRASE = 'a passphrase for tests'

/** A site in this process, whose clock the test sets. */
export interface Place {
  readonly directory: DataDirectory
  /** Milliseconds since 1970. */
  now: number
  readonly airseal: Airseal
  /** Has the operator's operation done; the answer is an object. */
  call(name: string, body?: Json): Promise<JsonObject>
  /** Outcome and reason of verifying one image. */
  verdict(image: string): Promise<{ outcome: Json; reason: Json; version: Json }>
  /** Everything in `public/`, and the stored bundle. */
  snapshot(): Promise<Readonly<Record<string, string>>>
  /** Closes it and opens it again. */
  restart(): Promise<void>
}

export interface PlaceOptions {
  readonly now: number
  readonly publicUrl?: string
  readonly trust?: Partial<Config['trust']>
}

/** Makes a site in `path`, which goes away with the test's directory. */
export async function startTrustPlace(
  t: { teardown(work: () => Promise<void>): void },
  path: string,
  options: PlaceOptions,
): Promise<Place> {
  const directory = dataDirectory(path)
  const standard = await loadConfig(null, {
    publicUrl: options.publicUrl ?? 'http://airseal.test:8470',
  })
  const config = { ...standard, trust: { ...standard.trust, ...options.trust } }
  const state = { now: options.now }
  await initialise(directory, {
    publicUrl: config.publicUrl ?? '',
    passphrase: PASSPHRASE,
    clock: () => state.now,
    logKey: null,
    signingKey: null,
    hasRootKey: false,
  })
  const open = (): Promise<Airseal> =>
    openAirseal({
      directory,
      config,
      clock: () => state.now,
      passphrase: () => Promise.resolve(PASSPHRASE),
      log: () => undefined,
    })
  let airseal = await open()
  t.teardown(() => airseal.close())
  const call = async (name: string, body: Json = null): Promise<JsonObject> => {
    const operation = airseal.operations.get(name)
    const answer = await operation?.(body, { kind: 'socket' })
    if (!isObject(answer)) throw new Error(`${name} gave no object`)
    return answer
  }
  return {
    directory,
    get now() {
      return state.now
    },
    set now(time) {
      state.now = time
    },
    get airseal() {
      return airseal
    },
    call,
    verdict: async (image) => {
      const answer = await call('verify', { images: [image] })
      const [result] = Array.isArray(answer['results']) ? answer['results'] : []
      const { outcome = null, reason = null } = isObject(result) ? result : {}
      return { outcome, reason, version: answer['trustVersion'] ?? null }
    },
    snapshot: async () => {
      const files: Record<string, string> = {}
      for (const name of await readdir(directory.public))
        files[name] = (await readFile(join(directory.public, name))).toString('base64')
      return { ...files, stored: JSON.stringify(await call('trust/show')) }
    },
    restart: async () => {
      await airseal.close()
      airseal = await open()
    },
  }
}
