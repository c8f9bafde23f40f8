import type { JsonObject } from '../src/core/index.ts'
import type { Gate, Passed } from './gate.ts'
import type { SignedHeader } from './header.ts'
import type { CarriedTrust } from './trust.ts'

/** SLSA verification summary, version 1. */
export const SUMMARY_TYPE = 'https://slsa.dev/verification_summary/v1'

/**
 * What the import gate found out about one image, as predicate of a SLSA verification summary (SLSA 1.1, verification_summary): who signed
 * it, by which rule, under which trust version of the sender.
 * @param own - name of this side
 * @param time - when promoting began, Unix milliseconds: the same when an import is taken up again
 */
export function verificationSummary(
  { image, rule, by, payloads }: Passed,
  { header, digest }: SignedHeader,
  trust: CarriedTrust,
  gate: Gate,
  own: string,
  time: number,
): JsonObject {
  return {
    verifier: {
      id: `urn:airseal:import-gate:${own}`,
      version: {
        airseal: header.tool.replace(/^airseal /, ''),
        trust: `${trust.enclave}/${trust.version}`,
      },
    },
    timeVerified: `${new Date(time).toISOString().slice(0, 19)}Z`,
    resourceUri: `oci://${image.repository}@${image.digest}`,
    policy: {
      uri: `urn:airseal:rule:${encodeURIComponent(rule.name)}`,
      digest: { sha256: gate.digest },
    },
    inputAttestations: [
      {
        uri: `urn:airseal:bundle:${header.source}:${header.sequence}`,
        digest: { sha256: digest.slice(7) },
      },
      {
        uri: `urn:airseal:trust:${trust.enclave}:${trust.version}`,
        digest: { sha256: trust.digest.slice(7) },
      },
      ...payloads.map((sha256) => ({
        uri: `urn:airseal:signed-by:${encodeURIComponent(by)}`,
        digest: { sha256 },
      })),
    ],
    verificationResult: 'PASSED',
    verifiedLevels: ['SLSA_BUILD_LEVEL_UNEVALUATED'],
    slsaVersion: '1.1',
  }
}
