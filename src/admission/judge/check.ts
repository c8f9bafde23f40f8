import { AirsealError } from '../../core/index.ts'
import type { AttestorSet } from '../policy/attestor.ts'
import type { Policy } from '../policy/policy-set.ts'
import type { VerifyEntry } from '../policy/verify-entry.ts'
import { checkDemand } from './demand.ts'
import type { Facts } from './ports.ts'

/**
 * Finds, when a policy is loaded, what judging by it would stumble over: roots that are no certificates, patterns that are none, a certificate that
 * anybody could have. What a variable stands for is seen only later.
 * @throws AirsealError POLICY_INVALID, POLICY_UNSUPPORTED, KEY_INVALID, TRUST_INVALID, REQUEST_INVALID
 */
export function checkPolicy(policy: Policy, facts: Facts): void {
  if (policy.dialect === 'image-validating') {
    for (const { name, set } of policy.attestors.values())
      checkSet(set, 'Cosign', `attestor ${name}`, facts)
    return
  }
  for (const rule of policy.rules) {
    for (const { parsed, variable } of rule.entries) {
      if (!variable)
        for (const set of setsOf(parsed)) checkSet(set, parsed.type, `rule ${rule.name}`, facts)
    }
  }
}

function setsOf({ attestors, attestations }: VerifyEntry): readonly AttestorSet[] {
  return [...attestors, ...attestations.flatMap((one) => one.attestors)]
}

function checkSet(
  { entries }: AttestorSet,
  type: 'Cosign' | 'SigstoreBundle',
  where: string,
  facts: Facts,
): void {
  for (const { attestor, path, annotations } of entries) {
    if (attestor.kind === 'set') {
      checkSet(attestor.set, type, `${where}, ${path}`, facts)
      continue
    }
    try {
      checkDemand(attestor, { annotations, type }, facts)
    } catch (thrown) {
      if (!(thrown instanceof AirsealError)) throw thrown
      throw new AirsealError(thrown.code, `${where}, ${path}: ${thrown.message}`, { cause: thrown })
    }
  }
}
