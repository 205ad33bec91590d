// A client that is a Durable Object: a whole LiveStore store on `@livestore/adapter-cloudflare`.
import '@livestore/adapter-cloudflare/polyfill'
import { DurableObject } from 'cloudflare:workers'
import { createStoreDoPromise } from '@livestore/adapter-cloudflare'
import * as livestore from '@livestore/livestore'
import { StoreInternalsSymbol } from '@livestore/livestore'
import { handleSyncUpdateRpc } from '@livestore/sync-cf/client'
import { Effect } from '@livestore/utils/effect'
import { todoSchema } from '../lib/todo-schema.mjs'

const { schema, todos, byName } = todoSchema(livestore)

export class Client extends DurableObject {
  #store
  #updates = []
  #failing = false

  #open(storeId) {
    const { ctx, env } = this
    return (this.#store ??= createStoreDoPromise({
      schema,
      storeId,
      clientId: ctx.id.toString().slice(0, 12),
      sessionId: 'session',
      durableObject: { ctx, env, bindingName: 'CLIENT' },
      syncBackendStub: env.SYNC_BACKEND_DO.get(env.SYNC_BACKEND_DO.idFromName(storeId)),
      livePull: true,
    }))
  }

  /** The server's call. */
  async syncUpdateRpc(payload, storeId) {
    if (this.#failing) throw new Error('this client fails')
    this.#updates.push({ payload, storeId })
    return handleSyncUpdateRpc(payload)
  }

  async fetch(request) {
    const { op, storeId, events } = await request.json()
    if (op === 'fail' || op === 'heal') this.#failing = op === 'fail'
    if (op === 'updates') return Response.json(this.#updates)
    const store = await this.#open(storeId)
    if (op === 'commit') store.commit(...events.map(({ name, args }) => byName[name](args)))
    const { leaderThread } = store[StoreInternalsSymbol].clientSession
    const state = await Effect.runPromise(leaderThread.syncState.get)
    return Response.json({
      rows: store.query(todos.orderBy('id', 'asc')),
      pending: state.pending.length,
      head: state.upstreamHead.global,
    })
  }
}

/** `POST /client/<name>`: the client of that name does what the body asks for. */
export const askClient = (request, env) => {
  const [, route, name] = new URL(request.url).pathname.split('/')
  if (route !== 'client') return undefined
  return env.CLIENT.get(env.CLIENT.idFromName(name)).fetch(request)
}
