import { readFile } from 'node:fs/promises'
import { createAdmission } from '../admission-service.ts'
import {
  AirsealError,
  isObject,
  publicKeyFromPem,
  systemClock,
  utf8,
  type Json,
} from '../core/index.ts'
import type { DataDirectory } from '../data-directory.ts'
import { siteTrustOf, type SiteTrust } from '../evidence/index.ts'
import { testPolicies } from '../operations/index.ts'
import { registrySettings } from '../registry-settings.ts'
import type { Input } from './command.ts'
import type { Connection } from './connection.ts'
import { configOf } from './site.ts'

/** Lint and test without service and without lock: by the public files where there are any. */
export async function localAdmission(directory: DataDirectory, input: Input): Promise<Connection> {
  const config = await configOf(directory, input)
  const trust = await publicTrust(directory)
  const admission = createAdmission({
    settings: config.admission,
    trust: () => trust,
    keysByUri: (uri) =>
      config.keys.signing === uri ||
      config.admission.keyAliases.some((line) => line.split(/\s+/, 1)[0] === uri)
        ? trust.keys
        : [],
    registrySettings: await registrySettings(config.registries),
    localEntryCheck: undefined,
    clock: systemClock,
    monotonic: () => performance.now(),
  })
  const text = (body: Json, name: string): string => {
    const value = isObject(body) ? body[name] : null
    return typeof value === 'string' ? value : ''
  }
  return {
    call: (operation, body) => {
      if (operation === 'policy/lint')
        return Promise.resolve(admission.lint(text(body, 'text')) as unknown as Json)
      if (operation === 'admission/test')
        return testPolicies(
          admission,
          text(body, 'policies'),
          text(body, 'resources'),
          text(body, 'namespaces'),
        )
      return Promise.reject(
        new AirsealError('USAGE', `${operation} needs the service or its data directory`),
      )
    },
    close: () => Promise.resolve(),
  }
}

const EMPTY_ROOT = JSON.stringify({
  mediaType: 'application/vnd.dev.sigstore.trustedroot+json;version=0.1',
  tlogs: [],
  certificateAuthorities: [],
  ctlogs: [],
  timestampAuthorities: [],
})

async function publicTrust(directory: DataDirectory): Promise<SiteTrust> {
  const read = (name: string): Promise<Buffer | null> =>
    readFile(`${directory.public}/${name}`).catch(() => null)
  const [key, root] = await Promise.all([read('cosign.pub'), read('trusted_root.json')])
  return siteTrustOf({
    version: root === null ? 'none' : 'public',
    keys:
      key === null
        ? []
        : [{ name: 'signing', key: publicKeyFromPem(key.toString('utf8')), validFor: null }],
    trustedRoot: root ?? utf8(EMPTY_ROOT),
  })
}
