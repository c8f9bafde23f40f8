/** What a code means to programs (HTTP status, exit code of the command) and to people (what to do). */
export interface ErrorFacts {
  readonly status: number
  readonly exit: number
  readonly remedy: string
}

/**
 * Every way in which airseal refuses. Codes are a contract: programs switch on them.
 * Exit codes: 1 refused, 2 usage, 3 unavailable or unusable site, 10-13 as cosign's `verify`.
 */
export const ERRORS = {
  // How a command or request was written
  USAGE: { status: 400, exit: 2, remedy: 'Run the command with --help; it ends with an example.' },
  REQUEST_INVALID: { status: 400, exit: 2, remedy: 'Correct the named field and send it again.' },
  JSON_INVALID: { status: 400, exit: 2, remedy: 'Send one well-formed JSON document in UTF-8.' },
  CONTENT_TYPE: { status: 415, exit: 2, remedy: 'Send Content-Type: application/json.' },
  NOT_ACCEPTABLE: {
    status: 406,
    exit: 2,
    remedy: 'Accept the media type that is named, or send no Accept.',
  },
  TOO_LARGE: {
    status: 413,
    exit: 1,
    remedy: 'Send less, or raise the limit in the configuration.',
  },
  NOT_FOUND: {
    status: 404,
    exit: 1,
    remedy: 'Check the path or name that the message gives.',
  },
  CONFLICT: {
    status: 409,
    exit: 1,
    remedy: 'Somebody else changed it at the same time: look at it and try again.',
  },
  METHOD_NOT_ALLOWED: { status: 405, exit: 2, remedy: 'Use the method in the Allow header.' },
  FORBIDDEN: { status: 403, exit: 1, remedy: 'Ask the operator for the permission that is named.' },
  UNAUTHENTICATED: {
    status: 401,
    exit: 1,
    remedy: 'Send Authorization: Bearer with a valid token.',
  },
  CONFIG_INVALID: {
    status: 500,
    exit: 2,
    remedy: 'Correct the named field of the configuration file, or the option of that name.',
  },
  // The site
  DATA_DIRECTORY: {
    status: 503,
    exit: 3,
    remedy: 'Name a directory made by `airseal init`, or an empty one.',
  },
  DATA_PERMISSIONS: {
    status: 503,
    exit: 3,
    remedy: 'Run the chmod or chown that is shown, then start again.',
  },
  DATA_LOCKED: {
    status: 503,
    exit: 3,
    remedy: 'Stop the other process, or let this command talk to it.',
  },
  RUNTIME: { status: 503, exit: 3, remedy: 'Use the pinned runtime: run `npm ci` in the clone.' },
  STORAGE: {
    status: 503,
    exit: 3,
    remedy: 'Check disk space and health, then start airseal again.',
  },
  STORAGE_FULL: {
    status: 507,
    exit: 3,
    remedy: 'Free disk space; nothing that was answered is lost.',
  },
  OVERLOADED: {
    status: 503,
    exit: 3,
    remedy: 'Wait for the seconds in Retry-After and send it again.',
  },
  RATE_LIMITED: {
    status: 429,
    exit: 3,
    remedy: 'Wait a minute, or have the operator raise signsPerMinute of this door.',
  },
  SHUTTING_DOWN: { status: 503, exit: 3, remedy: 'Send it again to the restarted service.' },
  SERVER_UNREACHABLE: {
    status: 503,
    exit: 3,
    remedy: 'Start `airseal serve`, or correct --server.',
  },
  INTERNAL: {
    status: 500,
    exit: 1,
    remedy: 'This is a defect: report it with the log lines around it.',
  },
  // Keys
  KEY_INVALID: {
    status: 400,
    exit: 1,
    remedy: 'Give a PEM public key: P-256, P-384, P-521, RSA 2048-4096 or Ed25519.',
  },
  KEY_UNSUPPORTED: {
    status: 400,
    exit: 1,
    remedy: 'Use a key type from the list in docs/compatibility.md.',
  },
  KEY_UNKNOWN: { status: 404, exit: 1, remedy: 'Use a key name that exists, or a PEM file.' },
  KEY_UNAVAILABLE: {
    status: 503,
    exit: 3,
    remedy: 'Bring the key back-end up; nothing was signed.',
  },
  PASSPHRASE: {
    status: 503,
    exit: 3,
    remedy: 'Give the right passphrase with --passphrase-file or AIRSEAL_PASSPHRASE.',
  },
  SIGNATURE_FAULT: {
    status: 503,
    exit: 3,
    remedy: 'The key returned a wrong signature; it was discarded. Check the key back-end.',
  },
  KEY_REFERENCE: {
    status: 400,
    exit: 2,
    remedy:
      'Write file:PATH, awskms:///alias/NAME, gcpkms://projects/… or pkcs11:token=…;object=…?…',
  },
  KEY_EXISTS: {
    status: 409,
    exit: 1,
    remedy: 'Choose another name: airseal never replaces a key.',
  },
  KEY_CHANGED: {
    status: 503,
    exit: 3,
    remedy:
      'The reference now leads to another key than the pinned one: put the old key back, or register the new one.',
  },
  KEY_STATE: {
    status: 409,
    exit: 1,
    remedy: 'Use a key in the state that is named; `airseal key list` shows them.',
  },
  KEY_POLICY: {
    status: 403,
    exit: 1,
    remedy: 'Ask for what the policy allows; `airseal key policy NAME --show` prints it.',
  },
  KEY_PIN: {
    status: 503,
    exit: 3,
    remedy:
      'Correct the PIN in the file that pin-source names; a refused PIN is never tried again.',
  },
  // The log
  ENTRY_SCHEMA: {
    status: 422,
    exit: 1,
    remedy: 'Correct the parameter or member that the message names.',
  },
  ENTRY_INVALID: {
    status: 400,
    exit: 1,
    remedy: 'Correct the entry; the message names the member.',
  },
  LOG_DAMAGED: {
    status: 500,
    exit: 3,
    remedy: 'Stop, keep the directory as evidence, restore the last backup.',
  },
  LOG_CONFLICT: { status: 409, exit: 3, remedy: 'Another process wrote to this log: stop it.' },
  LOG_CLOCK: {
    status: 503,
    exit: 3,
    remedy: 'Set the clock of this machine; it is behind the newest log entry.',
  },
  // References, registries, layouts
  REFERENCE_INVALID: {
    status: 400,
    exit: 2,
    remedy: 'Write HOST[:PORT]/REPOSITORY@sha256:… or oci:DIR[@sha256:…|:tag].',
  },
  DIGEST_REQUIRED: {
    status: 400,
    exit: 1,
    remedy: 'Name the image by digest, or give --resolve-tag.',
  },
  LAYOUT_FORBIDDEN: {
    status: 403,
    exit: 1,
    remedy: 'Run the command on the appliance itself, or list the folder under layoutRoots.',
  },
  LAYOUT_INVALID: {
    status: 400,
    exit: 1,
    remedy: 'Name a directory that holds oci-layout and index.json.',
  },
  IMAGE_NOT_FOUND: {
    status: 404,
    exit: 11,
    remedy: 'Check repository, tag and digest in the registry.',
  },
  MANIFEST_INVALID: {
    status: 422,
    exit: 1,
    remedy: 'The manifest breaks the OCI image specification: push the image again.',
  },
  DIGEST_MISMATCH: {
    status: 502,
    exit: 1,
    remedy: 'The registry returned other bytes than the digest names: do not use it.',
  },
  REGISTRY_AUTH: {
    status: 502,
    exit: 1,
    remedy: 'Log in to the registry (docker config.json) on the appliance.',
  },
  REGISTRY_UNREACHABLE: {
    status: 502,
    exit: 3,
    remedy: 'Check that the registry runs and that its name and port are right.',
  },
  REGISTRY_ERROR: {
    status: 502,
    exit: 1,
    remedy: 'Look at the registry log for the request that is named.',
  },
  REGISTRY_REFUSED: {
    status: 502,
    exit: 1,
    remedy: 'The registry sent something unsafe, so the request was stopped.',
  },
  REGISTRY_TLS: {
    status: 502,
    exit: 3,
    remedy:
      'Name the certificate authority of the registry in registries.caFile, or correct its certificate; for a registry without TLS list it in registries.plainHttp.',
  },
  REGISTRY_CONTENTION: {
    status: 503,
    exit: 3,
    remedy: 'Another writer keeps changing the same tag: try again.',
  },
  PUSH_PENDING: {
    status: 502,
    exit: 3,
    remedy:
      'The entry is logged; airseal pushes it when the registry answers. Or run the same command again.',
  },
  // Across the gap
  MEDIUM_INVALID: {
    status: 400,
    exit: 1,
    remedy:
      'It is no bundle as the format has it: nothing was imported. Ask the sender for it again.',
  },
  MEDIUM_DAMAGED: {
    status: 400,
    exit: 1,
    remedy: 'Copy the named file or disc again from the sender; nothing was imported.',
  },
  MEDIUM_INCOMPLETE: {
    status: 400,
    exit: 4,
    remedy: 'Insert the volumes that are named and run the same command again: it goes on.',
  },
  TRANSFER_UNTRUSTED: {
    status: 403,
    exit: 1,
    remedy: "Compare the trust file with the sender's; do not use this medium.",
  },
  TRANSFER_ELSEWHERE: {
    status: 403,
    exit: 1,
    remedy: 'Take it to the enclave that it names, or have it exported for this one (--to).',
  },
  TRANSFER_OLD: {
    status: 409,
    exit: 1,
    remedy: 'Import the newest bundle; older ones are never imported again.',
  },
  TRANSFER_GAP: {
    status: 409,
    exit: 1,
    remedy: 'Import the missing bundles in order, or ask the sender for a rebase bundle.',
  },
  TRANSFER_FORK: {
    status: 409,
    exit: 1,
    remedy:
      'Alarm: one side shows two histories. Keep both media, import nothing from there, and compare with the sender by another way.',
  },
  TRANSFER_BASE: {
    status: 409,
    exit: 1,
    remedy: 'Ask the sender for a rebase bundle: it needs nothing that was there before.',
  },
  TRANSFER_UNFINISHED: {
    status: 409,
    exit: 1,
    remedy: 'Finish what was begun first: run the command that the message names.',
  },
  TRANSFER_REFUSED: {
    status: 403,
    exit: 12,
    remedy: 'The rules of the import gate are not met: nothing was imported.',
  },
  RECEIPT_INVALID: {
    status: 400,
    exit: 1,
    remedy: 'Type the code again as it is printed, or take the receipt as a file.',
  },
  PEER_UNKNOWN: {
    status: 404,
    exit: 1,
    remedy: 'Make the other side known: airseal init --trust FILE, or airseal bundle peer FILE.',
  },
  // Formats
  CHECKPOINT_INVALID: {
    status: 400,
    exit: 1,
    remedy: 'Give the signed checkpoint exactly as the log served it.',
  },
  TRUST_INVALID: {
    status: 400,
    exit: 1,
    remedy: 'Give a trusted root of version 0.1 or 0.2 with validity starts.',
  },
  // Trust bundles
  TRUST_BUNDLE_INVALID: {
    status: 400,
    exit: 1,
    remedy: 'Give the trust bundle exactly as `airseal trust export` wrote it.',
  },
  TRUST_THRESHOLD: {
    status: 409,
    exit: 1,
    remedy:
      'Have more of the named root keys sign it with `airseal trust sign`; nothing was changed.',
  },
  TRUST_ROLLBACK: {
    status: 409,
    exit: 1,
    remedy: 'Give a newer trust bundle; the one in force stays.',
  },
  TRUST_CHAIN: {
    status: 409,
    exit: 1,
    remedy: 'Give a bundle from `airseal trust export`, which carries every change of the roots.',
  },
  TRUST_ENCLAVE: {
    status: 409,
    exit: 1,
    remedy: 'Give the bundle of the enclave that is named, or carry this one as foreign root.',
  },
  TRUST_UNPINNED: {
    status: 409,
    exit: 1,
    remedy: 'Compare the fingerprint with one you got by another way, and give it with --pin.',
  },
  TRUST_EXPIRED: {
    status: 503,
    exit: 3,
    remedy: 'Check the clock of this machine; if it is right, bring a newer trust bundle.',
  },
  TRUST_CLOCK: {
    status: 503,
    exit: 3,
    remedy: 'Set the clock of this machine.',
  },
  TRUST_STALE: {
    status: 503,
    exit: 3,
    remedy:
      'Bring a newer trust bundle, or raise the threshold that is named in the configuration.',
  },
  TRUST_ROOT_OFFLINE: {
    status: 409,
    exit: 1,
    remedy: 'Run `airseal trust propose`, have the root keys sign, then `airseal trust publish`.',
  },
  // The Update Framework
  TUF_INVALID: {
    status: 422,
    exit: 1,
    remedy: 'The repository broke the TUF specification: fetch or export it again.',
  },
  TUF_SIGNATURES: {
    status: 422,
    exit: 1,
    remedy: 'Have it signed by as many of the keys that the root lists as the role needs.',
  },
  TUF_ROLLBACK: {
    status: 409,
    exit: 1,
    remedy: 'This is older than what is trusted already: export a newer one.',
  },
  TUF_MISMATCH: {
    status: 422,
    exit: 1,
    remedy: 'The files do not belong together: export or propose them anew.',
  },
  TUF_EXPIRED: {
    status: 422,
    exit: 1,
    remedy: 'Check the clock of this machine; if it is right, renew the metadata at its source.',
  },
  TUF_MISSING: {
    status: 404,
    exit: 1,
    remedy: 'Bring the whole repository; `airseal tuf export` writes all of it.',
  },
  TUF_CLOCK: {
    status: 503,
    exit: 3,
    remedy:
      'Set the clock of this machine; if it is right, run `airseal tuf refresh --clock-is-right`.',
  },
  TUF_KEY_OFFLINE: {
    status: 409,
    exit: 1,
    remedy:
      'Run `airseal tuf propose`, sign the file where the key is, then `airseal tuf publish`.',
  },
  TUF_ABSENT: {
    status: 404,
    exit: 1,
    remedy: 'Run `airseal tuf init`, or `airseal tuf import` for the repository of another site.',
  },
  TUF_PRESENT: {
    status: 409,
    exit: 1,
    remedy: 'This site has a repository already; `airseal tuf status` describes it.',
  },
  BUNDLE_INVALID: { status: 400, exit: 1, remedy: 'Give a Sigstore bundle of version 0.3.' },
  PREDICATE_INVALID: { status: 400, exit: 1, remedy: 'Give a predicate file that fits --type.' },
  POLICY_INVALID: {
    status: 400,
    exit: 2,
    remedy: 'Correct the named member; docs/verification.md has the form of a policy.',
  },
  POLICY_UNKNOWN: {
    status: 404,
    exit: 1,
    remedy: 'Name a policy that `airseal policy list` shows, or add it.',
  },
  // Policies and admission
  POLICY_UNSUPPORTED: {
    status: 400,
    exit: 2,
    remedy: 'Write the policy without it; docs/admission.md lists what is supported.',
  },
  POLICY_FACTS_MISSING: {
    status: 422,
    exit: 1,
    remedy:
      'Give airseal the Secret, ConfigMap, Namespace or key that is named (`airseal policy add`).',
  },
  REVIEW_INVALID: {
    status: 400,
    exit: 2,
    remedy: 'Send an AdmissionReview of admission.k8s.io/v1, as the API server does.',
  },
  DEADLINE: {
    status: 504,
    exit: 3,
    remedy:
      'Try again: what was under way is finished and remembered; raise timeoutSeconds if it recurs.',
  },
  EXPRESSION_INVALID: {
    status: 400,
    exit: 2,
    remedy: 'Correct the expression; docs/verification.md shows some that work.',
  },
  EXPRESSION_FAILED: {
    status: 422,
    exit: 1,
    remedy: 'Ask with has() for members that may be missing, and compare values of one type.',
  },
} as const satisfies Record<string, ErrorFacts>

/** One of the stable codes of {@link ERRORS}. */
export type ErrorCode = keyof typeof ERRORS

/** Ends a message in one printable line: control characters and bidirectional overrides become `?`. */
export function oneLine(text: string): string {
  // eslint-disable-next-line no-control-regex -- control characters are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]+/g, '?')
}

/** The one error class: a stable code, a sentence for people, and the cause where there is one. */
export class AirsealError extends Error {
  readonly code: ErrorCode
  /** What else a program may want to know, as JSON; undefined: nothing. */
  readonly details: unknown

  /**
   * @param code - stable code, see {@link ERRORS}
   * @param message - what was wrong and where; made one line, never holds a secret
   */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; details?: unknown }) {
    super(oneLine(message), options)
    this.name = 'AirsealError'
    this.code = code
    this.details = options?.details ?? undefined
  }

  get facts(): ErrorFacts {
    return ERRORS[this.code]
  }
}

/** Any thrown value as an {@link AirsealError}; what is not one already becomes INTERNAL. */
export function asAirsealError(thrown: unknown): AirsealError {
  if (thrown instanceof AirsealError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new AirsealError('INTERNAL', message, { cause: thrown })
}
