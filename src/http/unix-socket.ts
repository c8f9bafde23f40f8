import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect, type Server } from 'node:net'
import { AirsealError } from '../core/index.ts'

/**
 * Makes `path` free to bind. A socket file stays behind when a process is killed: it is removed when nobody answers on it.
 * @throws AirsealError DATA_LOCKED when somebody does, DATA_DIRECTORY when it is no socket
 */
export async function freeSocketPath(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null)
  if (found === null) return
  if (!found.isSocket())
    throw new AirsealError('DATA_DIRECTORY', `${path} is in the way: it is not a socket`)
  if (await answers(path)) throw new AirsealError('DATA_LOCKED', `another process serves ${path}`)
  await unlink(path)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', (error: NodeJS.ErrnoException) => {
      // Any other failure (a full queue, a missing right) does not prove that nobody is there.
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT')
    })
  })
}

/** Binds the socket so that at no moment another user can connect: created under a mask, then mode 0600. */
export async function bindSocket(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new AirsealError(
          'DATA_DIRECTORY',
          `${path} can't be bound (${cause.code ?? cause.message})`,
          { cause },
        ),
      )
    })
    const mask = process.umask(0o077)
    try {
      server.listen(path, resolve)
    } finally {
      process.umask(mask)
    }
  })
  await chmod(path, 0o600)
}
