import { AirsealError } from '../core/index.ts'
import { delay } from './concurrency.ts'
import type { Repository, StoredManifest } from './repository.ts'

/** What a shared tag holds a list of. */
export interface TagList<Item> {
  /** The list under the tag; null: there is nothing yet. Throws when what is there must not be written over. */
  items(current: StoredManifest | null): readonly Item[]
  /** The same text for the same item. */
  key(item: Item): string
  /** Stores a manifest with `items` under the tag, and first what it needs. */
  write(
    repository: Repository,
    items: readonly Item[],
    current: StoredManifest | null,
  ): Promise<void>
}

const ATTEMPTS = 20
/** Bounds in milliseconds of how long a write is looked after. */
const SETTLE = { least: 120, most: 5_000 } as const

/**
 * Adds `item` to the list under `tag` unless one that `isSame` is there.
 *
 * Registries can't compare and swap a tag (Debian's ignores If-Match), so a writer that read before us and writes after us undoes our
 * write. Therefore every writer looks after *everything it wrote*, its own item and the others', until longer after its write than the
 * time between any reading and writing: what is missing by then is merged in again. Suppose an item is lost for good. Its last writer
 * wrote at s, the first write without it came from someone who had read before s, so soon after s; and the last writer, still looking,
 * wrote again. The guard time is several times our own reading-to-writing time; a writer that stalls longer between the two can still do harm.
 * @throws AirsealError REGISTRY_CONTENTION after 20 writes
 */
export async function addToTag<Item>(
  repository: Repository,
  tag: string,
  list: TagList<Item>,
  item: Item,
  isSame: (existing: Item) => boolean | Promise<boolean>,
): Promise<'added' | 'present'> {
  return repository.exclusively(tag, async (inside) => {
    const guarded = new Map<string, Item>()
    let outcome: 'added' | 'present' = 'present'
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const started = performance.now()
      const current = await inside.readManifestByTag(tag)
      const items = list.items(current)
      const missing = without(guarded, items, list)
      if (attempt === 0) {
        if (await some(items, isSame)) return 'present'
        missing.push(item)
        outcome = 'added'
      }
      if (missing.length > 0) {
        const merged = [...items, ...missing]
        for (const each of merged) guarded.set(list.key(each), each)
        const written = await attemptWrite(() => list.write(inside, merged, current), attempt)
        if (inside.exclusive && written) return outcome
      }
      if (await stays(inside, tag, list, guarded, performance.now() - started)) return outcome
      await delay(Math.random() * 50 * Math.min(attempt + 1, 8))
    }
    throw new AirsealError(
      'REGISTRY_CONTENTION',
      `others kept writing over tag ${tag} of ${inside.location} (${ATTEMPTS} writes)`,
    )
  })
}

/** False when the write may or may not have happened: looking at the tag again tells. */
async function attemptWrite(write: () => Promise<void>, attempt: number): Promise<boolean> {
  try {
    await write()
    return true
  } catch (error) {
    const code = error instanceof AirsealError ? error.code : undefined
    if (attempt >= 2 || (code !== 'REGISTRY_UNREACHABLE' && code !== 'REGISTRY_ERROR')) throw error
    return false
  }
}

/** Looks at the tag several times while stale writes may still arrive; false as soon as something is missing. */
async function stays<Item>(
  repository: Repository,
  tag: string,
  list: TagList<Item>,
  guarded: Map<string, Item>,
  windowMs: number,
): Promise<boolean> {
  const settle = Math.min(Math.max(5 * windowMs, SETTLE.least), SETTLE.most)
  for (const share of [0.2, 0.3, 0.5]) {
    await delay(settle * share)
    const items = list.items(await repository.readManifestByTag(tag))
    if (without(guarded, items, list).length > 0) return false
  }
  return true
}

function without<Item>(
  guarded: Map<string, Item>,
  items: readonly Item[],
  list: TagList<Item>,
): Item[] {
  const there = new Set(items.map((each) => list.key(each)))
  return [...guarded].filter(([key]) => !there.has(key)).map(([, each]) => each)
}

async function some<Item>(
  items: readonly Item[],
  test: (item: Item) => boolean | Promise<boolean>,
): Promise<boolean> {
  for (const item of items) if (await test(item)) return true
  return false
}
