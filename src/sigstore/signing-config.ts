export interface SigningConfigInput {
  /** Base URL of the log server, as clients reach it. */
  readonly url: string
  /** From when the service is used, RFC 3339. */
  readonly start: string
  /** Who runs it; must not be empty, since clients take one service per operator. */
  readonly operator: string
}

/**
 * Signing configuration v0.2 (the only version clients read): one Rekor v1 log, no certificate authority, no time-stamp authority.
 * `ANY` means that the client needs one log to answer; without the selector it refuses the file.
 */
export function signingConfigText(input: SigningConfigInput): string {
  return `${JSON.stringify(
    {
      mediaType: 'application/vnd.dev.sigstore.signingconfig.v0.2+json',
      rekorTlogUrls: [
        {
          url: input.url,
          majorApiVersion: 1,
          validFor: { start: input.start },
          operator: input.operator,
        },
      ],
      rekorTlogConfig: { selector: 'ANY' },
    },
    null,
    2,
  )}\n`
}
