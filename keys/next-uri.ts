import { randomBytes } from 'node:crypto'
import { dirname, join } from 'node:path'
import { AirsealError } from '../src/core/index.ts'
import { parseKeyReference } from './reference.ts'

/** The name after this one: `app` → `app-2` → `app-3`. */
export function nextName(name: string): string {
  const [, stem = name, number] = /^(.+)-([1-9][0-9]{0,5})$/.exec(name) ?? []
  return number === undefined ? `${name}-2` : `${stem}-${Number(number) + 1}`
}

/**
 * Where a successor of a key is made: at the same back-end, beside it, under the next name.
 * @param name - of the new key; names its file
 * @throws AirsealError KEY_REFERENCE when the URI names no place for another key
 */
export function nextKeyUri(uri: string, name: string): string {
  const reference = parseKeyReference(uri)
  switch (reference.backend) {
    case 'file':
      return `file:${join(dirname(reference.path), `${name}.key`)}`
    case 'aws-kms': {
      const [before, alias] = uri.split('alias/')
      if (alias !== undefined && !reference.keyId.startsWith('arn:'))
        return `${before ?? ''}alias/${nextName(alias)}`
      throw new AirsealError(
        'KEY_REFERENCE',
        'AWS chooses key ids itself, and this key is named by one: make the new key with `airseal key create NAME awskms:///alias/…`, then give --to NAME',
      )
    }
    case 'google-kms': {
      const [ring, key = ''] = reference.cryptoKey.split('/cryptoKeys/')
      return `gcpkms://${ring ?? ''}/cryptoKeys/${nextName(key)}`
    }
    case 'pkcs11': {
      const [path = '', query = ''] = uri.slice('pkcs11:'.length).split('?')
      const label = nextName(reference.object.label ?? name)
      const id = randomBytes(8).toString('hex').replace(/../g, '%$&')
      const kept = path.split(';').filter((part) => !/^(?:object|id|type)=/.test(part))
      return `pkcs11:${[...kept, `object=${encodeURIComponent(label)}`, `id=${id}`].join(';')}?${query}`
    }
  }
}
