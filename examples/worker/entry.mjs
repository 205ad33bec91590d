// The Worker with a class that Durable Objects may call (`@livestore/adapter-cloudflare`): workerd takes their calls only on
// classes that extend `DurableObject`.
import { durableObject } from '../../sync-server/js/durable-object.mjs'
import * as worker from './build/index.js'

export default worker.default
export const WebSocketServer = durableObject(worker.WebSocketServer)
