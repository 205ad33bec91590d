// The server of the package, with its events in D1 if the variable says so.
import { env } from 'cloudflare:workers'
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

const storage = env.STORAGE === 'd1' ? { _tag: 'd1', binding: 'DB' } : { _tag: 'do-sqlite' }
export class WebSocketServer extends makeDurableObject({ storage }) {}
export default makeWorker({ syncBackendBinding: 'WEBSOCKET_SERVER' })
