import type { Command } from './command.ts'

/** What can be done with bundles, each verb a command of its own. */
const VERBS: NonNullable<Command['verbs']> = new Map([
  [
    'export',
    [
      'write images, signatures, proofs and trust for another enclave',
      () => import('./bundle-export.ts'),
    ],
  ],
  [
    'verify',
    ['verify a bundle with nothing but it and a trust file', () => import('./bundle-verify.ts')],
  ],
  ['inspect', ['show what a bundle says of itself', () => import('./bundle-inspect.ts')]],
  ['import', ['take a bundle in: all of it or nothing', () => import('./bundle-import.ts')]],
  [
    'receipt',
    [
      'print the receipt of the last import, or take one of the other side',
      () => import('./bundle-receipt.ts'),
    ],
  ],
  ['peer', ['make another side known by its trust bundle', () => import('./bundle-peer.ts')]],
  [
    'copy',
    [
      'copy an image with all that vouches for it, unsigned: layouts, archives, registries',
      () => import('./bundle-copy.ts'),
    ],
  ],
  ['report', ['print the chain of custody', () => import('./bundle-report.ts')]],
])

export const command: Command = {
  name: 'bundle',
  summary: 'Carries images, signatures, proofs and trust between enclaves on a medium.',
  usage: 'VERB …',
  takesArguments: true,
  description: `
A bundle is a directory that is signed, numbered and chained to the one before. The other side knows that it got everything, in order,
unaltered, once. docs/bundles.md walks through it.`,
  options: {},
  examples: ['airseal bundle export --help'],
  exitCodes: [],
  verbs: VERBS,
  run(_input, terminal) {
    terminal.stderr('airseal: say what to do with a bundle: airseal bundle --help\n')
    return Promise.resolve(2)
  },
}
