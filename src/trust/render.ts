import { stringify } from 'yaml'
import { utf8, type Json, type JsonObject } from '../core/index.ts'
import { objectName, type ConsumerTrust } from './consumers.ts'

/** A file for some consumer. */
export interface TrustFile {
  readonly contentType: string
  readonly bytes: Uint8Array
}

/** Metadata of every Kubernetes object that is generated: which trust it says. */
export function metadata(trust: ConsumerTrust, name: string = objectName(trust)): JsonObject {
  return { name, annotations: versionMarks(trust) }
}

/** Namespaced metadata. */
export function metadataIn(trust: ConsumerTrust, namespace: string): JsonObject {
  return { name: objectName(trust), namespace, annotations: versionMarks(trust) }
}

/** Which bundle a file was made from. */
export function versionMarks({ enclave, version, digest }: ConsumerTrust): Record<string, string> {
  return {
    'airseal-trust-enclave': enclave,
    'airseal-trust-version': String(version),
    'airseal-trust-digest': digest,
  }
}

/** YAML documents, one after the other; the same values give the same bytes. */
export function yamlFile(trust: ConsumerTrust, ...documents: readonly Json[]): TrustFile {
  const { enclave, version, digest } = trust
  const head = `# Made by airseal from trust version ${version} of ${enclave} (${digest}). Made anew with each version: do not edit.\n`
  const texts = documents.map((value) =>
    // No folded lines and no anchors: what stands there is what is meant.
    stringify(value, { lineWidth: 0, aliasDuplicateObjects: false, version: '1.1' }),
  )
  return { contentType: 'application/yaml', bytes: utf8(head + texts.join('---\n')) }
}

export function jsonFile(value: Json): TrustFile {
  return { contentType: 'application/json', bytes: utf8(`${JSON.stringify(value, null, 2)}\n`) }
}

export function pemFile(pem: string): TrustFile {
  return { contentType: 'application/x-pem-file', bytes: utf8(pem) }
}
