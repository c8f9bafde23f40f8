import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Server } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import type { LogServer } from './log-server.ts'
import { program } from './programs.ts'
import { accepts, answers, freePort } from './workspace.ts'
import type { Running, Workspace } from './workspace.ts'

const TRILLIAN = 'github.com/google/trillian@v1.8.0'
const REKOR_METRICS_PORT = 2112

/**
 * Trillian at its defaults opens a database connection for nearly every query and integrates ten times a second. In short runs here
 * that gave 150 to 230 receipts a second, with these settings 210 to 310; intervals of 10 and 60 ms, tried once each, could not be
 * told from 30 ms by rate, and 10 ms had the worst p99. A comparison owes the peer a good set-up, not the best conceivable one.
 */
const TUNED_POOL = ['--mysql_max_conns=100', '--mysql_max_idle_conns=100']
const TUNED_SIGNER = ['--sequencer_interval=30ms']

export interface RekorOptions {
  /** False: Trillian's own defaults, as in Rekor's compose file. */
  readonly tuned: boolean
}

/**
 * Rekor v1 as its own compose file sets it up: rekor-server with the search index in Redis, the Trillian log server and signer,
 * MariaDB at its defaults (every commit flushed). All on loopback, from empty data; `name` keeps two starts apart.
 */
export async function startRekorV1(
  workspace: Workspace,
  name: string,
  options: RekorOptions,
): Promise<LogServer> {
  const directory = workspace.path(name)
  mkdirSync(directory, { mode: 0o700 })
  const servers: Running[] = []
  const closing: Server[] = []
  const stop = async (): Promise<void> => {
    for (const server of servers.reverse()) await server.stop()
    for (const listener of closing) listener.close()
  }
  try {
    const database = await startMariaDb(workspace, name, servers)
    const redis = await startRedis(workspace, name, servers)
    const trillian = await startTrillian(workspace, name, servers, { ...database, ...options })
    closing.push(...(await holdMetricsPort()))
    const port = await freePort()
    const rekor = workspace.start(
      `${name}-rekor-server`,
      program('rekor-server', 'run .ci/install-clients rekor-server'),
      [
        'serve',
        '--rekor_server.address=127.0.0.1',
        `--port=${port}`,
        '--rekor_server.hostname=rekor.bench',
        '--rekor_server.signer=memory',
        '--trillian_log_server.address=127.0.0.1',
        `--trillian_log_server.port=${trillian.port}`,
        `--trillian_log_server.tlog_id=${trillian.treeId}`,
        '--redis_server.address=127.0.0.1',
        `--redis_server.port=${redis}`,
        '--search_index.storage_provider=redis',
        '--enable_attestation_storage',
        `--attestation_storage_bucket=file://${directory}`,
        '--log_type=prod',
      ],
      // The attestation store renames files that it writes to TMPDIR first.
      { environment: { TMPDIR: directory } },
    )
    servers.push(rekor)
    await workspace.waitFor(rekor, () => answers(`http://127.0.0.1:${port}/api/v1/log`))
    return { name: 'Rekor v1', port, pids: servers.map((server) => server.pid), stop }
  } catch (error) {
    await stop()
    throw error
  }
}

interface Database {
  readonly uri: string
}

