import { isIP } from 'node:net'
import { AirsealError } from '../core/index.ts'
import type { RegistrySettings } from './settings.ts'

/** `https://host:port` or, for loopback and the registries of `plainHttp`, `http://host:port`; without the scheme's own port. */
export function originOf(host: string, settings: RegistrySettings): string {
  return new URL(`${speaksPlainHttp(host, settings) ? 'http' : 'https'}://${host}`).origin
}

/** Whether `host` (`name` or `name:port`) is reached without TLS. Never decided by trying: a fall-back is what an attacker wants. */
export function speaksPlainHttp(host: string, settings: RegistrySettings): boolean {
  if (settings.forceHttps.includes(host)) return false
  return settings.plainHttp.includes(host) || isLoopback(hostName(host))
}

/** @throws AirsealError REGISTRY_REFUSED when the settings shut `host` out */
export function checkAllowed(host: string, settings: RegistrySettings): void {
  if (settings.allowHosts !== undefined && !settings.allowHosts.includes(host)) {
    throw new AirsealError(
      'REGISTRY_REFUSED',
      `registry ${host} is not among the allowed registries`,
    )
  }
}

function isLoopback(name: string): boolean {
  return name === 'localhost' || name === '[::1]' || (isIP(name) === 4 && name.startsWith('127.'))
}

function hostName(host: string): string {
  return new URL(`https://${host}`).hostname
}

/**
 * True for addresses that no registry has but a cloud's metadata service does (169.254.0.0/16, fe80::/10, fd00:ec2::/32), and for the
 * unspecified address, which is loopback by another name. Also in their IPv4-mapped form.
 */
export function isForbiddenAddress(address: string): boolean {
  const text = address.replace(/^\[|\]$/g, '').toLowerCase()
  const v4 = isIP(text) === 4 ? text : mappedV4(text)
  if (v4 !== undefined) return v4.startsWith('169.254.') || v4.startsWith('0.')
  return /^fe[89ab][0-9a-f]:/.test(text) || text.startsWith('fd00:ec2:') || text === '::'
}

/** `::ffff:a9fe:a9fe` and `::ffff:169.254.169.254`, as the URL parser and the resolver write them. */
function mappedV4(text: string): string | undefined {
  if (!text.startsWith('::ffff:')) return undefined
  const rest = text.slice('::ffff:'.length)
  if (isIP(rest) === 4) return rest
  const groups = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(rest)
  if (groups === null) return undefined
  const [high, low] = [Number.parseInt(groups[1] ?? '', 16), Number.parseInt(groups[2] ?? '', 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
