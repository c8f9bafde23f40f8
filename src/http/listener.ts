import type { RequestListener } from 'node:http'
import { ADMISSION_ROUTES } from './admission-routes.ts'
import { verifyImages } from './airseal-routes.ts'
import { serve, serveKnown, type Site } from './exchange.ts'
import type { HttpServices, Transport } from './model.ts'
import { createRouter } from './router.ts'
import { createEntry } from './rekor-routes.ts'

const MAX_BODY_BYTES = 32 * 1024 * 1024

/**
 * Answers requests. The routes that must be fast are recognised here by their exact spelling, since express costs more than verifying a
 * signature; every other spelling and route goes through express to the same handlers.
 * @param transport - how this listener is reached. Default: a network that is not this machine's own
 */
export function createListener(
  services: HttpServices,
  transport: Transport = { kind: 'tcp', loopback: false },
): RequestListener {
  const site: Site = { services, transport, maxBodyBytes: services.maxBodyBytes ?? MAX_BODY_BYTES }
  const router = createRouter(site)
  return (request, response) => {
    if (request.method === 'POST') {
      if (request.url === createEntry.pattern) {
        void serve(site, createEntry, request, response)
        return
      }
      if (request.url === verifyImages.pattern) {
        serveKnown(site, verifyImages, request, response)
        return
      }
    }
    if (request.method === 'POST' && request.url?.startsWith('/admission/') === true) {
      const [path = '', query = ''] = request.url.split('?', 2)
      const route = ADMISSION_ROUTES.find(
        ({ method, pattern }) => method === 'POST' && pattern === path,
      )
      if (route !== undefined) {
        void serve(site, route, request, response, new URLSearchParams(query))
        return
      }
    }
    request.url = cleanUrl(request.url ?? '/')
    router(request, response)
  }
}

/**
 * The path as Rekor reads it: repeated slashes are one, one at the end is none. Nothing is redirected, since clients turn a redirected POST
 * into a GET. Dot segments and escaped slashes are not resolved: no route has them.
 */
function cleanUrl(url: string): string {
  const at = url.indexOf('?')
  const path = (at === -1 ? url : url.slice(0, at)).replace(/\/{2,}/g, '/')
  const bare = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path
  return at === -1 ? bare : `${bare}${url.slice(at)}`
}
