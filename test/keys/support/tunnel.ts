// Runs inside a network namespace: starts a server there and lends it a Unix socket, which crosses the namespace's border.
// Usage: tunnel.ts SOCKET PORT COMMAND
import { spawn } from 'node:child_process'
import { connect, createServer } from 'node:net'

const [, , socket = '', port = '', command = ''] = process.argv
const server = spawn(command, [], { stdio: 'inherit', env: { ...process.env, PORT: port } })
process.once('SIGTERM', () => {
  server.kill('SIGTERM')
  process.exit(0)
})
server.once('exit', () => process.exit(1))
createServer((from) => {
  const to = connect(Number(port), '127.0.0.1')
  from.on('error', () => to.destroy())
  to.on('error', () => from.destroy())
  from.pipe(to).pipe(from)
}).listen(socket)
