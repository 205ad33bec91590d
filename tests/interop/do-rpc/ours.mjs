import { durableObject } from '../../../sync-server/js/durable-object.mjs'
import * as server from '../../../examples/worker/build/index.js'
import { askClient } from './client.mjs'

export { Client } from './client.mjs'
export const SyncBackend = durableObject(server.WebSocketServer)
export default {
  fetch: (request, env, ctx) => askClient(request, env) ?? new server.default(ctx, env).fetch(request),
}
