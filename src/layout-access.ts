import { realpath } from 'node:fs/promises'
import { sep } from 'node:path'
import { AirsealError, isObject, type Json } from './core/index.ts'
import { parseReference } from './oci/index.ts'

/**
 * Refuses layouts outside `roots` in the images of a request. Links are resolved first: a link inside a root must not lead out of it.
 * @throws AirsealError LAYOUT_FORBIDDEN
 */
export async function checkLayouts(body: Json, roots: readonly string[]): Promise<void> {
  const images = isObject(body) && Array.isArray(body['images']) ? body['images'] : []
  for (const image of images) {
    if (typeof image !== 'string' || !image.startsWith('oci:')) continue
    const reference = parseReference(image)
    if (reference.kind !== 'layout' || !(await isBelow(reference.directory, roots))) {
      throw new AirsealError(
        'LAYOUT_FORBIDDEN',
        'an image layout on disk was named over the network, outside the folders of layoutRoots',
      )
    }
  }
}

async function isBelow(directory: string, roots: readonly string[]): Promise<boolean> {
  const real = await realpath(directory).catch(() => null)
  if (real === null) return false
  for (const root of roots) {
    const realRoot = await realpath(root).catch(() => null)
    if (realRoot !== null && (real === realRoot || real.startsWith(realRoot + sep))) return true
  }
  return false
}
