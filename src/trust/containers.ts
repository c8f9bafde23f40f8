import { toBase64, utf8, type JsonObject } from '../core/index.ts'
import type { ConsumerTrust } from './consumers.ts'
import type { ScopePolicy } from './model.ts'
import { jsonFile, versionMarks, yamlFile, type TrustFile } from './render.ts'
import { policiesOver, scopesOf } from './scopes.ts'

const REJECT = [{ type: 'reject' }]

/**
 * `policy.json` of Podman, CRI-O, Buildah and skopeo (containers-policy.json(5)). The narrowest scope decides there, so each lists what the
 * wider ones ask for as well. What no policy covers is refused.
 */
export function containersPolicy(trust: ConsumerTrust): TrustFile {
  const { policies, revokedImages } = trust
  const over = (scope: string): JsonObject[] =>
    policiesOver(policies, scope).map((policy) => requirement(trust, policy))
  const docker: JsonObject = {}
  for (const scope of scopesOf(policies)) if (scope !== '*') docker[scope] = over(scope)
  for (const { digest, repository } of revokedImages)
    if (repository !== null) docker[`${repository}@${digest}`] = REJECT
  const everywhere = over('*')
  return jsonFile({
    default: everywhere.length === 0 ? REJECT : everywhere,
    transports: {
      docker,
      // The file may hold nothing else than scopes: this transport does not exist, and its scopes say where the file is from.
      airseal: Object.fromEntries(
        Object.entries(versionMarks(trust)).map(([name, value]) => [`${name}=${value}`, REJECT]),
      ),
    },
  })
}

function requirement(trust: ConsumerTrust, policy: ScopePolicy): JsonObject {
  const keys = trust.keysOf(policy).map(({ pem }) => toBase64(utf8(pem)))
  const logs = trust.logs.map(({ pem }) => toBase64(utf8(pem)))
  if (keys.length === 0 || logs.length === 0) return { type: 'reject' }
  return {
    type: 'sigstoreSigned',
    ...oneOrMore('keyData', keys),
    ...oneOrMore('rekorPublicKeyData', logs),
    signedIdentity: { type: 'matchRepository' },
  }
}

/** The plural is read since containers/image 5.33, the singular by older ones too. */
function oneOrMore(name: string, values: string[]): JsonObject {
  return values.length === 1 ? { [name]: values[0] ?? '' } : { [`${name}s`]: values }
}

/** A file for `/etc/containers/registries.d`: where to look for signatures, which is nowhere by default (containers-registries.d(5)). */
export function registriesD(trust: ConsumerTrust): TrustFile {
  const attachments = { 'use-sigstore-attachments': true }
  const scopes = scopesOf(trust.policies)
  const docker = Object.fromEntries(
    scopes.filter((scope) => scope !== '*').map((scope) => [scope, attachments]),
  )
  return yamlFile(trust, {
    ...(scopes.includes('*') && { 'default-docker': attachments }),
    ...(Object.keys(docker).length > 0 && { docker }),
  })
}
