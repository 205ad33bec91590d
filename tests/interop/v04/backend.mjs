// The 0.4.0 sync backends on their own, without a store: what LeaderSyncProcessor sees.
import { makeHttpSync, makeWsSync } from '@livestore/sync-cf/client'
import {
  Cause, Chunk, Effect, Exit, FetchHttpClient, Fiber, KeyValueStore, Layer, Option, Scope, Stream, SubscriptionRef,
} from '@livestore/utils/effect'
import { Handles, notify } from '../lib/child.mjs'

const clients = new Handles()
const makers = { ws: makeWsSync, http: makeHttpSync }

/** Failures are data for the tests: the error's tag, its fields, and a text. */
function outcome(exit) {
  if (Exit.isSuccess(exit)) return { ok: true, value: exit.value }
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return { ok: false, error: { ...error, _tag: error?._tag ?? 'Defect', cause: undefined, text: Cause.pretty(exit.cause) } }
}

const page = ({ batch, pageInfo }) => ({
  batch: batch.map(({ eventEncoded, metadata }) => ({ eventEncoded, metadata: Option.getOrNull(metadata) })),
  remaining: pageInfo._tag === 'MoreKnown' ? pageInfo.remaining : 0,
  pageInfo: pageInfo._tag,
})

const cursorOf = (seqNum) =>
  Option.fromNullable(seqNum).pipe(Option.map((eventSequenceNumber) => ({ eventSequenceNumber, metadata: Option.none() })))

const run = (effect) => Effect.runPromiseExit(effect).then(outcome)

export const backendMethods = {
  /** `kind`: ws or http; `options` go to makeWsSync/makeHttpSync. `backendId` is planted as if learnt earlier. */
  async open({ kind, url, storeId, payload, clientId = 'client-a', options = {}, backendId }) {
    const scope = Effect.runSync(Scope.make())
    const context = await Effect.runPromise(
      Layer.buildWithScope(Layer.mergeAll(FetchHttpClient.layer, KeyValueStore.layerMemory), scope),
    )
    const make = Effect.gen(function* () {
      if (backendId !== undefined) yield* plantBackendId(backendId)
      return yield* makers[kind]({ url, ...options })({ storeId, clientId, payload })
    })
    const backend = await Effect.runPromise(make.pipe(Effect.provide(context), Scope.extend(scope)))
    return clients.add({ backend, scope, pulls: new Map() })
  },
  connect: (handle) => run(clients.get(handle).backend.connect),
  ping: (handle) => run(clients.get(handle).backend.ping),
  isConnected: (handle) => Effect.runPromise(SubscriptionRef.get(clients.get(handle).backend.isConnected)),
  push: (handle, batch) => run(clients.get(handle).backend.push(batch)),

  async pull(handle, cursor) {
    const pull = clients.get(handle).backend.pull(cursorOf(cursor), { live: false })
    const result = await run(Stream.runCollect(pull))
    return result.ok ? { ok: true, pages: Chunk.toReadonlyArray(result.value).map(page) } : result
  },

  /** Starts a live pull; its pages are sent on `topic`, its end (if ever) on `topic`:end. */
  livePull(handle, topic, cursor) {
    const client = clients.get(handle)
    const pull = client.backend.pull(cursorOf(cursor), { live: true }).pipe(
      Stream.runForEach((item) => Effect.sync(() => notify(topic, page(item)))),
      Effect.onExit((exit) => Effect.sync(() => notify(`${topic}:end`, outcome(exit)))),
    )
    client.pulls.set(topic, Effect.runFork(pull))
  },
  async stopPull(handle, topic) {
    await Effect.runPromise(Fiber.interrupt(clients.get(handle).pulls.get(topic)))
  },
  async close(handle) {
    const { scope, pulls } = clients.remove(handle)
    for (const fiber of pulls.values()) await Effect.runPromise(Fiber.interrupt(fiber))
    await Effect.runPromise(Scope.close(scope, Exit.void))
  },
}

/** The published backend keeps the id it learnt in its KeyValueStore under this key. */
const plantBackendId = (backendId) =>
  Effect.flatMap(KeyValueStore.KeyValueStore, (store) => store.set('backendId', backendId))
