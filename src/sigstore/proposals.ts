import { toBase64, utf8 } from '../core/index.ts'
import type { JsonObject } from '../core/index.ts'

export interface HashedrekordInput {
  /** SHA-256 of what was signed, 64 lower-case hex digits. */
  readonly sha256Hex: string
  readonly signature: Uint8Array
  readonly publicKeyPem: string
}

/** Proposed Rekor entry of kind hashedrekord 0.0.1. */
export function hashedrekordProposal(input: HashedrekordInput): JsonObject {
  return {
    apiVersion: '0.0.1',
    kind: 'hashedrekord',
    spec: {
      data: { hash: { algorithm: 'sha256', value: input.sha256Hex } },
      signature: {
        content: toBase64(input.signature),
        publicKey: { content: toBase64(utf8(input.publicKeyPem)) },
      },
    },
  }
}

export interface DsseInput {
  /** The exact text that is stored: its hash goes into the entry. */
  readonly envelopeText: string
  readonly publicKeyPem: string
}

/** Proposed Rekor entry of kind dsse 0.0.1. */
export function dsseProposal(input: DsseInput): JsonObject {
  return {
    apiVersion: '0.0.1',
    kind: 'dsse',
    spec: {
      proposedContent: {
        envelope: input.envelopeText,
        verifiers: [toBase64(utf8(input.publicKeyPem))],
      },
    },
  }
}
