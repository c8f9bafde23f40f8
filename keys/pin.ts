import { isUtf8 } from 'node:buffer'
import { createSecretKey, type KeyObject } from 'node:crypto'
import { read } from 'node:fs'
import { AirsealError } from '../src/core/index.ts'
import { readProvidedBytes } from './secret-file.ts'
import type { PinSource } from './pkcs11-uri.ts'

const MAX_PIN = 1_024
const [LINE_FEED, RETURN] = [10, 13]

/**
 * Reads the PIN each time it is needed: a file may be corrected while airseal runs; a file descriptor can be read once, so its PIN is kept,
 * outside of JavaScript's heap. One line end is dropped.
 * @returns bytes in a buffer of their own, for the caller to hand on or overwrite
 * @throws AirsealError (when read) KEY_PIN when it is empty or can't be read, DATA_PERMISSIONS
 */
export function pinReader(source: PinSource | null): () => Promise<Uint8Array<ArrayBuffer> | null> {
  if (source === null) return () => Promise.resolve(null)
  if ('file' in source) {
    return async () => taken(await readProvidedBytes(source.file, 'KEY_PIN'), source.file)
  }
  return async () => {
    let pin = kept.get(source.fd)
    if (pin === undefined) {
      const read = taken(await readDescriptor(source.fd), `file descriptor ${source.fd}`)
      pin = createSecretKey(read)
      read.fill(0)
      kept.set(source.fd, pin)
    }
    const copy = pin.export()
    return taken(copy, `file descriptor ${source.fd}`)
  }
}

/** Two keys of one token may name the same descriptor. */
const kept = new Map<number, KeyObject>()

async function readDescriptor(fd: number): Promise<Buffer> {
  const buffer = Buffer.alloc(MAX_PIN)
  let size = 0
  while (size < MAX_PIN) {
    const count = await readSome(fd, buffer, size)
    if (count === 0) break
    size += count
  }
  return buffer.subarray(0, size)
}

function readSome(fd: number, buffer: Buffer, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, at, buffer.length - at, null, (error, count) => {
      if (error) {
        const cause = { cause: error }
        reject(new AirsealError('KEY_PIN', `file descriptor ${fd} can't be read`, cause))
      } else resolve(count)
    })
  })
}

/** The PIN alone; what it was read into is overwritten. */
function taken(bytes: Buffer, from: string): Uint8Array<ArrayBuffer> {
  let { length } = bytes
  if (bytes[length - 1] === LINE_FEED) length -= bytes[length - 2] === RETURN ? 2 : 1
  const pin = Uint8Array.from(bytes.subarray(0, length))
  bytes.fill(0)
  if (length === 0) throw new AirsealError('KEY_PIN', `the PIN in ${from} is empty`)
  if (!isUtf8(pin)) throw new AirsealError('KEY_PIN', `the PIN in ${from} is not UTF-8`)
  return pin
}
