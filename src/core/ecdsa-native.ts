import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { fromHex } from './bytes.ts'
import { sha256 } from './digest.ts'
import type { EcdsaQuestion } from './ecdsa-signature.ts'
import { AirsealError } from './errors.ts'

/** native/ecdsa.c */
interface Addon {
  verify(packed: Uint8Array): Promise<number>
  verifyNow(packed: Uint8Array): number
}

export type EcdsaVerifier = (question: EcdsaQuestion) => Promise<boolean>

/** Signatures that go to the thread pool together: waking a thread costs as much as verifying. The addon takes 32 at most. */
const MIN_BATCH = 4
const MAX_BATCH = 16
/** Batches that are with the thread pool at a time; what is asked meanwhile forms the next ones. */
const MAX_JOBS = Math.max(2, availableParallelism())
const POINT_SIZES = [65, 97, 133] as const

/**
 * Loads the compiled addon and tests it with signatures that are known to be good and bad.
 * @throws AirsealError RUNTIME with the reason when it is absent, does not load or errs
 */
export function loadNativeVerifier(): EcdsaVerifier {
  const addon = loadAddon()
  selfTest(addon)
  return batching(addon)
}

function loadAddon(): Addon {
  const file = `native/build/${process.platform}-${process.arch}/ecdsa.node`
  // Beside src in a clone, beside dist in a package.
  const places = ['../../', '../../../'].map((up) =>
    fileURLToPath(new URL(up + file, import.meta.url)),
  )
  const place = places.find((path) => existsSync(path))
  if (place === undefined)
    throw new AirsealError('RUNTIME', 'the addon was not built (no C compiler?)')
  try {
    return createRequire(import.meta.url)(place) as Addon
  } catch (cause) {
    throw new AirsealError('RUNTIME', `the addon does not load: ${(cause as Error).message}`, {
      cause,
    })
  }
}

function pack(questions: readonly EcdsaQuestion[]): Uint8Array {
  let size = 0
  for (const { point, digest, signature } of questions)
    size += 3 + point.length + digest.length + signature.length
  const packed = Buffer.allocUnsafe(size)
  let at = 0
  for (const { curve, point, digest, signature } of questions) {
    packed[at] = curve
    packed[at + 1] = digest.length
    packed[at + 2] = signature.length
    at += 3
    for (const part of [point, digest, signature]) {
      packed.set(part, at)
      at += part.length
    }
  }
  return packed
}

/** False where the bytes would not fit the packed form: no such signature is good. */
function isPackable({ curve, point, digest, signature }: EcdsaQuestion): boolean {
  return point.length === POINT_SIZES[curve] && digest.length < 256 && signature.length < 256
}

interface Asked {
  readonly question: EcdsaQuestion
  readonly resolve: (good: boolean) => void
  readonly reject: (error: unknown) => void
}

/** Collects what is asked in one turn of the event loop, and while the thread pool is busy, and sends it in batches. */
function batching(addon: Addon): EcdsaVerifier {
  const waiting: Asked[] = []
  let jobs = 0
  let isDue = false

  function flush(): void {
    isDue = false
    while (waiting.length > 0 && jobs < MAX_JOBS) {
      // Shared out over the threads that are free, unless that would make crumbs of it.
      const share = Math.ceil(waiting.length / (MAX_JOBS - jobs))
      void judge(waiting.splice(0, Math.min(MAX_BATCH, Math.max(MIN_BATCH, share))))
    }
  }

  async function judge(batch: readonly Asked[]): Promise<void> {
    jobs += 1
    try {
      const good = await addon.verify(pack(batch.map(({ question }) => question)))
      batch.forEach(({ resolve }, n) => {
        resolve((good & (1 << n)) !== 0)
      })
    } catch (cause) {
      for (const { reject } of batch)
        reject(new AirsealError('INTERNAL', 'verification failed to run', { cause }))
    } finally {
      jobs -= 1
      flush()
    }
  }

  return (question) => {
    if (!isPackable(question)) return Promise.resolve(false)
    return new Promise((resolve, reject) => {
      waiting.push({ question, resolve, reject })
      if (isDue) return
      isDue = true
      setImmediate(flush)
    })
  }
}

/** Public keys (points) and signatures over `airseal`, hashed with SHA-256; made for this test only. */
const KNOWN = [
  {
    curve: 0,
    point:
      '046e5f491e5b0b803137e3cb354c970b487815f827ddb87b0a9a4452974fbbb99f630ddc112a93998739e293eb85302add085b2598aedd62521a3a338cb5b13ffe',
    signature:
      '30440220162ceeb925f1b4cdfc7c8d26c1eb7ec1423468ba0570315d084cc6a5d58d8bd60220613b668c7d0f473cb69ec62f0d68a30c70d81bdd0ff37abb7955318e2c437532',
  },
  {
    curve: 1,
    point:
      '0496af667414a3f8873fd6789e4432f627cb41d50b90fe6152bf72fda0e353090bdfdceb7aba0506e61d15a4687fef59a1db1c0f80b9b78e0a11daeb7a35014bb764f01436bd16a9bc8dbdfcb89a3c51a128dfa2df523754aaa591fb898c39b424',
    signature:
      '30650230692e87aed5cc3e234b1c792b3321c7b1a026466085d8edf6da5215a7e2bf2ed1c5fec5ba635444b298bef3ed9c6a6029023100ff781542b6cd7ed129b0da8174d828ae7f45127f4afc44300db43bf184ee7e57d367f0146e1031b18c89b5ccda5a93bf',
  },
  {
    curve: 2,
    point:
      '0400f317fae385d99a864cd570fb0728bcb4982f9ac6a7c7e5f2dcc7e4dbb54b590f5af27178ea81983ade2357f33ae4afae574343903c4fffdade360b3d4d8b3c95fa00891d6b5206f60cf5944e9f5c19ba5016dc289fe33042a1aa2e755b2e817d403697680c7d24501616db4dfef419c8e280e8b07f39acec7735e24894beda900c4486',
    signature:
      '30818702412dde5bb29230d31361ed5c46afb9371cc60a864508b41dc33e9bcbec3d7403bc6802bdcf90d77fc0e6431888a3575de01afe973c8da4c8083df21bf548e71206850242013cb3f4a976c6bf97f499e96da8f84b9d7acfbf2fcbc58ede2622633cd2695c7f3cc9f9d59cd7af225b9703e6324765165a158f7f0d30fa5d5ee45cd4cbd52be835',
  },
] as const

function selfTest(addon: Addon): void {
  const digest = sha256('airseal')
  for (const known of KNOWN) {
    const point = fromHex(known.point, 'point')
    const signature = fromHex(known.signature, 'signature')
    const good = { curve: known.curve, point, digest, signature }
    const otherDigest = { ...good, digest: sha256('other') }
    const trailing = { ...good, signature: Buffer.concat([signature, Uint8Array.of(0)]) }
    const zero = { ...good, signature: fromHex('3006020100020100', 'signature') }
    if (addon.verifyNow(pack([good, otherDigest, trailing, zero, good])) !== 0b10001) {
      throw new AirsealError('RUNTIME', 'the addon judges known signatures wrongly')
    }
  }
}
