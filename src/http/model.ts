import type { Digest, Json } from '../core/index.ts'
import type { Rekor } from '../rekor/index.ts'
import type { Permission } from './access.ts'

/** Who asks. `socket` is the operator: only that user can open the Unix socket. */
export type Caller =
  | { readonly kind: 'socket' }
  | { readonly kind: 'token'; readonly name: string }
  | { readonly kind: 'anonymous'; readonly address: string }

/** One of the JSON calls under /v1; both sides are JSON, errors are AirsealErrors. */
export type Operation = (body: Json, caller: Caller) => Promise<Json>

/** A bearer token: its name for the records, and its SHA-256 (32 bytes raw), never the token itself. */
export interface Token {
  readonly name: string
  readonly sha256: Uint8Array
}

export interface Access {
  /** Tokens that may sign, attest and write. Empty: signing is for processes on this machine, on a loopback listener. */
  readonly tokens: readonly Token[]
  /**
   * `open`: whoever reaches the service may append to the log, as cosign and rekor-cli expect. `required`: only with a token.
   * Danger of `open` on a network: anyone can fill the log, though only with entries whose signatures verify.
   */
  readonly writeToken: 'open' | 'required'
}

/** One line of the request log; holds neither bodies, queries nor tokens. */
export interface RequestRecord {
  readonly method: string
  /** The route's pattern, not the path that was asked: a bounded set. */
  readonly route: string
  /** HTTP status; 499 when the client left before the answer. */
  readonly status: number
  readonly milliseconds: number
  /** `socket`, `token:NAME` or the peer's address. */
  readonly caller: string
  /** Stable code of the refusal. */
  readonly error?: string
  /** What a caller is not told: message and stack of a defect. */
  readonly cause?: string
}

/** What the API server and replicas ask. */
export interface AdmissionDoor {
  review(phase: 'mutate' | 'validate', body: Json, timeoutMs: number): Promise<Json>
  /** What replicas follow: policies, keys and trusted root, with a version that changes with them. */
  state(): Promise<{ readonly version: string; readonly body: Json }>
}

/** All that the HTTP service serves. */
export interface HttpServices {
  readonly rekor: Rekor
  readonly operations: {
    readonly sign: Operation
    readonly attest: Operation
    readonly verify: Operation
    /** Answered at `POST /v1/AREA/VERB`, by their names `area/verb`. */
    readonly managed: ReadonlyMap<
      string,
      { readonly permission: Permission; readonly run: Operation }
    >
  }
  /** Answers to `POST /v1/verify` by the bytes that asked. */
  readonly verdicts: {
    /** Null: not known, or it holds no longer. */
    readonly known: (body: Uint8Array) => Uint8Array | null
    /** Takes the text of an answer of the operation `verify`. */
    readonly remember: (body: Uint8Array, answer: Json, text: Uint8Array) => void
  }
  /** What is known here about an image, as JSON. */
  readonly evidence: (digest: Digest) => Promise<Json>
  /** Absent: nobody judges what is admitted here. */
  readonly admission?: AdmissionDoor
  /** A public file of the trust directory; null when there is none of that name. */
  readonly trustFile: (
    name: string,
  ) => { readonly contentType: string; readonly bytes: Uint8Array } | null
  /** Version of the trust bundle that these files are from. */
  readonly trustVersion: () => number
  /** A file of the TUF repository, by its path below `/tuf/`; null when there is none. */
  readonly tufFile: (
    path: string,
  ) => { readonly contentType: string; readonly bytes: Uint8Array } | null
  readonly ready: () => Promise<{
    readonly ready: boolean
    /** What works, apart from each other. */
    readonly functions: Readonly<Record<'sign' | 'verify' | 'log', boolean>>
    readonly checks: Readonly<Record<string, string>>
  }>
  readonly access: Access
  /** Largest request body, bytes. Default 33554432 (32 MiB). */
  readonly maxBodyBytes?: number
  readonly version: string
  /** Takes one record per answered request. Default: none is kept. */
  readonly log?: (record: RequestRecord) => void
}

/** How requests come in; decided by who opens the listener, never by what a request says. */
export type Transport =
  | { readonly kind: 'unix' }
  | {
      readonly kind: 'tcp'
      /** The listener's own address is loopback. */ readonly loopback: boolean
    }
