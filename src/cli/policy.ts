import { readFile } from 'node:fs/promises'
import { AirsealError } from '../core/index.ts'
import {
  addPolicies,
  lintPolicies,
  listPolicies,
  removePolicy,
  showPolicy,
  testManifests,
} from './admission-policy.ts'
import { SITE_OPTIONS, type Command, type Input, type Terminal } from './command.ts'
import {
  addVerificationPolicy,
  listVerificationPolicies,
  showVerificationPolicy,
  testImages,
} from './verification-policy.ts'

/** What `airseal policy VERB` does with the arguments after the verb. */
type Verb = (args: readonly string[], input: Input, terminal: Terminal) => Promise<number>

const VERBS: Readonly<Record<string, Verb>> = {
  add,
  list,
  show,
  remove: (_args, input, terminal) => removePolicy(input, terminal),
  lint: (_args, input, terminal) => lintPolicies(input, terminal),
  test,
}

export const command: Command = {
  name: 'policy',
  summary: 'Keeps policies: what is demanded of images, and what a cluster may run.',
  usage:
    'add FILE… | list | show NAME | remove NAME | lint FILE… | test NAME|FILE IMAGE… | test FILE… --resource FILE…',
  takesArguments: true,
  description: `
A policy of airseal (apiVersion airseal/v1, kind VerificationPolicy) says which keys or identities must have signed an image, how many of
them, and which attestations it must have with which predicate. \`POST /v1/verify\` takes its name as \`policy\`; \`test\` judges images by it.

For admission to a cluster airseal takes Kyverno's policies as they are: ClusterPolicy and Policy with verifyImages rules, and
ImageValidatingPolicy; beside them the Secrets with public keys, ConfigMaps and Namespaces that they refer to. \`lint\` says what will fail
without Internet, with Kyverno and with airseal, and why. \`test\` with --resource judges manifests, as \`kyverno apply\` does.`,
  options: {
    resource: {
      type: 'string',
      multiple: true,
      short: 'r',
      value: 'FILE',
      help: 'manifests that test judges by policies for admission',
    },
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal policy add release.yaml',
    'airseal policy test release.yaml registry.example:5000/team/app@sha256:4bc4…',
    'airseal policy lint verify-images.yaml',
    'airseal policy test verify-images.yaml --resource pod.yaml',
  ],
  exitCodes: [
    [3, 'could not be found out: service or registry not available'],
    [10, 'image without signature'],
    [11, 'image not found'],
    [12, 'signatures present, the policy is not met'],
  ],
  run(input, terminal) {
    const [name = '', ...args] = input.required(`verb (${Object.keys(VERBS).join(', ')})`)
    const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined
    if (verb === undefined) {
      throw new AirsealError('USAGE', `policy ${name}: want ${Object.keys(VERBS).join(', ')}`)
    }
    return verb(args, input, terminal)
  },
}

async function add(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  const [path] = args
  const own = path !== undefined && (await isOwn(path))
  return own ? addVerificationPolicy(args, input, terminal) : addPolicies(input, terminal)
}

/** True for a policy in airseal's own form. A file that can't be read is left to whoever reports it. */
async function isOwn(path: string): Promise<boolean> {
  if (path === '-') return false
  const text = await readFile(path, 'utf8').catch(() => '')
  return !/^\s*["']?apiVersion["']?\s*:\s*["']?(?:kyverno\.io|policies\.kyverno\.io|v1\b)/m.test(
    text,
  )
}

async function list(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  await listVerificationPolicies(args, input, terminal)
  return listPolicies(input, terminal)
}

function show(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  return args[0]?.includes('/') === true
    ? showPolicy(input, terminal)
    : showVerificationPolicy(args, input, terminal)
}

function test(args: readonly string[], input: Input, terminal: Terminal): Promise<number> {
  return input.texts('resource').length > 0
    ? testManifests(input, terminal)
    : testImages(args, input, terminal)
}
