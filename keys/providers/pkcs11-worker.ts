// Runs in a worker thread: every call of a PKCS#11 module blocks. One worker for each module in a process, since the module's
// login state and C_Initialize belong to the whole process. Requests are answered one at a time, so two never share a session.
import { parentPort, workerData } from 'node:worker_threads'
import type { PKCS11 } from 'pkcs11js'
import { createToken, type Token } from './pkcs11-token.ts'
import type { Pkcs11Answer, Pkcs11Request } from './pkcs11-model.ts'

const { modulePath, initReserved } = workerData as {
  modulePath: string
  initReserved: string | null
}

/** Loaded at the first request, so that a missing addon or module is an answer and not a crash. */
let loaded: { module: PKCS11; token: Token } | null = null

async function load(): Promise<Token> {
  if (loaded !== null) return loaded.token
  const pkcs11js = (await import('pkcs11js')).default
  const module = new pkcs11js.PKCS11()
  module.load(modulePath)
  module.C_Initialize({
    flags: pkcs11js.CKF_OS_LOCKING_OK,
    ...(initReserved === null ? {} : { libraryParameters: initReserved }),
  })
  loaded = { module, token: createToken(module, pkcs11js) }
  return loaded.token
}

/** Back to the beginning: after an unexpected answer no session, handle or login is trusted. */
function reset(): void {
  if (loaded === null) return
  const { module } = loaded
  loaded = null
  try {
    module.C_Finalize()
  } catch {
    // A module whose token is gone may refuse even this; loading again is what counts.
  }
  module.close()
}

async function answer(request: Pkcs11Request): Promise<Pkcs11Answer> {
  try {
    const token = await load()
    switch (request.kind) {
      case 'open':
        return { kind: 'opened', key: token.open(request) }
      case 'sign':
        return { kind: 'signed', signature: token.sign(request) }
      case 'create':
        return { kind: 'opened', key: token.create(request) }
    }
  } catch (error) {
    const failure = toFailure(error)
    if (failure.isUnexpected) reset()
    return { kind: 'failed', ...failure }
  }
}

function toFailure(error: unknown): { reason: string; code: string; isUnexpected: boolean } {
  if (!(error instanceof Error)) return { reason: 'unknown', code: 'UNKNOWN', isUnexpected: true }
  // Our own refusals carry a code that is a text; the module's carry CKR numbers, with their name as message.
  const code = 'code' in error ? error.code : undefined
  if (error.name === 'Refusal') {
    return { reason: error.message, code: String(code), isUnexpected: false }
  }
  const isModule = typeof code === 'number'
  return {
    reason: isModule ? (/CKR_[A-Z_0-9]+/.exec(error.message)?.[0] ?? `CKR ${code}`) : error.message,
    code: code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND' ? 'ADDON' : 'MODULE',
    isUnexpected: true,
  }
}

parentPort?.on('message', (request: Pkcs11Request | null) => {
  if (request === null) {
    reset()
    parentPort?.close()
    return
  }
  void answer(request).then((result) => {
    if ('pin' in request) request.pin?.fill(0)
    parentPort?.postMessage(result)
  })
})
