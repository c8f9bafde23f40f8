import { AirsealError, type Digest } from '../core/index.ts'
import { errorCode, type RegistryClient } from './client.ts'
import type { BodyStream, HttpAnswer } from './http.ts'

/**
 * Uploads a blob in one piece (OCI distribution specification 1.1, "POST then PUT", which every registry has).
 * @throws AirsealError REGISTRY_ERROR, REGISTRY_REFUSED
 */
export async function uploadBlob(
  client: RegistryClient,
  base: string,
  digest: Digest,
  bytes: Uint8Array | BodyStream,
  timeoutMs?: number,
): Promise<HttpAnswer> {
  const begun = await client.call({
    method: 'POST',
    path: `${base}/blobs/uploads/`,
    headers: {},
    body: new Uint8Array(),
    push: true,
  })
  if (begun.status !== 202) {
    throw new AirsealError(
      'REGISTRY_ERROR',
      `${client.origin} answered ${begun.status}${errorCode(begun)} when an upload was begun`,
    )
  }
  const target = uploadTarget(client.origin, base, begun.headers.location)
  target.searchParams.set('digest', digest)
  return client.call({
    method: 'PUT',
    path: target.pathname + target.search,
    headers: { 'content-type': 'application/octet-stream' },
    body: bytes,
    push: true,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    // An upload that was cut has no second half: the caller begins another.
    ...(bytes instanceof Uint8Array ? {} : { again: false }),
  })
}

/** Has the registry take a blob over from another repository of its own ("Mounting a blob"). False: it did not. */
export async function mountBlob(
  client: RegistryClient,
  base: string,
  digest: Digest,
  from: string,
): Promise<boolean> {
  const answer = await client.call({
    method: 'POST',
    path: `${base}/blobs/uploads/?mount=${digest}&from=${encodeURIComponent(from)}`,
    body: new Uint8Array(),
    push: true,
  })
  return answer.status === 201
}

/**
 * Where the upload goes: always our own origin. A registry behind a TLS proxy often names itself with http, so of a location on the
 * same host name only path and query are used; any other host is refused.
 */
function uploadTarget(origin: string, base: string, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, `${origin}${base}/blobs/uploads/`)) {
    throw new AirsealError(
      'REGISTRY_ERROR',
      `${origin} began an upload without saying where it goes on`,
    )
  }
  const stated = new URL(location, `${origin}${base}/blobs/uploads/`)
  const own = new URL(origin)
  if (
    stated.origin !== own.origin &&
    (stated.hostname !== own.hostname || stated.port !== '' || own.port !== '')
  ) {
    throw new AirsealError(
      'REGISTRY_REFUSED',
      `${origin} wants the upload to go to ${stated.origin}`,
    )
  }
  return new URL(stated.pathname + stated.search, own)
}
