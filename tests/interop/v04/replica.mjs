// A strict little store on the bare 0.4.0 backend. It keeps its pull alive and pushes what is pending as LeaderSyncProcessor
// does, but checks every event it gets: the log has to be one chain without holes, repetitions or reordering.
// (Whole stores can't be used under heavy trouble: they break their own chain while rebasing, livestore issues 641 and 734.)
import { makeWsSync } from '@livestore/sync-cf/client'
import { Cause, Effect, Exit, FetchHttpClient, Fiber, KeyValueStore, Layer, Option, Scope, Stream } from '@livestore/utils/effect'
import { Handles } from '../lib/child.mjs'

const replicas = new Handles()
const PAUSE_MS = 100

class Replica {
  log = []
  pending = []
  faults = []
  /** What it does, for reports of tests that wait too long: the last of each kind, with the time. */
  doing = {}
  #fibers = []

  constructor(backend, clientId) {
    this.backend = backend
    this.clientId = clientId
  }
  get head() {
    return this.log.at(-1)?.seqNum ?? 0
  }
  start() {
    this.#fibers = [Effect.runFork(this.#pulling()), Effect.runFork(this.#pushing())]
  }
  async stop() {
    for (const fiber of this.#fibers) await Effect.runPromise(Fiber.interrupt(fiber))
  }

  #note(what, text) {
    this.doing[what] = `${new Date().toISOString().slice(11, 23)} ${text}`
  }

  #take(event) {
    if (event.seqNum !== this.head + 1 || event.parentSeqNum !== this.head) {
      this.faults.push(`e${event.seqNum} on e${event.parentSeqNum} came at head e${this.head}`)
    }
    this.log.push(event)
    this.pending = this.pending.filter((id) => id !== event.args.id)
  }

  /** Pulls from the cursor; only an "offline" failure starts the pull anew, as in LeaderSyncProcessor. */
  #pulling() {
    const self = this
    return Effect.gen(function* () {
      for (;;) {
        const cursor = self.head === 0 ? Option.none() : Option.some({ eventSequenceNumber: self.head, metadata: Option.none() })
        self.#note('pull', `from e${self.head}`)
        const exit = yield* self.backend.pull(cursor, { live: true }).pipe(
          Stream.runForEach(({ batch }) =>
            Effect.sync(() => {
              batch.forEach(({ eventEncoded }) => self.#take(eventEncoded))
              self.#note('page', `of ${batch.length}, up to e${self.head}`)
            }),
          ),
          Effect.exit,
        )
        self.#note('pullEnd', Exit.isFailure(exit) ? Cause.pretty(exit.cause).slice(0, 200) : 'without an error')
        const error = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
        if (error?._tag !== 'IsOfflineError') {
          self.faults.push(`the pull ended: ${Exit.isFailure(exit) ? Cause.pretty(exit.cause) : 'without an error'}`)
          return
        }
      }
    })
  }

  #pushing() {
    const self = this
    return Effect.gen(function* () {
      for (;;) {
        const { head } = self
        const batch = self.pending.slice(0, 20).map((id, i) => ({
          name: 'v1.TodoCreated',
          args: { id },
          seqNum: head + i + 1,
          parentSeqNum: head + i,
          clientId: self.clientId,
          sessionId: 'session',
        }))
        // A push on a silent socket is never answered; the real leader is then interrupted by its next pull.
        if (batch.length > 0) {
          self.#note('push', `of ${batch.length} on e${head}`)
          const exit = yield* self.backend.push(batch).pipe(Effect.timeout(5_000), Effect.exit)
          self.#note('pushEnd', Exit.isFailure(exit) ? Cause.pretty(exit.cause).slice(0, 200) : 'taken')
        }
        yield* Effect.sleep(PAUSE_MS)
      }
    })
  }
}

export const replicaMethods = {
  async openReplica({ url, storeId, clientId }) {
    const scope = Effect.runSync(Scope.make())
    const context = await Effect.runPromise(
      Layer.buildWithScope(Layer.mergeAll(FetchHttpClient.layer, KeyValueStore.layerMemory), scope),
    )
    const make = makeWsSync({ url })({ storeId, clientId })
    const backend = await Effect.runPromise(make.pipe(Effect.provide(context), Scope.extend(scope)))
    const replica = new Replica(backend, clientId)
    replica.start()
    return replicas.add(replica)
  },
  write(handle, ids) {
    replicas.get(handle).pending.push(...ids)
  },
  look(handle) {
    const { log, pending, faults, head, doing } = replicas.get(handle)
    return { ids: log.map(({ args }) => args.id), pending, faults, head, doing }
  },
}
