import { readFile } from 'node:fs/promises'
import {
  AirsealError,
  isObject,
  publicKeyFromPem,
  systemClock,
  type Json,
  type JsonObject,
} from '../core/index.ts'
import { SITE_OPTIONS, shown, type Input, type Option, type Terminal } from './command.ts'
import { connect, runningService, siteDirectory, type Connection } from './connection.ts'
import { COSIGN_COMMON_OPTIONS } from './cosign-options.ts'
import { AUTHORITY_OPTIONS, demandsTimestamp, givenAuthorities } from './given-trust.ts'
import { absoluteImage } from './image-argument.ts'
import { withProgress } from './progress.ts'
import { REGISTRY_OPTIONS, settingsOf } from './registry-options.ts'
import { demandsSigner, SIGNER_OPTIONS, signerMembers } from './signer-options.ts'

const { 'passphrase-file': _unused, ...siteOptions } = SITE_OPTIONS

/** Options that `verify` and `verify-attestation` share. */
export const VERIFYING_OPTIONS: Readonly<Record<string, Option>> = {
  key: {
    type: 'string',
    short: 'k',
    value: 'PEM|NAME',
    help: 'public key file, or name of a trusted key (default: every trusted key)',
  },
  ...SIGNER_OPTIONS,
  'trusted-root': {
    type: 'string',
    value: 'FILE',
    help: 'logs and authorities to trust (default: those of the data directory)',
  },
  'insecure-ignore-tlog': {
    type: 'boolean',
    help: 'accept signatures without log entry. Danger: a stolen key leaves no trace then',
  },
  'local-image': {
    type: 'boolean',
    help: 'IMAGE is a directory that `cosign save` or `airseal save` wrote, the same as oci:DIR',
  },
  ...AUTHORITY_OPTIONS,
  ...siteOptions,
  ...REGISTRY_OPTIONS,
  ...COSIGN_COMMON_OPTIONS,
}

export const VERIFYING_EXIT_CODES: readonly (readonly [number, string])[] = [
  [3, 'could not be found out: service or registry not available'],
  [10, 'image without signature'],
  [11, 'image not found'],
  [12, 'signatures present, none holds'],
]

/**
 * Verifies each image in turn and prints what cosign would: JSON on stdout, words on stderr.
 * @returns exit code: 0, or that of the first image that did not verify
 */
export async function verifyEach(
  input: Input,
  terminal: Terminal,
  request: JsonObject,
): Promise<number> {
  const images = input.required('IMAGE')
  const signer = signerMembers(input)
  const connection = await verifierFor(input, terminal, images)
  let exit = 0
  try {
    for (const image of images) {
      const body = {
        ...request,
        ...signer,
        images: [absoluteImage(input.flag('local-image') ? `oci:${image}` : image)],
        key: await keyMember(input),
        ...(demandsTimestamp(input) && { timestampThreshold: 1 }),
        requireLog: !input.flag('insecure-ignore-tlog'),
        fresh: true,
      }
      const work = connection.call('verify', body)
      const answer = await withProgress(terminal, input.json, `verifying ${image}`, work)
      const code = reportAll(answer, (result) => report(image, result, input, terminal))
      exit = exit === 0 ? code : exit
    }
  } finally {
    await connection.close()
  }
  return exit
}

/**
 * Prints every verdict of an answer.
 * @param print - gives the exit code that belongs to the verdict
 * @returns exit code: 0, or that of the first that is no yes
 * @throws AirsealError SERVER_UNREACHABLE for an answer without a verdict, which must not pass for a yes
 */
export function reportAll(answer: Json, print: (result: JsonObject) => number): number {
  const results =
    isObject(answer) && Array.isArray(answer['results']) ? answer['results'].filter(isObject) : []
  if (results.length === 0)
    throw new AirsealError('SERVER_UNREACHABLE', 'the service gave no verdict')
  let exit = 0
  for (const result of results) {
    const code = print(result)
    exit = exit === 0 ? code : exit
  }
  return exit
}

/** A file is sent as its text; anything else is the name of a key. */
async function keyMember(input: Input): Promise<Json> {
  const key = input.text('key')
  if (key === null) return null
  const text = await readFile(key, 'utf8').catch(() => null)
  if (text === null) {
    // Names of keys hold neither: what was meant is a file.
    if (/[/]|\.(?:pub|pem|key|crt)$/.test(key)) {
      throw new AirsealError('USAGE', `--key ${key} can't be read`)
    }
    return key
  }
  // Parsed here already, so that the message can name the file.
  try {
    publicKeyFromPem(text)
  } catch (cause) {
    if (!(cause instanceof AirsealError)) throw cause
    throw new AirsealError(cause.code, `--key ${key}: ${cause.message}`, { cause })
  }
  return text
}

/**
 * Who judges: with --trusted-root this process, by that file; else the service, when one runs; else this process, by the public files of
 * the data directory. Only a service can look into its log.
 */
