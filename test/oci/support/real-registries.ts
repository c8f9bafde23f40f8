import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../support/processes.ts'
import { program } from '../../support/programs.ts'

export interface RealRegistry {
  /** `127.0.0.1:port` */
  readonly host: string
  stop: () => Promise<void>
}

export interface RegistryKind {
  readonly name: string
  readonly install: string
  readonly program: string
  readonly listsReferrers: boolean
  readonly args: (host: string, directory: string) => Promise<string[]>
}

/** Registries that people really run, or that their tools are tested with. */
export const REAL_REGISTRIES: readonly RegistryKind[] = [
  {
    name: 'go-containerregistry without the referrers API',
    program: 'crane',
    install: 'go install github.com/google/go-containerregistry/cmd/crane@v0.22.1',
    listsReferrers: false,
    args: (host) => Promise.resolve(['registry', 'serve', '--address', host]),
  },
  {
    name: 'go-containerregistry with the referrers API',
    program: 'referrers-registry',
    install: 'go build in test/clients/referrers-registry',
    listsReferrers: true,
    args: (host) => Promise.resolve(['-address', host]),
  },
  {
    name: 'distribution 2.8 of Debian',
    program: 'docker-registry',
    install: 'apt-get install docker-registry',
    listsReferrers: false,
    args: async (host, directory) => {
      const config = join(directory, 'config.yml')
      const text = `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${directory}/data}}\nhttp: {addr: ${host}}\n`
      await writeFile(config, text)
      return ['serve', config]
    },
  },
]

/** Starts a registry on a free port of loopback, and waits until it answers. */
export async function startRegistry(kind: RegistryKind): Promise<RealRegistry> {
  const path = program(kind.program)
  if (path === null) throw new Error(`${kind.program} is not installed: ${kind.install}`)
  const directory = await mkdtemp(join(tmpdir(), 'airseal-registry-'))
  const host = `127.0.0.1:${await freePort()}`
  const child = spawn(path, await kind.args(host, directory), { stdio: 'ignore' })
  const ended = new Promise<void>((resolve) =>
    child.once('exit', () => {
      resolve()
    }),
  )
  const stop = async () => {
    child.kill('SIGKILL')
    await ended
    await rm(directory, { recursive: true, force: true })
  }
  for (let tried = 0; tried < 100; tried++) {
    const answer = await fetch(`http://${host}/v2/`).catch(() => null)
    if (answer?.ok === true) return { host, stop }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  await stop()
  throw new Error(`${kind.program} did not start`)
}
