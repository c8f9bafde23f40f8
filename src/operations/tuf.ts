import type { RoleName } from '../tuf/index.ts'
import type { ManagedOperation, Operations } from './operation.ts'
import type { SiteParts } from './site-parts.ts'
import { TufBody } from './tuf-body.ts'
import { propose, publish, rotate } from './tuf-ceremony.ts'
import { exportRepository, importRepository } from './tuf-media.ts'
import { tufStatus } from './tuf-status.ts'

const RENEWABLE: readonly RoleName[] = ['root', 'targets', 'snapshot', 'timestamp']

/** What `airseal tuf` asks for. */
export function tufOperations({
  tuf,
  clock,
  config,
}: Pick<SiteParts, 'tuf' | 'clock' | 'config'>): Operations {
  const operation = (run: ManagedOperation['run']): ManagedOperation => ({
    permission: 'manage',
    run,
  })
  return {
    'tuf/status': operation(async (body) => {
      new TufBody(body, [])
      return tufStatus(tuf, await tuf.state(), clock())
    }),
    'tuf/init': operation(async (body, caller) => {
      new TufBody(body, [])
      return tufStatus(tuf, await tuf.create(caller), clock())
    }),
    'tuf/refresh': operation(async (body, caller) => {
      const read = new TufBody(body, ['clockIsRight', 'renew'])
      const renew = read.text('renew') === null ? [] : [read.choice('renew', RENEWABLE)]
      const isClockRight = read.flag('clockIsRight')
      return tufStatus(tuf, await tuf.refresh(caller, { isClockRight, renew }), clock())
    }),
    'tuf/propose': operation(async (body) => {
      const role = new TufBody(body, ['role']).choice('role', ['root', 'targets'])
      return propose(tuf, await tuf.state(), role, clock())
    }),
    'tuf/rotate': operation((body, caller) => rotate(tuf, body, caller)),
    'tuf/publish': operation((body, caller) => publish(tuf, body, caller)),
    'tuf/export': operation((body, caller) =>
      exportRepository(tuf, body, caller, config.tuf.exportDays),
    ),
    'tuf/import': operation((body, caller) => importRepository(tuf, body, caller)),
  }
}