async function startMariaDb(
  workspace: Workspace,
  name: string,
  servers: Running[],
): Promise<Database> {
  const aptHint = 'install the packages mariadb-server and mariadb-client'
  const data = join(workspace.path(name), 'mysql')
  const socket = join(workspace.path(name), 'mysql.sock')
  const user = userInfo().username
  await workspace.run(program('mariadb-install-db', aptHint), [
    '--no-defaults',
    `--datadir=${data}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
    `--user=${user}`,
  ])
  const port = await freePort()
  const server = workspace.start(`${name}-mariadb`, program(['mariadbd', 'mysqld'], aptHint), [
    '--no-defaults',
    `--datadir=${data}`,
    `--socket=${socket}`,
    `--pid-file=${join(workspace.path(name), 'mysql.pid')}`,
    `--user=${user}`,
    '--skip-networking=0',
    '--bind-address=127.0.0.1',
    `--port=${port}`,
    '--max-connections=1000',
  ])
  servers.push(server)
  await workspace.waitFor(server, () => accepts(port))
  const password = randomBytes(16).toString('hex')
  const client = [program('mariadb', aptHint), '--no-defaults', `--socket=${socket}`, '--user=root']
  const [mariadb = '', ...login] = client
  await workspace.run(mariadb, login, {
    input:
      `ALTER USER 'root'@'localhost' IDENTIFIED BY '${password}'; CREATE DATABASE trillian;` +
      `CREATE USER 'trillian'@'%' IDENTIFIED BY '${password}'; GRANT ALL ON trillian.* TO 'trillian'@'%';`,
  })
  const module = await workspace.run(program('go', 'install Go'), [
    'list',
    '-m',
    '-f',
    '{{.Dir}}',
    TRILLIAN,
  ])
  await workspace.run(
    mariadb,
    [
      '--no-defaults',
      `--socket=${socket}`,
      '--user=trillian',
      `--password=${password}`,
      'trillian',
    ],
    { input: readFileSync(join(module.trim(), 'storage/mysql/schema/storage.sql'), 'utf8') },
  )
  return {
    uri: `trillian:${password}@tcp(127.0.0.1:${port})/trillian?parseTime=true&interpolateParams=true`,
  }
}

async function startRedis(workspace: Workspace, name: string, servers: Running[]): Promise<number> {
  const port = await freePort()
  const server = workspace.start(
    `${name}-redis`,
    program(['redis-server', 'valkey-server'], 'install the package redis-server'),
    ['--port', String(port), '--bind', '127.0.0.1', '--appendonly', 'yes', '--save', ''],
    { directory: workspace.path(name) },
  )
  servers.push(server)
  await workspace.waitFor(server, () => accepts(port))
  return port
}

async function startTrillian(
  workspace: Workspace,
  name: string,
  servers: Running[],
  { uri, tuned }: Database & RekorOptions,
): Promise<{ port: number; treeId: string }> {
  const hint = 'run .ci/install-clients trillian'
  const ports: number[] = []
  for (const part of ['trillian_log_server', 'trillian_log_signer']) {
    const [rpc, http] = [await freePort(), await freePort()]
    const server = workspace.start(`${name}-${part}`, program(part, hint), [
      '--quota_system=noop',
      '--storage_system=mysql',
      `--mysql_uri=${uri}`,
      `--rpc_endpoint=127.0.0.1:${rpc}`,
      `--http_endpoint=127.0.0.1:${http}`,
      '--logtostderr',
      ...(tuned ? TUNED_POOL : []),
      ...(part === 'trillian_log_signer' ? ['--force_master', ...(tuned ? TUNED_SIGNER : [])] : []),
    ])
    servers.push(server)
    ports.push(rpc)
    await workspace.waitFor(server, () => answers(`http://127.0.0.1:${http}/healthz`))
  }
  const port = ports[0] ?? 0
  const tree = await workspace.run(program('createtree', hint), [
    `--admin_server=127.0.0.1:${port}`,
  ])
  return { port, treeId: tree.trim() }
}

/**
 * rekor-server opens its metrics on port 2112 of every interface and has no switch for it, but does without when the port is
 * taken. So it is taken, on loopback, while the server starts. Nothing to do when something else has it.
 */
function holdMetricsPort(): Promise<Server[]> {
  return new Promise((resolve) => {
    const holder = createServer((socket) => socket.destroy())
    holder.once('error', () => {
      resolve([])
    })
    holder.listen(REKOR_METRICS_PORT, '127.0.0.1', () => {
      resolve([holder])
    })
  })
}
