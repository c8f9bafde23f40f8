import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { buildImage, pushImage, type BuiltImage } from '../../support/image.ts'
import type { Lifetime } from '../../support/processes.ts'
import { requiredProgram } from '../../support/programs.ts'
import {
  run,
  startSite,
  temporaryDirectory,
  type Finished,
  type RunOptions,
  type Site,
} from '../../support/site.ts'

export interface PushedImage extends BuiltImage {
  /** `HOST:PORT/REPOSITORY` */
  readonly repository: string
  /** `REPOSITORY@sha256:…` of the index. */
  readonly reference: string
}

/** What the tests of one file share: a running airseal, and a home of its own for the clients. */
export interface Place {
  readonly directory: string
  readonly site: Site
  /** Options that make every `cosign verify` offline. */
  readonly trust: readonly string[]
  /** Runs a client in the home of this place; nothing of the user's own is read or written. */
  client(name: string, args: readonly string[], options?: RunOptions): Promise<Finished>
  /** Builds an image that nobody has seen yet. */
  build(): Promise<BuiltImage>
  /** The same, pushed by crane into a repository of its own. */
  push(host: string, image?: BuiltImage): Promise<PushedImage>
}

/**
 * @param t - what is started ends with this test
 * @param configure - writes a configuration into the directory and gives its path
 */
export async function startPlace(
  t: Lifetime & Parameters<typeof temporaryDirectory>[0],
  configure?: (directory: string) => Promise<string>,
): Promise<Place> {
  const directory = await temporaryDirectory(t)
  const home = join(directory, 'home')
  await mkdir(home)
  const args = configure === undefined ? [] : ['--config', await configure(directory)]
  const site = await startSite(join(directory, 'data'), args)
  t.teardown(() => site.stop())
  let count = 0
  const build = (): Promise<BuiltImage> => {
    const name = `image${++count}`
    // The directory is unique, so no other place builds the same image.
    return buildImage(join(directory, name), `${directory} ${name}\n`)
  }
  return {
    directory,
    site,
    trust: ['--trusted-root', site.file('trusted_root.json')],
    client: (name, args, options = {}) =>
      run(requiredProgram(name), args, {
        ...options,
        env: {
          HOME: home,
          TUF_ROOT: join(home, 'tuf'),
          DOCKER_CONFIG: join(home, 'docker'),
          COSIGN_YES: 'true',
          ...options.env,
        },
      }),
    build,
    push: async (host, image) => {
      const built = image ?? (await build())
      const repository = `${host}/team/app${++count}`
      await pushImage(built, `${repository}:v1`)
      return { ...built, repository, reference: `${repository}@${built.index}` }
    },
  }
}

/** What a command said, for messages of assertions. */
export function said({ code, stdout, stderr }: Finished): string {
  return `exit code ${code}\n${stdout}${stderr}`
}
