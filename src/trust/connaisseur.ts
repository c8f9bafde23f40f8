import type { JsonObject } from '../core/index.ts'
import type { ConsumerTrust, NamedKey } from './consumers.ts'
import { yamlFile, type TrustFile } from './render.ts'
import { policiesOver, scopesOf } from './scopes.ts'

/**
 * Values for Connaisseur's Helm chart (3.x). The most specific pattern decides there, so a scope takes the keys that its own policy and all
 * wider ones agree on. What no policy covers is refused.
 */
export function connaisseurValues(trust: ConsumerTrust): TrustFile {
  const scopes = scopesOf(trust.policies)
  const validators = scopes.map((scope, at) => validator(trust, scope, `airseal-${at}`))
  const policy = scopes.map((scope, at) => ({
    pattern: scope === '*' ? '*:*' : `${scope}/*:*`,
    validator: `airseal-${at}`,
    ...(validators[at]?.['type'] === 'cosign' && {
      with: { trustRoot: '*', threshold: 1, verifyInTransparencyLog: true, verifySCT: false },
    }),
  }))
  const rest = scopes.includes('*') ? [] : [{ pattern: '*:*', validator: 'deny' }]
  return yamlFile(trust, {
    application: {
      validators: [...validators, { name: 'deny', type: 'static', approve: false }],
      policy: [...policy, ...rest],
    },
  })
}

function validator(trust: ConsumerTrust, scope: string, name: string): JsonObject {
  const [first, ...others] = policiesOver(trust.policies, scope).map((policy) =>
    trust.keysOf(policy),
  )
  const keys = (first ?? []).filter((key) => others.every((list) => has(list, key)))
  const rekor = trust.logs[0]
  if (keys.length === 0 || rekor === undefined) return { name, type: 'static', approve: false }
  return {
    name,
    type: 'cosign',
    trustRoots: keys.map(({ id, pem }) => ({ name: `key-${id.slice(0, 16)}`, key: pem })),
    host: { rekorPubkey: rekor.pem },
  }
}

function has(list: readonly NamedKey[], { id }: NamedKey): boolean {
  return list.some((key) => key.id === id)
}
