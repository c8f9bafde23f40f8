import { read } from 'node:fs'
import { AirsealError, fromUtf8 } from '../src/core/index.ts'
import { readProvidedSecret } from './secret-file.ts'
import type { PinSource } from './pkcs11-uri.ts'

const MAX_PIN = 1_024

/**
 * Reads the PIN each time it is needed: a file may be corrected while airseal runs; a file descriptor can be read once, so its PIN is kept.
 * One line end is dropped.
 * @throws AirsealError (when read) KEY_PIN when it is empty or can't be read, DATA_PERMISSIONS
 */
export function pinReader(source: PinSource | null): () => Promise<string | null> {
  if (source === null) return () => Promise.resolve(null)
  if ('file' in source) {
    return async () => checked(await readProvidedSecret(source.file, 'KEY_PIN'), source.file)
  }
  return async () => {
    let pin = kept.get(source.fd)
    if (pin === undefined) {
      pin = checked(await readDescriptor(source.fd), `file descriptor ${source.fd}`)
      kept.set(source.fd, pin)
    }
    return pin
  }
}

/** Two keys of one token may name the same descriptor. */
const kept = new Map<number, string>()

async function readDescriptor(fd: number): Promise<string> {
  const buffer = Buffer.alloc(MAX_PIN)
  let size = 0
  while (size < MAX_PIN) {
    const count = await readSome(fd, buffer, size)
    if (count === 0) break
    size += count
  }
  try {
    return fromUtf8(buffer.subarray(0, size), 'the PIN', 'KEY_PIN')
  } finally {
    buffer.fill(0)
  }
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

function checked(text: string, from: string): string {
  const pin = text.replace(/\r?\n$/, '')
  if (pin === '') throw new AirsealError('KEY_PIN', `the PIN in ${from} is empty`)
  return pin
}
