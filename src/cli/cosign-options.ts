import type { ForeignOption, Option } from './command.ts'

const same = (type: 'string' | 'boolean' = 'boolean', short?: string): ForeignOption => ({
  type,
  instead: null,
  ...(short === undefined ? {} : { short }),
})
const text = (instead: string): ForeignOption => ({ type: 'string', instead })
const flag = (instead: string): ForeignOption => ({ type: 'boolean', instead })

/** What every command of cosign takes, with the same meaning. */
export const COSIGN_COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  'output-file': { type: 'string', value: 'FILE', help: 'write the output into FILE' },
  timeout: {
    type: 'string',
    short: 't',
    value: 'DURATION',
    help: 'give up after this long, for example 90s or 3m (default: each request has its own bound)',
  },
}

export const COSIGN_COMMON_FOREIGN: Readonly<Record<string, ForeignOption>> = {
  verbose: same('boolean', 'd'),
}

/** Options of cosign about registries that airseal answers otherwise; its own are in registry-options.ts. */
export const COSIGN_REGISTRY_FOREIGN: Readonly<Record<string, ForeignOption>> = {
  ...COSIGN_COMMON_FOREIGN,
  'allow-insecure-registry': flag(
    "certificates are always checked: give the registry's authority with --registry-cacert FILE, or --allow-http-registry where it has no TLS",
  ),
  'registry-server-name': text('name the registry as its certificate does'),
  'registry-token': text(
    "give --registry-username and --registry-password, or name a directory with Docker's config.json in DOCKER_CONFIG",
  ),
  'k8s-keychain': flag(
    "credentials come from Docker's config.json and its helpers: name its directory in DOCKER_CONFIG",
  ),
  'attachment-tag-prefix': text(
    'copy the signatures to their own tags: `airseal triangulate IMAGE` names them',
  ),
}

const ROOT =
  'nothing is fetched: give --trusted-root FILE; `cosign trusted-root create` makes one of single keys and certificates'

/** Options of all verifying commands. */
const VERIFYING_FOREIGN: Readonly<Record<string, ForeignOption>> = {
  ...COSIGN_COMMON_FOREIGN,
  offline: same(),
  'new-bundle-format': same(),
  'experimental-oci11': same(),
  'max-workers': same('string'),
  'signature-digest-algorithm': same('string'),
  'check-claims': {
    type: 'boolean',
    instead: null,
    insteadOfFalse:
      'that a signature is about the image is always checked; `airseal download signature` shows what signatures say',
  },
  'private-infrastructure': flag('say --insecure-ignore-tlog, or give the log with --trusted-root'),
  'rekor-url': text(ROOT),
  sct: text(
    'timestamps of certificates are read from the certificate; else say --insecure-ignore-sct',
  ),
  sk: flag('export the public key of the token and give it with --key FILE'),
  slot: text('export the public key of the token and give it with --key FILE'),
  'allow-certificate-chain': flag(
    'give the intermediate certificates with --ca-intermediates FILE',
  ),
}

/** Options of cosign's `verify` and `verify-attestation`. */
export const COSIGN_VERIFY_FOREIGN: Readonly<Record<string, ForeignOption>> = {
  ...COSIGN_REGISTRY_FOREIGN,
  ...VERIFYING_FOREIGN,
  certificate: text(
    'the certificate comes with the signature: say whose it must be with --certificate-identity and --certificate-oidc-issuer',
  ),
  signature: text(
    'detached signatures are for files here: `airseal verify-blob --signature`; attach it to the image, or give a layout as oci:DIR',
  ),
  payload: text('attach the signature to the image, or give a layout as oci:DIR'),
  attachment: text(
    "verify the digest of the SBOM's own image: `airseal triangulate --type sbom IMAGE` names it",
  ),
  policy: text(
    'conditions on predicates are written in CEL: `airseal policy add`, then `airseal policy test`',
  ),
}

/** Options of cosign's `verify-blob` and `verify-blob-attestation`. */
export const COSIGN_BLOB_FOREIGN: Readonly<Record<string, ForeignOption>> = VERIFYING_FOREIGN
