// A rotation and a compromise over many images: AIRSEAL_DRILL_IMAGES says how many, 1000 for the whole drill.
import { join } from 'node:path'
import t from 'tap'
import { isObject, type Json, type JsonObject } from '../../src/core/index.ts'
import { tinyLayout } from '../support/tiny-layout.ts'
import { startTrustPlace, type Place } from '../trust/support/place.ts'
import { temporaryDirectory } from '../support/site.ts'

const COUNT = Number(process.env['AIRSEAL_DRILL_IMAGES'] ?? '250')
/** Images in one layout: each signature writes the layout's index anew. */
const EACH = 10
const START = Date.UTC(2026, 10, 24)

t.setTimeout(300_000)
const directory = await temporaryDirectory(t)
const place = await startTrustPlace(t, join(directory, 'data'), { now: START })

async function images(prefix: string, count: number): Promise<readonly string[]> {
  const lists = Array.from({ length: Math.ceil(count / EACH) }, (_, at) =>
    tinyLayout(
      join(directory, `${prefix}-${at}`),
      Array.from(
        { length: Math.min(EACH, count - at * EACH) },
        (_, one) => `${prefix}-${at}-${one}`,
      ),
    ),
  )
  return (await Promise.all(lists)).flat()
}

/** One request a layout, all at once; results by image. */
async function each(
  site: Place,
  operation: string,
  references: readonly string[],
): Promise<Map<string, JsonObject>> {
  const byLayout = Map.groupBy(references, (one) => one.split('@')[0] ?? '')
  const answers = await Promise.all(
    [...byLayout.values()].map((some) =>
      site.call(operation, {
        images: [...some],
        ...(operation === 'sign' && { signatures: 'legacy' }),
      }),
    ),
  )
  return new Map(
    answers.flatMap(({ results }) =>
      listOf(results).map((one) => [text(one['image']), one] as const),
    ),
  )
}

function text(value: Json | undefined): string {
  return typeof value === 'string' ? value : ''
}

function listOf(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}

function indexOf(result: JsonObject | undefined): number {
  return Number(listOf(result?.['signatures'])[0]?.['logIndex'])
}

await t.test(
  `${COUNT} images survive a rotation, and a compromise from one entry on`,
  async (t) => {
    const old = await images('old', COUNT)
    const signed = await each(place, 'sign', old)
    t.equal(signed.size, COUNT)

    await place.call('key/rotate')
    const afterwards = await each(place, 'verify', old)
    t.equal([...afterwards.values()].filter(({ outcome }) => outcome === 'verified').length, COUNT)
    t.ok([...afterwards.values()].every(({ keyName }) => keyName === 'signing'))

    const fresh = await images('new', 20)
    await each(place, 'sign', fresh)
    const byNew = await each(place, 'verify', fresh)
    t.equal([...byNew.values()].filter(({ keyName }) => keyName === 'signing-2').length, 20)

    const from = Math.floor(COUNT / 2)
    await place.call('key/compromise', { key: 'signing', from: String(from), reason: 'drill' })
    const now = await each(place, 'verify', old)
    const wrong = old.filter((image) => {
      const { outcome = null, reason = null } = now.get(image) ?? {}
      return indexOf(signed.get(image)) < from
        ? outcome !== 'verified'
        : outcome !== 'rejected' || reason !== 'KEY_NOT_VALID_AT_INDEX'
    })
    t.same(wrong, [], 'entries before it count, entries from it on are refused with the reason')
    const stillNew = await each(place, 'verify', fresh)
    t.ok([...stillNew.values()].every(({ outcome }) => outcome === 'verified'))

    const affected = await place.call('key/signed', {
      key: 'signing',
      from: String(from),
      limit: 5_000,
    })
    t.same(
      new Set(listOf(affected['entries']).map(({ digest }) => text(digest))),
      new Set(
        old
          .filter((image) => indexOf(signed.get(image)) >= from)
          .map((image) => image.split('@')[1]),
      ),
      'every image affected is listed, and no other',
    )
  },
)
