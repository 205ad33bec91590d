// Whole 0.3.1 stores on the Node adapter, leader in the same thread.
import { makeAdapter } from '@livestore/adapter-node'
import * as livestore from '@livestore/livestore'
import { createStorePromise } from '@livestore/livestore'
import { makeCfSync } from '@livestore/sync-cf'
import { Effect } from '@livestore/utils/effect'
import { Handles } from '../lib/child.mjs'
import { todoSchema } from '../lib/todo-schema.mjs'

const stores = new Handles()
const { schema, todos, byName } = todoSchema(livestore)

export const storeMethods = {
  /** `directory`: keep the databases there; without it they live in memory. */
  async openStore({ storeId, clientId, url, directory, payload }) {
    const adapter = makeAdapter({
      storage: directory ? { type: 'fs', baseDirectory: directory } : { type: 'in-memory' },
      clientId,
      sync: { backend: makeCfSync({ url }), onSyncError: 'ignore' },
    })
    const store = await createStorePromise({ schema, adapter, storeId, disableDevtools: true, syncPayload: payload })
    return stores.add(store)
  },
  commit(handle, events) {
    stores.get(handle).commit(...events.map(({ name, args }) => byName[name](args)))
  },
  rows: (handle) => stores.get(handle).query(todos.orderBy('id', 'asc')),

  /** What the leader still has to push, and how far it is confirmed. */
  async syncState(handle) {
    const state = await Effect.runPromise(stores.get(handle).clientSession.leaderThread.getSyncState)
    return { pending: state.pending.length, upstreamHead: state.upstreamHead.global, localHead: state.localHead.global }
  },
  closeStore: (handle) => stores.remove(handle).shutdown(),
}
