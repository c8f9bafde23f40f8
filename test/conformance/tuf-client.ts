#!/usr/bin/env node
// Our TUF client behind the command line of the TUF conformance suite (theupdateframework/tuf-conformance, CLIENT-CLI.md):
//   tuf-client.ts --metadata-dir DIR init ROOT
//   tuf-client.ts --metadata-dir DIR --metadata-url URL refresh
//   tuf-client.ts --metadata-dir DIR --metadata-url URL --target-name NAME… --target-base-url URL --target-dir DIR download
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { AirsealError } from '../../src/core/index.ts'
import {
  refresh,
  type Client,
  type MetadataStore,
  type RepositorySource,
} from '../../src/tuf/index.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    'metadata-dir': { type: 'string', default: '' },
    'metadata-url': { type: 'string', default: '' },
    'target-name': { type: 'string', multiple: true, default: [] },
    'target-base-url': { type: 'string', default: '' },
    'target-dir': { type: 'string', default: '' },
  },
})

const store: MetadataStore = {
  load: (role) => readFile(file(role)).catch(() => null),
  save: (role, bytes) => writeFile(file(role), bytes),
}

function file(role: string): string {
  return join(values['metadata-dir'], `${encodeURIComponent(role)}.json`)
}

const source: RepositorySource = {
  metadata: (name, maxBytes) => fetched(below('metadata-url', [name]), maxBytes),
  target: (path, maxBytes) => fetched(below('target-base-url', path.split('/')), maxBytes),
}

function below(option: 'metadata-url' | 'target-base-url', parts: readonly string[]): string {
  return `${values[option].replace(/\/$/, '')}/${parts.map(encodeURIComponent).join('/')}`
}

/** Reads `maxBytes` at most, however much is sent. */
async function fetched(url: string, maxBytes: number): Promise<Uint8Array | null> {
  const response = await fetch(url)
  if (response.status === 404 || response.status === 403) return null
  if (!response.ok || response.body === null) throw new Error(`${url}: status ${response.status}`)
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    size += chunk.length
    if (size > maxBytes)
      throw new AirsealError('TOO_LARGE', `${url} has more than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

async function download(client: Client, path: string): Promise<void> {
  const target = await client.find(path)
  if (target === null) throw new AirsealError('TUF_MISSING', `no target ${path}`)
  const place = join(values['target-dir'], encodeURIComponent(path))
  const kept = await readFile(place).catch(() => null)
  if (kept !== null && client.matches(target, kept)) return
  await writeFile(place, await client.download(target))
}

async function main(): Promise<void> {
  const [command, root = ''] = positionals
  if (command === 'init') {
    await store.save('root', await readFile(root))
    return
  }
  const client = await refresh({ source, store, now: Date.now() })
  if (command === 'download') for (const name of values['target-name']) await download(client, name)
}

await main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`)
  process.exitCode = 1
})
