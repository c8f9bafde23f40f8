import { toBase64, type Json, type JsonObject } from '../core/index.ts'
import { objectName, type ConsumerTrust, type NamedKey } from './consumers.ts'
import type { ScopePolicy } from './model.ts'
import { metadata, yamlFile, type TrustFile } from './render.ts'
import { imageGlobs } from './scopes.ts'

/** Seconds for one admission; the longest that Kubernetes grants is 30. */
const TIMEOUT_SECONDS = 15
const KINDS = { any: [{ resources: { kinds: ['Pod'], operations: ['CREATE', 'UPDATE'] } }] }
const CONTAINERS = 'request.object.spec.[ephemeralContainers, initContainers, containers][]'

/** Kyverno's ClusterPolicy (kyverno.io/v1) with `verifyImages`: legacy signatures, checked with keys and logs that stand in the policy. */
export function kyvernoClusterPolicy(trust: ConsumerTrust): TrustFile {
  const { policies, revokedImages } = trust
  const revoked = revokedImages.map(({ digest }) => `*@${digest}`)
  return yamlFile(trust, {
    apiVersion: 'kyverno.io/v1',
    kind: 'ClusterPolicy',
    metadata: metadata(trust),
    spec: {
      background: false,
      webhookConfiguration: { failurePolicy: 'Fail', timeoutSeconds: TIMEOUT_SECONDS },
      rules: [
        ...policies.map((policy) => signedRule(trust, policy)),
        ...(revoked.length === 0
          ? []
          : [denyRule('revoked-images', 'The image was revoked.', revoked)]),
      ],
    },
  })
}

function signedRule(trust: ConsumerTrust, policy: ScopePolicy): JsonObject {
  const keys = trust.keysOf(policy)
  const imageReferences = imageGlobs(policy.scope, '*')
  const name = `signed-${policy.name.toLowerCase()}`
  if (keys.length === 0 || trust.logs.length === 0)
    return denyRule(name, 'No key is trusted for this image.', imageReferences)
  return {
    name,
    match: KINDS,
    verifyImages: [
      {
        type: 'Cosign',
        imageReferences: [...imageReferences],
        failureAction: 'Enforce',
        mutateDigest: true,
        verifyDigest: true,
        required: true,
        attestors: [
          {
            count: 1,
            entries: keys.flatMap(({ pem }) =>
              trust.logs.map((log) => ({
                keys: {
                  publicKeys: pem,
                  signatureAlgorithm: 'sha256',
                  rekor: { url: log.url, pubkey: log.pem },
                  // Without it Kyverno dials a TUF mirror on the Internet, even for a plain key.
                  ctlog: { ignoreSCT: true },
                },
              })),
            ),
          },
        ],
      },
    ],
  }
}

function denyRule(name: string, message: string, images: readonly string[]): JsonObject {
  return {
    name,
    match: KINDS,
    validate: {
      failureAction: 'Enforce',
      message,
      foreach: [
        {
          list: CONTAINERS,
          deny: {
            conditions: {
              any: [{ key: '{{ element.image }}', operator: 'AnyIn', value: [...images] }],
            },
          },
        },
      ],
    },
  }
}

/**
 * Kyverno's ImageValidatingPolicy (policies.kyverno.io/v1), one for each policy: reads both formats. With a plain key Kyverno dials the public
 * TUF mirror, so it needs ours; without a mirror there is no file.
 */
export function kyvernoImageValidatingPolicy(trust: ConsumerTrust): TrustFile | null {
  const { tuf, policies } = trust
  if (tuf === null || policies.length === 0) return null
  const mirror = { mirror: tuf.mirror, root: { data: toBase64(tuf.root) } }
  return yamlFile(trust, ...policies.map((policy) => validatingPolicy(trust, policy, mirror)))
}

function validatingPolicy(trust: ConsumerTrust, policy: ScopePolicy, tuf: JsonObject): JsonObject {
  const attestors = trust.keysOf(policy).flatMap((key) =>
    trust.logs.map((log, at) => ({
      name: attestorName(key, at),
      cosign: {
        key: { data: key.pem, hashAlgorithm: 'sha256' },
        ctlog: { url: log.url, rekorPubKey: log.pem, insecureIgnoreSCT: true },
        tuf,
      },
    })),
  )
  const revoked = trust.revokedImages.map(({ digest }) => digest)
  const any = attestors.map(({ name }) => `attestors.${name}`).join(', ')
  const images = '(images.containers + images.initContainers + images.ephemeralContainers)'
  return {
    apiVersion: 'policies.kyverno.io/v1',
    kind: 'ImageValidatingPolicy',
    metadata: metadata(trust, `${objectName(trust)}-${policy.name.toLowerCase()}`),
    spec: {
      webhookConfiguration: { timeoutSeconds: TIMEOUT_SECONDS },
      failurePolicy: 'Fail',
      validationActions: ['Deny'],
      matchConstraints: {
        resourceRules: [
          {
            apiGroups: [''],
            apiVersions: ['v1'],
            operations: ['CREATE', 'UPDATE'],
            resources: ['pods', 'pods/ephemeralcontainers'],
          },
        ],
      },
      matchImageReferences: imageGlobs(policy.scope, '*').map((glob) => ({ glob })),
      attestors,
      validations: [
        {
          expression:
            attestors.length === 0
              ? 'false'
              : `${images}.all(image, verifyImageSignatures(image, [${any}]) > 0)`,
          message: `The image is not signed by a trusted key of ${trust.enclave}.`,
        },
        ...(revoked.length === 0
          ? []
          : [
              {
                expression: `${images}.all(image, !${JSON.stringify(revoked)}.exists(digest, image.endsWith(digest)))`,
                message: 'The image was revoked.',
              },
            ]),
      ] as Json[],
    },
  }
}

/** A CEL identifier. */
function attestorName({ id }: NamedKey, log: number): string {
  return `key_${id.slice(0, 16)}_${log}`
}
