import { AirsealError } from '../core/index.ts'

/** Refuses a request that takes nothing of type `produced`. A missing Accept takes everything. @throws AirsealError NOT_ACCEPTABLE */
export function checkAccept(accept: string | undefined, produced: string): void {
  if (accept === undefined || accept === produced || accept === '*/*' || accept === '') return
  const family = `${produced.split('/', 1)[0] ?? ''}/*`
  for (const range of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim())
    const refused = parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter))
    if (!refused && (type === produced || type === family || type === '*/*')) return
  }
  throw new AirsealError(
    'NOT_ACCEPTABLE',
    `unsupported media type requested, only [${produced}] are available`,
  )
}
