import { makeDurableObject, makeWorker } from '@livestore/sync-cf/cf-worker'
import { askClient } from './client.mjs'

export { Client } from './client.mjs'
export class SyncBackend extends makeDurableObject() {}
const worker = makeWorker({ syncBackendBinding: 'SYNC_BACKEND_DO', validatePayload: () => {} })
export default { fetch: (request, env, ctx) => askClient(request, env) ?? worker.fetch(request, env, ctx) }
