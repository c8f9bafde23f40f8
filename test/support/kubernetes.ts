import { execFile } from 'node:child_process'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, startProcess, waitUntil, type Lifetime } from './processes.ts'
import { requiredProgram } from './programs.ts'

export interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** A real API server with its store on loopback; no nodes, so Pods are made and stay pending. */
export interface Cluster {
  readonly url: string
  /** PEM of the certificate that the server shows. */
  readonly certificate: string
  /** Runs kubectl as administrator; `input` is its standard input. */
  kubectl(args: readonly string[], input?: string): Promise<Ended>
}

/** Programs that a test with a cluster needs. */
export const CLUSTER_PROGRAMS = ['etcd', 'kube-apiserver', 'kubectl'] as const

/** Starts etcd and kube-apiserver for the life of the test and waits until they are ready. */
export async function startCluster(t: Lifetime): Promise<Cluster> {
  const folder = await mkdtemp(join(tmpdir(), 'airseal-cluster-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const store = await startStore(t, folder)
  const token = randomBytes(24).toString('hex')
  await writeFile(join(folder, 'tokens.csv'), `${token},admin,admin,system:masters\n`, {
    mode: 0o600,
  })
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  })
  const accountKey = join(folder, 'accounts.pem')
  await writeFile(accountKey, privateKey, { mode: 0o600 })

  const port = await freePort()
  const url = `https://127.0.0.1:${port}`
  const server = startProcess(t, requiredProgram('kube-apiserver'), [
    `--etcd-servers=${store}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    `--secure-port=${port}`,
    `--cert-dir=${folder}`,
    `--service-account-key-file=${accountKey}`,
    `--service-account-signing-key-file=${accountKey}`,
    '--service-account-issuer=https://accounts.invalid',
    `--token-auth-file=${join(folder, 'tokens.csv')}`,
    '--authorization-mode=RBAC',
    '--service-cluster-ip-range=10.0.0.0/24',
    // So that it is the namespace's standard that refuses privileged Pods, and not the server as such.
    '--allow-privileged=true',
    // Without a controller no namespace gets its default account, so Pods would be refused for that alone.
    '--disable-admission-plugins=ServiceAccount',
    '--endpoint-reconciler-type=none',
  ])
  const certificateFile = join(folder, 'apiserver.crt')
  await waitUntil(
    server,
    async () => isReady(url, token, await readFile(certificateFile, 'utf8')),
    60_000,
  )
  const certificate = await readFile(certificateFile, 'utf8')

  const fixed = [
    `--server=${url}`,
    `--token=${token}`,
    `--certificate-authority=${certificateFile}`,
    `--cache-dir=${join(folder, 'cache')}`,
  ]
  const env = { PATH: process.env['PATH'], HOME: folder, KUBECONFIG: '/dev/null' }
  return {
    url,
    certificate,
    kubectl: (args, input) =>
      new Promise((resolve) => {
        const child = execFile(
          requiredProgram('kubectl'),
          [...fixed, ...args],
          { env, timeout: 60_000 },
          (error, stdout, stderr) => {
            const status = error === null ? 0 : typeof error.code === 'number' ? error.code : -1
            resolve({ status, stdout, stderr })
          },
        )
        child.stdin?.end(input ?? '')
      }),
  }
}

async function startStore(t: Lifetime, folder: string): Promise<string> {
  const url = `http://127.0.0.1:${await freePort()}`
  const peers = `http://127.0.0.1:${await freePort()}`
  const store = startProcess(t, requiredProgram('etcd'), [
    `--data-dir=${join(folder, 'etcd')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peers}`,
    `--initial-advertise-peer-urls=${peers}`,
    `--initial-cluster=default=${peers}`,
    // Data that dies with the test needs no fsync.
    '--unsafe-no-fsync',
    '--log-level=error',
  ])
  await waitUntil(store, async () => (await fetch(`${url}/health`)).ok)
  return url
}

function isReady(url: string, token: string, ca: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}` }
    const asked = request(
      `${url}/readyz`,
      { ca, headers, timeout: 5_000, agent: false },
      (answer) => {
        answer.resume()
        resolve(answer.statusCode === 200)
      },
    )
    asked.once('error', reject)
    asked.end()
  })
}
