import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, startProcess, waitUntil, type Lifetime, type Started } from './processes.ts'
import { requiredProgram } from './programs.ts'

/** A registry on loopback that lives as long as the test. */
export interface Registry {
  /** `127.0.0.1:PORT`, as it stands in image references. */
  readonly host: string
  readonly process: Started
}

/** The kinds of registry, by program. Only `referrers-registry` has the referrers API; `docker-registry` keeps its data on disk. */
export type RegistryKind = 'crane' | 'referrers-registry' | 'docker-registry'

/** Starts a registry and waits until it answers. */
export async function startRegistry(t: Lifetime, kind: RegistryKind): Promise<Registry> {
  const host = `127.0.0.1:${await freePort()}`
  const process = await STARTERS[kind](t, host)
  await waitUntil(process, async () => (await fetch(`http://${host}/v2/`)).ok)
  return { host, process }
}

const STARTERS: Record<RegistryKind, (t: Lifetime, host: string) => Promise<Started>> = {
  crane: (t, host) =>
    Promise.resolve(
      startProcess(t, requiredProgram('crane'), ['registry', 'serve', '--address', host]),
    ),
  'referrers-registry': (t, host) =>
    Promise.resolve(startProcess(t, requiredProgram('referrers-registry'), ['-address', host])),
  'docker-registry': startDebianRegistry,
}

async function startDebianRegistry(t: Lifetime, host: string): Promise<Started> {
  const program = requiredProgram('docker-registry')
  const folder = await mkdtemp(join(tmpdir(), 'airseal-registry-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const data = join(folder, 'data')
  await mkdir(data)
  const config = join(folder, 'config.yml')
  await writeFile(
    config,
    [
      'version: 0.1',
      'log: { level: warn }',
      `storage: { filesystem: { rootdirectory: ${JSON.stringify(data)} }, delete: { enabled: true } }`,
      `http: { addr: ${JSON.stringify(host)} }`,
      '',
    ].join('\n'),
  )
  return startProcess(t, program, ['serve', config])
}
