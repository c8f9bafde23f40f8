import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadConfig } from '../../src/config.ts'
import { needs, requiredProgram } from '../support/programs.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const UNIT = readFileSync(join(ROOT, 'deploy', 'airseal.service'), 'utf8')

/** Of 10; what is left are the network and the user's own files. */
const MOST_EXPOSED = 1.5

function analyze(...args: string[]): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync(requiredProgram('systemd-analyze'), args, {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, SYSTEMD_COLORS: '0', SYSTEMD_PAGER: '' },
  })
  return { status, text: stdout + stderr }
}

/** The unit, starting the launcher of this tree, since the one that it names isn't installed here. */
function unitFile(folder: string, text = UNIT): string {
  const path = join(folder, 'airseal.service')
  writeFileSync(path, text.replace('/opt/airseal/bin/airseal', join(ROOT, 'bin', 'airseal')))
  return path
}

t.test('systemd finds nothing wrong with the unit', needs('systemd-analyze'), async (t) => {
  const { status, text } = analyze('verify', unitFile(t.testdir({})))
  t.equal(text, '')
  t.equal(status, 0)
  const wrong = analyze(
    'verify',
    unitFile(t.testdir({}), UNIT.replace('Type=exec', 'Type=nonsense')),
  )
  t.match(wrong.text, /nonsense/, 'it looks')
})

t.test('the unit keeps its exposure under the bound', needs('systemd-analyze'), async (t) => {
  const args = ['security', '--offline=true', `--threshold=${Math.round(MOST_EXPOSED * 10)}`]
  const { status, text } = analyze(...args, unitFile(t.testdir({})))
  t.equal(status, 0, text.slice(-200))
  const open = analyze(
    ...args,
    unitFile(
      t.testdir({}),
      UNIT.replace(
        /^(ProtectSystem|PrivateDevices|CapabilityBoundingSet|NoNewPrivileges|SystemCallFilter)=.*\n/gm,
        '',
      ),
    ),
  )
  t.not(open.status, 0, 'a unit without its protections does not')
})

t.test('the unit lets V8 compile', async (t) => {
  t.notMatch(UNIT, /^MemoryDenyWriteExecute=(?:true|yes|1)/m)
})

t.test('the example configuration is accepted and changes nothing', async (t) => {
  t.same(await loadConfig(join(ROOT, 'deploy', 'airseal.example.yaml')), await loadConfig(null))
})

t.test(
  'the example configuration names every field, and its commented values are accepted too',
  async (t) => {
    const text = readFileSync(join(ROOT, 'deploy', 'airseal.example.yaml'), 'utf8')
    const fields = [
      ...readFileSync(join(ROOT, 'src', 'config.ts'), 'utf8').matchAll(/^ {2}readonly (\w+): /gm),
    ].map((found) => found[1] ?? '')
    t.ok(fields.length > 15)
    const known = fields.filter((name) => name !== 'registries')
    for (const name of known) t.match(text, new RegExp(`^(?:# |  |  # )?${name}:`, 'm'), name)
    const path = join(t.testdir({}), 'airseal.yaml')
    // `# name: value` and the lines that belong to it.
    writeFileSync(path, text.replace(/^( *)# ((?: {2})?\w+:(?: \S+)?)$/gm, '$1$2'))
    const config = await loadConfig(path)
    t.equal(config.tokensFile, '/etc/airseal/tokens')
    t.equal(config.tls?.keyFile, '/etc/airseal/tls.key')
    t.equal(config.registries.caFile, '/etc/airseal/registry-ca.crt')
  },
)

t.test('the configuration in the Kubernetes manifests is accepted', async (t) => {
  const { parse } = await import('yaml')
  const map = parse(
    readFileSync(join(ROOT, 'deploy', 'kubernetes', 'configuration.yaml'), 'utf8'),
  ) as { data: Record<string, string> }
  const path = join(t.testdir({}), 'airseal.yaml')
  writeFileSync(path, map.data['airseal.yaml'] ?? '')
  t.equal((await loadConfig(path)).logWrites, 'token')
})
