// The 0.3.1 sync backend on its own, without a store: what LeaderSyncProcessor sees.
import { makeCfSync } from '@livestore/sync-cf'
import { Cause, Chunk, Effect, Exit, FetchHttpClient, Fiber, Layer, Option, Scope, Stream, SubscriptionRef } from '@livestore/utils/effect'
import { Handles, notify } from '../lib/child.mjs'

const clients = new Handles()

/** Failures are data for the tests: the error's tag, its fields, and a text. */
function outcome(exit) {
  if (Exit.isSuccess(exit)) return { ok: true, value: exit.value }
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  return { ok: false, error: { ...error, _tag: error?._tag ?? 'Defect', text: Cause.pretty(exit.cause) } }
}

const page = ({ batch, remaining }) => ({
  batch: batch.map(({ eventEncoded, metadata }) => ({ eventEncoded, metadata: Option.getOrNull(metadata) })),
  remaining,
})

const cursorOf = (seqNum) =>
  Option.fromNullable(seqNum).pipe(Option.map((global) => ({ cursor: { global, client: 0 }, metadata: Option.none() })))

const run = (effect) => Effect.runPromiseExit(effect.pipe(Effect.provide(FetchHttpClient.layer))).then(outcome)

export const backendMethods = {
  async open({ url, storeId, payload, clientId = 'client-a' }) {
    const scope = Effect.runSync(Scope.make())
    const context = await Effect.runPromise(Layer.buildWithScope(FetchHttpClient.layer, scope))
    const make = makeCfSync({ url })({ storeId, clientId, payload })
    const backend = await Effect.runPromise(make.pipe(Effect.provide(context), Scope.extend(scope)))
    return clients.add({ backend, scope, pulls: new Map() })
  },
  /** This generation has no ping in its interface; being connected is all a store sees. */
  connect: (handle) => run(SubscriptionRef.waitUntil(clients.get(handle).backend.isConnected, Boolean)),
  isConnected: (handle) => Effect.runPromise(SubscriptionRef.get(clients.get(handle).backend.isConnected)),
  push: (handle, batch) => run(clients.get(handle).backend.push(batch)),

  /** A pull never ends here; it is complete when nothing remains. One pull per client, says the package. */
  async pull(handle, cursor) {
    const pull = clients.get(handle).backend.pull(cursorOf(cursor)).pipe(Stream.takeUntil(({ remaining }) => remaining === 0))
    const result = await run(Stream.runCollect(pull))
    return result.ok ? { ok: true, pages: Chunk.toReadonlyArray(result.value).map(page) } : result
  },

  /** Starts the pull; its pages are sent on `topic`, its end (if ever) on `topic`:end. */
  livePull(handle, topic, cursor) {
    const client = clients.get(handle)
    const pull = client.backend.pull(cursorOf(cursor)).pipe(
      Stream.runForEach((item) => Effect.sync(() => notify(topic, page(item)))),
      Effect.onExit((exit) => Effect.sync(() => notify(`${topic}:end`, outcome(exit)))),
    )
    client.pulls.set(topic, Effect.runFork(pull.pipe(Effect.provide(FetchHttpClient.layer))))
  },
  async close(handle) {
    const { scope, pulls } = clients.remove(handle)
    for (const fiber of pulls.values()) await Effect.runPromise(Fiber.interrupt(fiber))
    await Effect.runPromise(Scope.close(scope, Exit.void))
  },
}
