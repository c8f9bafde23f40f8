import type { IncomingMessage } from 'node:http'
import { AirsealError } from '../core/index.ts'
import type { Access, Caller, Transport } from './model.ts'
import { findToken } from './tokens.ts'

/**
 * What a route asks for. All but `sign`, `attest`, `evidence:read` and `manage` are public, and `log:write` may be closed. `manage` is the operator's, over the
 * Unix socket only.
 */
export type Permission =
  | 'attest'
  | 'evidence:read'
  | 'manage'
  | 'health'
  | 'log:read'
  | 'log:write'
  | 'sign'
  | 'trust:read'
  | 'verify'

/**
 * Says who calls, and refuses who may not. The socket's caller is the operator. A header that names another address (`Forwarded`,
 * `X-Forwarded-For`) is never read: everybody can write one.
 * @throws AirsealError UNAUTHENTICATED, FORBIDDEN
 */
export function authorise(
  request: IncomingMessage,
  permission: Permission,
  access: Access,
  transport: Transport,
): Caller {
  // Only the listener knows it is a socket: a TCP connection that has ended has no address either.
  if (transport.kind === 'unix') return { kind: 'socket' }
  if (permission === 'manage') {
    throw new AirsealError(
      'FORBIDDEN',
      'this is for the operator: run the command on the machine of the service, as its user',
    )
  }
  const address = request.socket.remoteAddress ?? 'gone'
  const token = findToken(access.tokens, request.headers.authorization)
  if (token !== null) return { kind: 'token', name: token.name }
  const restricted =
    permission === 'sign' ||
    permission === 'attest' ||
    permission === 'evidence:read' ||
    (permission === 'log:write' && access.writeToken === 'required')
  if (!restricted) return { kind: 'anonymous', address }
  if (access.tokens.length > 0) {
    throw new AirsealError(
      'UNAUTHENTICATED',
      `permission ${permission} needs a bearer token that is known here`,
    )
  }
  requireThisMachine(request, permission, address, transport.loopback)
  return { kind: 'anonymous', address }
}

/**
 * Without tokens, only processes of this machine pass. The name in Host must be of this machine as well: a browser that was led here by a
 * hostile name service (DNS rebinding) sends that name.
 */
function requireThisMachine(
  request: IncomingMessage,
  permission: Permission,
  address: string,
  loopback: boolean,
): void {
  if (!loopback || !isLoopbackAddress(address)) {
    throw new AirsealError(
      'FORBIDDEN',
      `permission ${permission} is given to processes of this machine only, on a loopback listener, while no tokens are configured`,
    )
  }
  if (!isLoopbackHost(request.headers.host)) {
    throw new AirsealError(
      'FORBIDDEN',
      `permission ${permission} needs a Host header of this machine (127.0.0.1, localhost or [::1])`,
    )
  }
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address)
}

function isLoopbackHost(host: string | undefined): boolean {
  return (
    host !== undefined &&
    /^(?:localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(?::\d{1,5})?$/i.test(host)
  )
}
