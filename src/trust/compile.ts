import { canonicalJson, parseJson, sha256Hex, type Json, type JsonObject } from '../core/index.ts'
import { signingConfigText } from '../sigstore/index.ts'
import { bundleFile } from './bundle.ts'
import { connaisseurValues } from './connaisseur.ts'
import { consumerTrust, type ConsumerTrust } from './consumers.ts'
import { containersPolicy, registriesD } from './containers.ts'
import { cosignSecret, fluxSecret, keysConfigMap } from './kubernetes.ts'
import { kyvernoClusterPolicy, kyvernoImageValidatingPolicy } from './kyverno.ts'
import type { SignedTrustBundle } from './model.ts'
import { NOBODY_CERTIFICATE, NOBODY_KEY } from './nobody.ts'
import { clusterImagePolicies, trustRoot } from './policy-controller.ts'
import { jsonFile, pemFile, versionMarks, type TrustFile } from './render.ts'

/** Names for `?format=`, beside the names of the files themselves. */
export const TRUST_FORMATS: ReadonlyMap<string, string> = new Map([
  ['trust-bundle', 'trust-bundle.json'],
  ['trusted-root', 'trusted_root.json'],
  ['signing-config', 'signing_config.v0.2.json'],
  ['client-trust-config', 'client_trust_config.json'],
  ['kyverno-clusterpolicy', 'kyverno-clusterpolicy.yaml'],
  ['kyverno-ivpol', 'kyverno-imagevalidatingpolicy.yaml'],
  ['trustroot-cr', 'policy-controller-trustroot.yaml'],
  ['cip', 'policy-controller-clusterimagepolicy.yaml'],
  ['connaisseur-values', 'connaisseur-values.yaml'],
  ['policy.json', 'containers-policy.json'],
  ['registries.d', 'containers-registries.d.yaml'],
  ['flux-secret', 'flux-secret.yaml'],
  ['secret', 'kubernetes-secret.yaml'],
  ['configmap', 'kubernetes-configmap.yaml'],
])

/**
 * The files of every consumer, by name. The same bundle gives the same bytes on every machine. `trust-files.json` names the version
 * they are from and the SHA-256 of each.
 * @throws AirsealError TRUST_INVALID
 */
export function compileTrustFiles(bundle: SignedTrustBundle): ReadonlyMap<string, TrustFile> {
  const trust = consumerTrust(bundle)
  const root = mergedRoot(bundle)
  const rootFile = jsonFile(root)
  const config = signingConfig(bundle)
  const files = new Map<string, TrustFile | null>([
    ['trust-bundle.json', { contentType: 'application/json', bytes: bundleFile(bundle) }],
    ['trusted_root.json', rootFile],
    ['signing_config.json', jsonFile(config)],
    ['signing_config.v0.2.json', jsonFile(config)],
    ['client_trust_config.json', clientTrustConfig(root, config)],
    ...keyFiles(trust),
    ['kyverno-clusterpolicy.yaml', kyvernoClusterPolicy(trust)],
    ['kyverno-imagevalidatingpolicy.yaml', kyvernoImageValidatingPolicy(trust)],
    ['policy-controller-trustroot.yaml', trustRoot(trust)],
    ['policy-controller-clusterimagepolicy.yaml', clusterImagePolicies(trust)],
    ['connaisseur-values.yaml', connaisseurValues(trust)],
    ['containers-policy.json', containersPolicy(trust)],
    ['containers-registries.d.yaml', registriesD(trust)],
    ['flux-secret.yaml', fluxSecret(trust)],
    ['kubernetes-secret.yaml', cosignSecret(trust)],
    ['kubernetes-configmap.yaml', keysConfigMap(trust, textOf(rootFile))],
    ...foreignRoots(bundle),
  ])
  const present = [...files].filter((entry): entry is [string, TrustFile] => entry[1] !== null)
  return new Map([...present, ['trust-files.json', manifest(trust, present)]])
}

/** Our trusted root, with the logs of carried enclaves: what `cosign verify --key` needs for images of either. */
function mergedRoot({ document }: SignedTrustBundle): JsonObject {
  const logs = [
    document,
    ...document.foreign.flatMap((root) => (root.kind === 'enclave' ? [root.bundle.document] : [])),
  ].flatMap(({ trustedRoot: { tlogs } }) => (Array.isArray(tlogs) ? tlogs : []))
  const ids = logs.map((log) => canonicalJson((log as JsonObject)['logId'] ?? null))
  return {
    // sigstore-python refuses a root in which they are absent.
    certificateAuthorities: [],
    ctlogs: [],
    ...document.trustedRoot,
    tlogs: logs.filter((_, at) => ids.indexOf(ids[at] ?? '') === at),
  }
}

function signingConfig({ document }: SignedTrustBundle): Json {
  const { trustedRoot, url, enclave } = document
  const logs = Array.isArray(trustedRoot['tlogs']) ? trustedRoot['tlogs'] : []
  const newest = logs.at(-1) as { publicKey: { validFor: { start: string } } } | undefined
  const start = newest?.publicKey.validFor.start ?? new Date(document.created).toISOString()
  return parseJson(signingConfigText({ url, start, operator: enclave }))
}

function clientTrustConfig(trustedRoot: JsonObject, signingConfig: Json): TrustFile {
  const mediaType = 'application/vnd.dev.sigstore.clienttrustconfig.v0.1+json'
  return jsonFile({ mediaType, trustedRoot, signingConfig })
}

/** Plain keys and certificates, under the names that cosign's TUF targets have. */
function keyFiles({
  current,
  keys,
  logs,
  ctLogs,
  authorities,
  timestampAuthorities,
}: ConsumerTrust): [string, TrustFile | null][] {
  const pem = (texts: readonly string[]): TrustFile | null =>
    texts.length === 0 ? null : pemFile(texts.join(''))
  return [
    ['cosign.pub', current && pemFile(current.pem)],
    ['keys.pem', pem(keys.map((key) => key.pem))],
    ['rekor.pub', pem(logs.slice(0, 1).map((log) => log.pem))],
    ['ctfe.pub', pem(ctLogs.map((log) => log.pem)) ?? pemFile(NOBODY_KEY)],
    [
      'fulcio.crt.pem',
      pem(authorities.map((authority) => authority.pem)) ?? pemFile(NOBODY_CERTIFICATE),
    ],
    ['tsa.crt.pem', pem(timestampAuthorities.map((authority) => authority.pem))],
  ]
}

/** Carried roots one by one, as they were fetched: who wants to believe one of them names its file. */
function foreignRoots({ document }: SignedTrustBundle): [string, TrustFile][] {
  return document.foreign.flatMap((root): [string, TrustFile][] => {
    switch (root.kind) {
      case 'sigstore':
        return [[`foreign-${root.name}.trusted_root.json`, jsonFile(root.trustedRoot)]]
      case 'key':
        return [[`foreign-${root.name}.pub`, pemFile(root.key.pem)]]
      case 'enclave':
        return [
          [
            `foreign-${root.name}.trust-bundle.json`,
            { contentType: 'application/json', bytes: bundleFile(root.bundle) },
          ],
        ]
    }
  })
}

function manifest(
  trust: ConsumerTrust,
  files: readonly (readonly [string, TrustFile])[],
): TrustFile {
  const sums = files.map(([name, { bytes }]): [string, string] => [name, sha256Hex(bytes)])
  return jsonFile({ ...versionMarks(trust), sha256: Object.fromEntries(sums) })
}

function textOf({ bytes }: TrustFile): string {
  return Buffer.from(bytes).toString('utf8')
}
