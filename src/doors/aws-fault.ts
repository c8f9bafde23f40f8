import { AirsealError, asAirsealError, isObject, type ErrorCode, type Json } from '../core/index.ts'

/** A refusal that AWS has a name for. */
export function awsFault(type: string, code: ErrorCode, message: string): AirsealError {
  return new AirsealError(code, message, { details: { awsType: type } })
}

/** Names that AWS gives to what our codes mean. All others are defects or trouble of ours: the SDKs try those again. */
const TYPES: ReadonlyMap<ErrorCode, string> = new Map([
  ['KEY_UNKNOWN', 'NotFoundException'],
  ['KEY_UNSUPPORTED', 'InvalidKeyUsageException'],
  ['KEY_UNAVAILABLE', 'KeyUnavailableException'],
  ['KEY_CHANGED', 'KMSInvalidStateException'],
  ['KEY_PIN', 'KMSInvalidStateException'],
  ['RATE_LIMITED', 'ThrottlingException'],
  ['OVERLOADED', 'ThrottlingException'],
  ['FORBIDDEN', 'AccessDeniedException'],
  ['UNAUTHENTICATED', 'UnrecognizedClientException'],
  ['REQUEST_INVALID', 'ValidationException'],
  ['JSON_INVALID', 'SerializationException'],
  ['CONTENT_TYPE', 'SerializationException'],
  ['TOO_LARGE', 'ValidationException'],
])

/** What a client of AWS gets: status, type and sentence. */
export interface AwsError {
  readonly status: 400 | 500
  readonly type: string
  readonly message: string
}

/** Any thrown value as AWS would tell it. Refusals of ours that AWS has no name for are access denied. */
export function awsErrorOf(thrown: unknown): AwsError {
  const error = asAirsealError(thrown)
  const details = error.details as Json | undefined
  const named = details !== undefined && isObject(details) ? details['awsType'] : undefined
  if (typeof named === 'string') return { status: 400, type: named, message: error.message }
  const { status } = error.facts
  const type = TYPES.get(error.code) ?? (status < 500 ? 'AccessDeniedException' : undefined)
  if (type === undefined) {
    return { status: 500, type: 'KMSInternalException', message: `airseal: ${error.code}` }
  }
  const isTransient = type === 'KeyUnavailableException'
  return {
    status: isTransient ? 500 : 400,
    type,
    message: `${error.message} [${error.code}]`,
  }
}