async function verifierFor(
  input: Input,
  terminal: Terminal,
  images: readonly string[],
): Promise<Connection> {
  const trustedRoot = input.text('trusted-root')
  const given = Object.keys({ ...AUTHORITY_OPTIONS, ...REGISTRY_OPTIONS }).find(
    (name) => input.values[name] !== undefined,
  )
  const own = trustedRoot === null ? given : 'trusted-root'
  if (input.text('server') !== null) {
    // The service judges by its own logs; an option that changed nothing would be believed to have done so.
    if (own !== undefined)
      throw new AirsealError('USAGE', `--${own} is for verifying here, without --server`)
    return connect(input, terminal)
  }
  const directory = siteDirectory(input, terminal)
  const service = own === undefined ? await runningService(directory) : null
  if (service !== null) return service
  const [{ createVerification }, { fileTrust }, { configOf }] = await Promise.all([
    import('../evidence/index.ts'),
    import('./file-trust.ts'),
    import('./site.ts'),
  ])
  const config = await configOf(directory, input)
  const believed = await fileTrust(directory, {
    trustedRoot,
    // With --key or an identity the trusted keys of the directory are not asked for, so it need not exist.
    ownKeysWanted: input.text('key') === null && !demandsSigner(input),
    limits: config.trust,
    now: systemClock(),
  })
  const authorities = await givenAuthorities(input)
  const trust = {
    ...believed,
    believed: {
      ...believed.believed,
      authorities: [...(believed.believed.authorities ?? []), ...authorities.authorities],
      timestampAuthorities: [
        ...(believed.believed.timestampAuthorities ?? []),
        ...authorities.timestampAuthorities,
      ],
    },
  }
  const local = images.map((image) => (input.flag('local-image') ? `oci:${image}` : image))
  const verification = createVerification({
    trust: () => trust,
    registrySettings: await settingsOf(input, terminal, local),
    log: null,
    clock: systemClock,
  })
  return { call: (_operation, body) => verification.verify(body), close: () => Promise.resolve() }
}

function report(image: string, result: JsonObject, input: Input, terminal: Terminal): number {
  const attestation = Array.isArray(result['attestations']) && input.values['type'] !== undefined
  if (result['outcome'] !== 'verified') {
    const error = {
      code: result['reason'] ?? 'INTERNAL',
      message: result['message'] ?? '',
      remedy: result['remedy'] ?? '',
    }
    const { code, message, remedy } = error
    terminal.stderr(
      input.json
        ? `${JSON.stringify({ error: { ...error, image, digest: result['digest'] ?? null, outcome: result['outcome'] ?? 'error' } })}\n`
        : `airseal: ${image} ${result['outcome'] === 'rejected' ? 'is refused' : 'could not be verified'}: ${shown(message)} [${shown(code)}]\n         ${shown(remedy)}\n`,
    )
    const exit = result['exitCode']
    return typeof exit === 'number' && exit !== 0 ? exit : 1
  }
  const verdicts = Array.isArray(result['evidence']) ? result['evidence'].filter(isObject) : []
  const verified = verdicts.filter((verdict) => verdict['outcome'] === 'verified')
  terminal.stderr(
    [
      '',
      `Verification for ${image} --`,
      `Digest ${shown(result['digest'])}`,
      'The following checks were performed:',
      `  - ${attestation ? 'The statement names this digest and has the wanted type' : 'The signed digest and annotations were compared with the image'}`,
      ...verified.flatMap(checkLines),
      '',
    ].join('\n'),
  )
  const list = attestation ? result['attestations'] : result['signatures']
  const items = Array.isArray(list) ? list : []
  // As cosign prints them: one array for signatures, one envelope a line for attestations; as text, one payload a line.
  const lines = input.text('output') === 'text' ? items.map(payloadOnly) : items
  terminal.stdout(
    attestation || lines !== items
      ? lines.map((item) => `${JSON.stringify(item)}\n`).join('')
      : `\n${JSON.stringify(items)}\n`,
  )
  return 0
}

/** What was signed, without what cosign adds to it from log, authority and certificate. */
function payloadOnly(item: Json): Json {
  if (!isObject(item) || !isObject(item['optional'])) return item
  const signed = Object.entries(item['optional']).filter(([name]) => !ADDED.test(name))
  return { ...item, optional: signed.length === 0 ? null : Object.fromEntries(signed) }
}

const ADDED =
  /^(?:Bundle|RFC3161Timestamp|Subject|Issuer|githubWorkflow[A-Z][a-z]+|1\.3\.6\.1\.4\.1\.57264\.1\.[1-6])$/

/** What was found out about one signature, and what was left out. */
function checkLines(verdict: JsonObject): string[] {
  const { format, keyName, keyId, logIndex, certificateIdentity, certificateOidcIssuer } = verdict
  const unchecked = Array.isArray(verdict['unchecked']) ? verdict['unchecked'] : []
  return [
    typeof certificateIdentity === 'string'
      ? `  - ${shown(format)}: verified with the certificate of ${certificateIdentity}, vouched for by ${shown(certificateOidcIssuer)}, valid when it signed`
      : `  - ${shown(format)}: verified with the key "${shown(keyName)}" (SHA-256 ${shown(keyId)})`,
    logIndex === null
      ? `  - ${shown(format)}: NOT logged, or by a log that is not trusted`
      : `  - ${shown(format)}: log entry ${shown(logIndex)} is this signature's own, verified offline with the log's key`,
    ...unchecked.map((item) => `  - ${shown(format)}: not checked: ${shown(item)}`),
  ]
}
