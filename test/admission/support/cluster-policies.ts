import { stringify } from 'yaml'

export interface RuleOptions {
  readonly name?: string
  readonly references?: readonly string[]
  readonly attestors?: unknown
  readonly entry?: Record<string, unknown>
  readonly rule?: Record<string, unknown>
}

/** A ClusterPolicy with one rule on Pods. */
export function clusterPolicy(
  options: RuleOptions,
  policy: Record<string, unknown> = {},
): Record<string, unknown> {
  const { name = 'signed', references = ['*'], attestors, entry = {}, rule = {} } = options
  return {
    apiVersion: 'kyverno.io/v1',
    kind: 'ClusterPolicy',
    metadata: { name },
    spec: {
      background: false,
      webhookConfiguration: { failurePolicy: 'Fail', timeoutSeconds: 15 },
      rules: [
        {
          name: 'rule',
          match: { any: [{ resources: { kinds: ['Pod'] } }] },
          verifyImages: [
            {
              imageReferences: references,
              failureAction: 'Enforce',
              ...(attestors === undefined ? {} : { attestors }),
              ...entry,
            },
          ],
          ...rule,
        },
      ],
      ...policy,
    },
  }
}

/** An attestor by key and log key, as a policy for a network without Internet has it. */
export function keyAttestor(
  key: string,
  rekor: string | null,
  url = 'https://rekor.invalid',
): Record<string, unknown> {
  return {
    keys: {
      publicKeys: key,
      rekor: rekor === null ? { url, ignoreTlog: true } : { url, pubkey: rekor },
      ctlog: { ignoreSCT: true },
    },
  }
}

export function pod(
  images: readonly string[],
  name = 'app',
  namespace = 'default',
): Record<string, unknown> {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: { containers: images.map((image, at) => ({ name: `c${at}`, image })) },
  }
}

export function yaml(...documents: readonly unknown[]): string {
  return documents.map((document) => stringify(document)).join('---\n')
}
