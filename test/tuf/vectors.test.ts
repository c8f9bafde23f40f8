import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { sha256Hex } from '../../src/core/index.ts'
import { memoryStore, refresh, type RepositorySource } from '../../src/tuf/index.ts'
import { NEEDS_VECTORS, vectorsDirectory } from '../support/vectors.ts'

/** Whole repositories as others have published them. */

interface Repository {
  readonly name: string
  readonly initialRoot: string
  readonly metadataDir: string
  readonly targetsDir: string
  readonly referenceTime: string
  readonly targetPath: string
  readonly targetSha256: string
  readonly metadata: Readonly<Record<string, { readonly expires: string }>>
}

const DIRECTORY = join(vectorsDirectory() ?? '', 'tuf')

await t.test(
  'published repositories are followed at their time, and refused after it',
  NEEDS_VECTORS,
  async (t) => {
    const index = JSON.parse(await readFile(join(DIRECTORY, 'index.json'), 'utf8')) as {
      repositories: readonly Repository[]
    }
    t.equal(index.repositories.length, 2)
    for (const repository of index.repositories) {
      const read = (path: string): Promise<Buffer | null> =>
        readFile(join(DIRECTORY, path)).catch(() => null)
      const source: RepositorySource = {
        metadata: (name) => read(`${repository.metadataDir}/${name}`),
        target: (path) => read(`${repository.targetsDir}/${path}`),
      }
      const from = async () =>
        memoryStore(new Map([['root', await readFile(join(DIRECTORY, repository.initialRoot))]]))
      const now = Date.parse(repository.referenceTime)
      const client = await refresh({ source, store: await from(), now })
      const target = await client.find(repository.targetPath)
      t.ok(target, repository.name)
      if (target !== null)
        t.equal(sha256Hex(await client.download(target)), repository.targetSha256, repository.name)
      const after = Date.parse(repository.metadata['timestamp.json']?.expires ?? '')
      await t.rejects(refresh({ source, store: await from(), now: after }), { code: 'TUF_EXPIRED' })
    }
  },
)
