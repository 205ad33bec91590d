// The server of the package, as its documentation sets it up.
import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'

export class WebSocketServer extends makeDurableObject() {}
export default makeWorker()
