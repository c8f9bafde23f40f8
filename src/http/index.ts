export type { Permission } from './access.ts'
export { createListener } from './listener.ts'
export { listen } from './server.ts'
export type { ListenAddress, ListenOptions, RunningServer } from './server.ts'
export { parseTokens } from './tokens.ts'
export type {
  Access,
  Caller,
  HttpServices,
  Operation,
  RequestRecord,
  Token,
  Transport,
} from './model.ts'
