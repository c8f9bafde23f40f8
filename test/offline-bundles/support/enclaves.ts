import { join } from 'node:path'
import { destinationAt } from '../../../src/cli/bundle-import.ts'
import { judge } from '../../../src/cli/bundle-judge.ts'
import { receiverSite, senderSite } from '../../../src/cli/bundle-sites.ts'
import { initialise, openAirseal } from '../../../src/app.ts'
import { loadConfig } from '../../../src/config.ts'
import type { Json, JsonObject } from '../../../src/core/index.ts'
import { dataDirectory, inspectDirectory } from '../../../src/data-directory.ts'
import { resolveImage } from '../../../src/cli/bundle-images.ts'
import { DEFAULT_REGISTRY_SETTINGS } from '../../../src/oci/index.ts'
import { trustReader } from '../../../src/operations/index.ts'
import {
  exportBundle,
  importBundle,
  SENDER_GATE,
  SILENT,
  type ExportRequest,
  type ExportResult,
  type Gate,
  type ImportResult,
} from '../../../offline-bundles/index.ts'

const SETTINGS = { ...DEFAULT_REGISTRY_SETTINGS, timeoutMs: 20_000 }

const noScratch = (): Promise<string> => Promise.reject(new Error('no archives here'))

/** One side, in this process: its own keys, log, ledger and trust. */
export interface Enclave {
  readonly name: string
  readonly data: string
  call(operation: string, body: Json): Promise<JsonObject>
  /** Text of its trust bundle. */
  trust(): Promise<string>
  /** Exports images by reference. */
  export(
    output: string,
    images: readonly string[],
    more?: Partial<ExportRequest>,
  ): Promise<ExportResult>
  import(paths: string | readonly string[], registry: string, gate?: Gate): Promise<ImportResult>
  /** Takes receipts of, or bundles from, another side. */
  meet(other: Enclave): Promise<void>
  /** Ends it and opens it again. */
  reopen(): Promise<void>
  close(): Promise<void>
}

interface Lifetime {
  teardown(work: () => Promise<void>): void
}

/** Makes an enclave in `folder/NAME`, or opens the one that is there. */
export async function startEnclave(t: Lifetime, folder: string, name: string): Promise<Enclave> {
  const directory = dataDirectory(join(folder, name))
  const config = await loadConfig(null, { publicUrl: `http://${name}:8470` })
  const clock = () => Date.now()
  if ((await inspectDirectory(directory)) !== 'ready') {
    await initialise(directory, {
      publicUrl: `http://${name}:8470`,
      passphrase: 'correct horse',
      clock,
      logKey: null,
      signingKey: null,
      hasRootKey: false,
    })
  }
  const open = () =>
    openAirseal({
      directory,
      config,
      clock,
      passphrase: () => Promise.resolve('correct horse'),
      log: () => undefined,
    })
  let airseal = await open()
  let isOpen = true
  const close = async (): Promise<void> => {
    if (isOpen) await airseal.close()
    isOpen = false
  }
  t.teardown(close)
  const connection = {
    call: async (operation: string, body: Json): Promise<Json> => {
      const run = airseal.operations.get(operation)
      if (run === undefined) throw new Error(`no operation ${operation}`)
      return run(body, { kind: 'socket' })
    },
    close: () => Promise.resolve(),
  }
  const call = async (operation: string, body: Json): Promise<JsonObject> =>
    (await connection.call(operation, body)) as JsonObject
  return {
    name,
    data: directory.root,
    call,
    trust: async () => {
      const { readFile } = await import('node:fs/promises')
      return readFile(join(directory.public, 'trust-bundle.json'), 'utf8')
    },
    export: async (output, images, more = {}) => {
      const resolved = []
      for (const from of images)
        resolved.push(await resolveImage({ from, as: null }, SETTINGS, noScratch))
      const request = {
        kind: 'full',
        target: null,
        platforms: [],
        capacity: null,
        label: null,
      } as const
      return exportBundle(senderSite(connection), {
        ...request,
        images: resolved,
        output,
        progress: SILENT,
        ...more,
      })
    },
    import: (paths, registry, gate = SENDER_GATE) =>
      importBundle(receiverSite(connection), {
        paths: typeof paths === 'string' ? [paths] : paths,
        destination: destinationAt(registry, SETTINGS),
        gate,
        judge,
        trustReader,
        now: Date.now(),
        progress: SILENT,
        spool: join(directory.root, 'bundles'),
      }),
    meet: async (other) => {
      await call('bundle/peer', { trust: await other.trust() })
    },
    reopen: async () => {
      await close()
      airseal = await open()
      isOpen = true
    },
    close,
  }
}

/** A sender and a receiver that know each other. */
export async function startPair(
  t: Lifetime,
  folder: string,
): Promise<{ readonly low: Enclave; readonly high: Enclave }> {
  const low = await startEnclave(t, folder, 'low.example')
  const high = await startEnclave(t, folder, 'high.example')
  await high.meet(low)
  await low.meet(high)
  return { low, high }
}

/** Code of the error that `work` ends in; null: it did not. */
export async function codeOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work
    return null
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
}
