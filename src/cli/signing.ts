import { asAirsealError, isObject, type Json, type JsonObject } from '../core/index.ts'
import { errorJson, errorText, shown, type Input, type Option, type Terminal } from './command.ts'
import { connect } from './connection.ts'
import { absoluteImage } from './image-argument.ts'
import { withProgress } from './progress.ts'

/** Options that `sign` and `attest` share. */
export const SIGNING_OPTIONS: Readonly<Record<string, Option>> = {
  key: { type: 'string', value: 'NAME', help: 'key that signs (default: the signing key)' },
  signatures: {
    type: 'string',
    value: 'both|legacy|bundle',
    help: 'formats to write (default: as configured, else both)',
  },
  'resolve-tag': {
    type: 'boolean',
    help: 'accept tags: each is resolved once and its digest shown',
  },
}

/**
 * Has the service do `operation` for each image in turn, so that progress shows and an interruption loses nothing: what was done is
 * done, and running the command again goes on from there.
 * @returns exit code: 0, or that of the first image that failed
 */
export async function signEach(
  operation: 'sign' | 'attest',
  input: Input,
  terminal: Terminal,
  request: JsonObject,
): Promise<number> {
  const images = input.required('IMAGE')
  const connection = await connect(input, terminal)
  const answers: Json[] = []
  let exit = 0
  try {
    for (const [at, image] of images.entries()) {
      const what = `${operation === 'sign' ? 'signing' : 'attesting'} ${image} (${at + 1} of ${images.length})`
      const body = { ...request, images: [absoluteImage(image)] }
      try {
        const answer = await withProgress(
          terminal,
          input.json,
          what,
          connection.call(operation, body),
        )
        const results =
          isObject(answer) && Array.isArray(answer['results']) ? answer['results'] : []
        answers.push(...results)
        if (!input.json) for (const result of results) terminal.stdout(resultText(result))
      } catch (thrown) {
        const error = asAirsealError(thrown)
        exit = exit === 0 ? error.facts.exit : exit
        answers.push({ image, error: errorJson(error) })
        if (!input.json) terminal.stderr(errorText(error, false))
      }
    }
  } finally {
    await connection.close()
  }
  if (input.json) terminal.stdout(`${JSON.stringify({ results: answers })}\n`)
  return exit
}

function resultText(result: Json): string {
  if (!isObject(result)) return ''
  const signatures = Array.isArray(result['signatures'])
    ? result['signatures'].filter(isObject)
    : []
  const lines = signatures.map((signature) => {
    const verb = signature['status'] === 'present' ? 'already there' : 'pushed'
    return `  ${shown(signature['format']).padEnd(6)}  log index ${shown(signature['logIndex'])}  ${verb}  ${shown(signature['artifact'])}`
  })
  return `${shown(result['image'])}\n  digest  ${shown(result['digest'])}\n${lines.join('\n')}\n`
}
