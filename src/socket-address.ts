import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import type { DataDirectory } from './data-directory.ts'

/** Longest path of a Unix socket on Linux is 107 bytes; a little is left for the temporary name. */
const MAX_SOCKET_PATH = 100

export interface SocketAddress {
  readonly path: string
  release(): Promise<void>
}

/** A path by which the socket in the data directory can be reached, also when its own path is too long for a socket address. */
export async function socketAddress(directory: DataDirectory): Promise<SocketAddress> {
  if (Buffer.byteLength(directory.socket) <= MAX_SOCKET_PATH) {
    return { path: directory.socket, release: () => Promise.resolve() }
  }
  const handle = await open(directory.root, constants.O_RDONLY | constants.O_DIRECTORY).catch(
    () => null,
  )
  if (handle === null)
    return { path: directory.socket.slice(0, MAX_SOCKET_PATH), release: () => Promise.resolve() }
  return { path: `/proc/self/fd/${handle.fd}/airseal.sock`, release: () => handle.close() }
}
