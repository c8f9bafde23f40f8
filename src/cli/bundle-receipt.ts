import { readFile } from 'node:fs/promises'
import { AirsealError, isObject } from '../core/index.ts'
import { SITE_OPTIONS, shown, type Command, type Input } from './command.ts'
import { connect } from './connection.ts'
import { qrCode } from './qr.ts'

export const command: Command = {
  name: 'bundle receipt',
  summary: 'Prints the receipt of the last import, or takes the receipt of the other side.',
  usage: '[CODE…|FILE]',
  takesArguments: true,
  description: `
Without argument, on the receiving side: prints the receipt of the last bundle imported; the code is typed, scanned (--qr), or carried as a file
(--file). With a code or a file, on the sending side: checks it against the bundle that it names and the trust bundle of who signed it
(airseal bundle peer FILE). The bundle becomes the base of the next delta, and what the receipt says of the other side's log is compared with
what was seen before. Blanks and line breaks in a code do not matter.`,
  options: {
    from: {
      type: 'string',
      value: 'ENCLAVE',
      help: 'whose bundles the receipt is for, when there are several senders',
    },
    qr: { type: 'boolean', help: 'print it as a QR code too' },
    file: {
      type: 'string',
      value: 'FILE',
      help: 'write the receipt here, with the whole checkpoint and its proof',
    },
    ...SITE_OPTIONS,
  },
  examples: [
    'airseal bundle receipt --qr',
    'airseal bundle receipt 4xBq7 8Xk2n … (the code as it is printed)',
    'airseal bundle receipt receipt.json',
  ],
  exitCodes: [[3, 'service or key not available']],
  async run(input, terminal) {
    const connection = await connect(input, terminal)
    try {
      if (input.positionals.length > 0) {
        const answer = await connection.call('bundle/take-receipt', {
          receipt: await givenReceipt(input),
        })
        const taken = isObject(answer) ? answer : {}
        terminal.stdout(
          input.json
            ? `${JSON.stringify(answer)}\n`
            : `${shown(taken['enclave'])} has imported bundle ${shown(taken['sequence'])}; its log has ${shown(taken['logSize'])} entries, root ${shown(taken['logRoot'])}.\nThe next delta builds on bundle ${shown(isObject(taken['base']) ? taken['base']['sequence'] : '')}.\n`,
        )
        return 0
      }
      const receipt = await connection.call('bundle/receipt', { source: input.text('from') })
      const code = isObject(receipt) ? shown(receipt['code']) : ''
      const file = input.text('file')
      if (file !== null) {
        const { writeFileWhole } = await import('../data-directory.ts')
        await writeFileWhole(file, `${JSON.stringify(receipt)}\n`, 0o644)
      }
      terminal.stdout(input.json ? `${JSON.stringify(receipt)}\n` : `${code}\n`)
      if (input.flag('qr') && !input.json) terminal.stdout(`${await qrCode(code)}\n`)
      return 0
    } finally {
      await connection.close()
    }
  },
}

/** The words of a code, or the content of the file that is named. */
async function givenReceipt(input: Input): Promise<string> {
  const [first = '', ...others] = input.positionals
  if (others.length > 0) return input.positionals.join(' ')
  const text = await readFile(first, 'utf8').catch(() => null)
  if (text === null && /[./]/.test(first)) throw new AirsealError('USAGE', `${first} can't be read`)
  return text ?? first
}
