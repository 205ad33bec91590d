// Records the frames of npm `effect` 4.1.0's own RPC client and server, speaking LiveStore's sync
// schemas, as test vectors of the `next` generation. The project's encoder has no part in it.
//
//   npm install effect@4.1.0 && node record-next.mjs <directory for the .jsonl files>
//
// The schemas are those of `@livestore/sync-cf` 0.4.0, `src/common/{sync-message-types,
// ws-rpc-schema,http-rpc-schema}.ts`, and `@livestore/common` 0.4.0, `src/errors.ts`,
// `src/sync/{errors,sync-backend}.ts`, spelled for effect 4.

import { writeFileSync } from "node:fs"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as HttpEffect from "effect/http/HttpEffect"
import * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcGroup from "effect/rpc/RpcGroup"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as Socket from "effect/socket/Socket"
import * as SocketServer from "effect/socket/SocketServer"

// ---- LiveStore's schemas ----

const Global = Schema.Int
const BackendId = Schema.String
const EventEncoded = Schema.Struct({
  name: Schema.String,
  args: Schema.Any,
  seqNum: Global,
  parentSeqNum: Global,
  clientId: Schema.String,
  sessionId: Schema.String,
})
const SyncMetadata = Schema.TaggedStruct("SyncMessage.SyncMetadata", { createdAt: Schema.String })
const PullRequest = {
  cursor: Schema.Option(Schema.Struct({ backendId: BackendId, eventSequenceNumber: Global })),
}
const PullResponse = Schema.Struct({
  batch: Schema.Array(Schema.Struct({ eventEncoded: EventEncoded, metadata: Schema.Option(SyncMetadata) })),
  pageInfo: Schema.Union([
    Schema.TaggedStruct("MoreUnknown", {}),
    Schema.TaggedStruct("MoreKnown", { remaining: Schema.Finite }),
    Schema.TaggedStruct("NoMore", {}),
  ]),
  backendId: BackendId,
})
const PushRequest = { batch: Schema.Array(EventEncoded), backendId: Schema.Option(BackendId) }
const PushAck = Schema.Struct({})
const Pong = Schema.TaggedStruct("SyncMessage.Pong", {})

class UnknownError extends Schema.TaggedError()("UnknownError", {
  cause: Schema.Defect(),
  note: Schema.optional(Schema.String),
  payload: Schema.optional(Schema.Any),
}) {}
class BackendIdMismatchError extends Schema.TaggedError()("BackendIdMismatchError", {
  expected: BackendId,
  received: BackendId,
}) {}
class ServerAheadError extends Schema.TaggedError()("ServerAheadError", {
  minimumExpectedNum: Global,
  providedNum: Global,
}) {}

const common = { storeId: Schema.String, payload: Schema.optional(Schema.Json) }
const pullError = Schema.Union([UnknownError, BackendIdMismatchError])
const pushError = Schema.Union([UnknownError, ServerAheadError, BackendIdMismatchError])
const WsRpcs = RpcGroup.make(
  Rpc.make("SyncWsRpc.Pull", {
    payload: Schema.Struct({ ...common, live: Schema.Boolean, ...PullRequest }),
    success: PullResponse,
    error: pullError,
    stream: true,
  }),
  Rpc.make("SyncWsRpc.Push", {
    payload: Schema.Struct({ ...common, ...PushRequest }),
    success: PushAck,
    error: pushError,
  }),
)
const HttpRpcs = RpcGroup.make(
  Rpc.make("SyncHttpRpc.Pull", {
    payload: Schema.Struct({ ...common, ...PullRequest }),
    success: PullResponse,
    error: pullError,
    stream: true,
  }),
  Rpc.make("SyncHttpRpc.Push", {
    payload: Schema.Struct({ ...common, ...PushRequest }),
    success: PushAck,
    error: pushError,
  }),
  Rpc.make("SyncHttpRpc.Ping", { payload: Schema.Struct(common), success: Pong, error: UnknownError }),
)

// ---- A server whose answers are chosen by the store id ----

const backendId = "V1StGXR8_Z5jdHi6B-myT"
const event = (seqNum, args = { id: String(seqNum), text: `t${seqNum}` }) => ({
  name: "todoCreated",
  args,
  seqNum,
  parentSeqNum: seqNum - 1,
  clientId: "client-a",
  sessionId: "session-a",
})
const item = (eventEncoded, createdAt = "2026-11-21T00:14:31.259Z") => ({
  eventEncoded,
  metadata: createdAt === undefined
    ? Option.none()
    : Option.some({ _tag: "SyncMessage.SyncMetadata", createdAt }),
})
const response = (batch, pageInfo = { _tag: "NoMore" }) => ({ batch, pageInfo, backendId })
const odd = [null, "text", 1.5, [], { nested: [{ "quote\"": "\u2028\u0000ü🚀" }] }, -0, 1e21]

const pull = ({ storeId, live, cursor }) => {
  const end = live ? Stream.never : Stream.empty
  if (Option.isSome(cursor) && cursor.value.backendId !== backendId) {
    return Stream.fail(new BackendIdMismatchError({ expected: backendId, received: cursor.value.backendId }))
  }
  switch (storeId) {
    case "empty":
      return Stream.concat(Stream.make(response([])), end)
    case "paged":
      return Stream.make(
        response([item(event(1)), item(event(2))], { _tag: "MoreKnown", remaining: 1 }),
      ).pipe(Stream.concat(Stream.make(response([item(event(3))]))), Stream.concat(end))
    case "several-values":
      return Stream.fromArray([
        response([item(event(1))], { _tag: "MoreUnknown" }),
        response([item(event(2)), { eventEncoded: event(3), metadata: Option.none() }]),
      ])
    case "odd-args":
      return Stream.make(response(odd.map((args, i) => item(event(i + 1, args)))))
    case "unknown-error":
      return Stream.fail(new UnknownError({ cause: new RangeError("pull refused") }))
    case "die":
      return Stream.die(new TypeError("pull died"))
    default:
      return Stream.die(`no such store: ${storeId}`)
  }
}
const push = ({ storeId, batch, backendId: received }) => {
  if (Option.isSome(received) && received.value !== backendId) {
    return Effect.fail(new BackendIdMismatchError({ expected: backendId, received: received.value }))
  }
  switch (storeId) {
    case "ahead":
      return Effect.fail(new ServerAheadError({ minimumExpectedNum: 17, providedNum: batch[0].parentSeqNum }))
    case "unknown-error":
      return Effect.fail(new UnknownError({ cause: "push refused", note: "n", payload: { a: [1, null] } }))
    case "die":
      return Effect.die(new TypeError("push died"))
    case "die-text":
      return Effect.die("push died")
    case "two-causes":
      return Effect.failCause(Cause.combine(
        Cause.fail(new ServerAheadError({ minimumExpectedNum: 1, providedNum: 0 })),
        Cause.die("and more"),
      ))
    case "interrupted":
      return Effect.interrupt
    case "never":
      return Effect.never
    default:
      return Effect.succeed({})
  }
}
const wsHandlers = WsRpcs.toLayer({ "SyncWsRpc.Pull": pull, "SyncWsRpc.Push": push })
const httpHandlers = HttpRpcs.toLayer({
  "SyncHttpRpc.Pull": pull,
  "SyncHttpRpc.Push": push,
  "SyncHttpRpc.Ping": ({ storeId }) =>
    storeId === "unknown-error" ? Effect.fail(new UnknownError({ cause: "ping refused" })) : Effect.succeed({ _tag: "SyncMessage.Pong" }),
})

// ---- The wire ----

const files = { "next-ws-client": [], "next-ws-server": [], "next-http-client": [], "next-http-server": [], "next-ndjson": [] }
const text = (data) => typeof data === "string" ? data : new TextDecoder().decode(data)

/** A socket whose writes are recorded before they reach the other side. */
const socket = (incoming, outgoing, record) =>
  Socket.make({
    reader: Effect.succeed({ pull: Queue.takeAll(incoming), upgrade: Socket.SocketUpgradeError.unsupported }),
    writer: Effect.succeed({
      write: (data) => {
        record(text(data))
        return Effect.asVoid(Queue.offer(outgoing, data))
      },
      writeAll: (all) => Effect.forEach(all, (data) => {
        record(text(data))
        return Queue.offer(outgoing, data)
      }, { discard: true }),
    }),
  })

const settle = Effect.sleep("40 millis")

/** Goes on when the scenario is over, without waiting for its server to shut down. */
const run = (scenario) =>
  Effect.promise(() => new Promise((resolve, reject) => {
    const over = Effect.andThen(scenario, Effect.sync(resolve))
    Effect.runPromise(Effect.scoped(Effect.andThen(over, Effect.never))).catch(reject)
  }))

/** Runs `use` with a client, and `raw` to send text that the client would not. */
const ws = (scenario, use, { serialization = RpcSerialization.json, file, server } = {}) =>
  Effect.gen(function*() {
    const record = (dir) => (text) => files[file ?? (dir === "c2s" ? "next-ws-client" : "next-ws-server")].push({ scenario, dir, text })
    const toServer = yield* Queue.unbounded()
    const toClient = yield* Queue.unbounded()
    const serverSocket = socket(toServer, toClient, record("s2c"))
    const clientSocket = socket(toClient, toServer, record("c2s"))
    const socketServer = SocketServer.SocketServer.of({
      address: { _tag: "TcpAddress", hostname: "localhost", port: 0 },
      run: (handler) => Effect.andThen(handler(serverSocket), Effect.never),
    })
    const serverProtocol = yield* RpcServer.makeProtocolSocketServer.pipe(
      Effect.provideService(SocketServer.SocketServer, socketServer),
    )
    yield* RpcServer.make(WsRpcs, { disableTracing: true, ...server }).pipe(
      Effect.provideService(RpcServer.Protocol, serverProtocol),
      Effect.provide(wsHandlers),
      Effect.forkScoped,
    )
    const clientProtocol = yield* RpcClient.makeProtocolSocket({ pingInterval: "25 millis" }).pipe(
      Effect.provideService(Socket.Socket, clientSocket),
    )
    const client = yield* RpcClient.make(WsRpcs, { disableTracing: !scenario.startsWith("traced") }).pipe(
      Effect.provideService(RpcClient.Protocol, clientProtocol),
    )
    const raw = (data) => {
      record("c2s")(data)
      return Effect.andThen(Queue.offer(toServer, data), settle)
    }
    yield* Effect.timeoutOption(Effect.exit(use(client, raw)), "1 second")
    yield* settle
  }).pipe(Effect.provideService(RpcSerialization.RpcSerialization, serialization), run)

const http = (scenario, use) =>
  Effect.gen(function*() {
    const httpEffect = yield* RpcServer.toHttpEffect(HttpRpcs, { disableTracing: true }).pipe(Effect.provide(httpHandlers))
    const handler = HttpEffect.toWebHandler(httpEffect)
    const post = (body) => Effect.promise(async () => {
      files["next-http-client"].push({ scenario, dir: "c2s", text: body })
      const answer = await handler(new Request("http://localhost/", { method: "POST", body }))
      const answerText = await answer.text()
      files["next-http-server"].push({ scenario, dir: "s2c", text: answerText })
      return new Response(answerText, { status: answer.status, headers: answer.headers })
    })
    const httpClient = HttpClient.make((request) =>
      Effect.map(post(text(request.body.body)), (answer) => HttpClientResponse.fromWeb(request, answer))
    ).pipe(HttpClient.mapRequest(HttpClientRequest.prependUrl("http://localhost/")))
    const protocol = yield* RpcClient.makeProtocolHttp(httpClient)
    const client = yield* RpcClient.make(HttpRpcs, { disableTracing: true }).pipe(
      Effect.provideService(RpcClient.Protocol, protocol),
    )
    yield* Effect.timeoutOption(Effect.exit(use(client, post)), "1 second")
  }).pipe(Effect.provideService(RpcSerialization.RpcSerialization, RpcSerialization.json), run)

// ---- The scenarios ----

const none = Option.none()
const at = (eventSequenceNumber, id = backendId) => Option.some({ backendId: id, eventSequenceNumber })
const pullOf = (name) => (client, storeId, more = {}) =>
  Stream.runDrain(client[name]({ storeId, ...(name === "SyncWsRpc.Pull" ? { live: false } : {}), cursor: none, ...more }))
const pushOf = (name) => (client, storeId, more = {}) =>
  client[name]({ storeId, batch: [event(1)], backendId: none, ...more })
const pullWs = pullOf("SyncWsRpc.Pull")
const pushWs = pushOf("SyncWsRpc.Push")
const pullHttp = pullOf("SyncHttpRpc.Pull")
const pushHttp = pushOf("SyncHttpRpc.Push")
const request = (id, tag, payload) => JSON.stringify({ _tag: "Request", id, tag, payload, headers: [] })
const emptyPull = { storeId: "empty", live: false, cursor: { _tag: "None" } }

await Effect.runPromise(Effect.gen(function*() {
  yield* ws("pull-empty", (c) => pullWs(c, "empty"))
  yield* ws("pull-paged-with-acks", (c) => pullWs(c, "paged", { payload: { authToken: "x" }, cursor: at(0) }))
  yield* ws("pull-several-values-in-a-chunk", (c) => pullWs(c, "several-values"))
  yield* ws("pull-odd-args", (c) => pullWs(c, "odd-args"))
  yield* ws("pull-backend-id-mismatch", (c) => pullWs(c, "empty", { cursor: at(3, "other") }))
  yield* ws("pull-unknown-error", (c) => pullWs(c, "unknown-error"))
  yield* ws("pull-live-interrupted", (c) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(pullWs(c, "paged", { live: true }))
      yield* settle
      yield* Fiber.interrupt(fiber)
    }))
  yield* ws("push", (c) =>
    Effect.andThen(pushWs(c, "any"), pushWs(c, "any", { batch: odd.map((args, i) => event(i + 1, args)), backendId: Option.some(backendId) })))
  yield* ws("push-empty-batch", (c) => pushWs(c, "any", { batch: [] }))
  yield* ws("push-server-ahead", (c) => pushWs(c, "ahead"))
  yield* ws("push-backend-id-mismatch", (c) => pushWs(c, "any", { backendId: Option.some("other") }))
  yield* ws("push-unknown-error", (c) => pushWs(c, "unknown-error"))
  yield* ws("push-two-causes", (c) => pushWs(c, "two-causes"), { server: { disableFatalDefects: true } })
  yield* ws("push-interrupted-by-the-server", (c) => pushWs(c, "interrupted"))
  yield* ws("push-interrupted-by-the-client", (c) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(pushWs(c, "never"))
      yield* settle
      yield* Fiber.interrupt(fiber)
    }))
  yield* ws("traced-push", (c) => Effect.withSpan(pushWs(c, "any"), "span"))
  for (const [name, server] of [["fatal", {}], ["not-fatal", { disableFatalDefects: true }]]) {
    yield* ws(`die-${name}`, (c) => pushWs(c, "die"), { server })
    yield* ws(`die-text-${name}`, (c) => pushWs(c, "die-text"), { server })
    yield* ws(`die-in-pull-${name}`, (c) => pullWs(c, "die"), { server })
  }
  for (const [name, frame] of [
    ["unknown-rpc", request(7, "Nope.Rpc", {})],
    ["unknown-rpc-with-a-text-id", request("7", "Nope.Rpc", {})],
    ["unknown-tag", JSON.stringify({ _tag: "Nope" })],
    ["no-tag", "{}"],
    ["not-json", "not json"],
    ["empty-frame", ""],
    ["payload-does-not-fit", request(8, "SyncWsRpc.Pull", { storeId: "empty" })],
    ["seq-num-is-text", request(9, "SyncWsRpc.Push", { storeId: "any", batch: [{ ...event(1), seqNum: "1" }], backendId: { _tag: "None" } })],
    ["text-id", request("10", "SyncWsRpc.Pull", emptyPull)],
    ["no-headers", JSON.stringify({ _tag: "Request", id: 11, tag: "SyncWsRpc.Pull", payload: emptyPull })],
    ["array-of-messages", `[${request(12, "SyncWsRpc.Pull", emptyPull)},{"_tag":"Ping"},${request(13, "SyncWsRpc.Push", { storeId: "any", batch: [], backendId: { _tag: "None" } })}]`],
    ["empty-array", "[]"],
    ["interrupt-of-an-unknown-id", JSON.stringify({ _tag: "Interrupt", requestId: 99 })],
    ["ack-of-an-unknown-id", JSON.stringify({ _tag: "Ack", requestId: 99 })],
    ["eof", JSON.stringify({ _tag: "Eof" })],
  ]) {
    yield* ws(`raw-${name}`, (_, raw) => raw(frame))
  }

  yield* http("ping", (c) => c["SyncHttpRpc.Ping"]({ storeId: "any", payload: { authToken: "x" } }))
  yield* http("ping-unknown-error", (c) => c["SyncHttpRpc.Ping"]({ storeId: "unknown-error" }))
  yield* http("pull-empty", (c) => pullHttp(c, "empty"))
  yield* http("pull-paged", (c) => pullHttp(c, "paged", { cursor: at(2) }))
  yield* http("pull-backend-id-mismatch", (c) => pullHttp(c, "empty", { cursor: at(3, "other") }))
  yield* http("push", (c) => pushHttp(c, "any", { backendId: Option.some(backendId) }))
  yield* http("push-server-ahead", (c) => pushHttp(c, "ahead"))
  yield* http("push-die", (c) => pushHttp(c, "die"))
  for (const [name, body] of [
    ["unknown-rpc", request(1, "Nope", {})],
    ["not-json", "not json"],
    ["empty-body", ""],
    ["payload-does-not-fit", request(2, "SyncHttpRpc.Pull", {})],
    ["array-of-messages", `[${request(3, "SyncHttpRpc.Ping", { storeId: "any" })},${request(4, "SyncHttpRpc.Ping", { storeId: "any" })}]`],
    ["ping", JSON.stringify({ _tag: "Ping" })],
    ["eof", JSON.stringify({ _tag: "Eof" })],
  ]) {
    yield* http(`raw-${name}`, (_, post) => post(body))
  }

  const ndjson = { serialization: RpcSerialization.ndjson, file: "next-ndjson" }
  yield* ws("pull-paged-with-acks", (c) => pullWs(c, "paged"), ndjson)
  yield* ws("two-lines-in-a-frame", (_, raw) =>
    raw(`${request(1, "SyncWsRpc.Pull", emptyPull)}\n${JSON.stringify({ _tag: "Ping" })}\n`), ndjson)
}))

for (const [name, frames] of Object.entries(files)) {
  // Pings come by the clock; one a file and direction is enough.
  const pings = new Set()
  const kept = frames.filter(({ text }) => !/^\{"_tag":"P[io]ng"\}\s*$/.test(text) || (!pings.has(text) && pings.add(text)))
  writeFileSync(`${process.argv[2]}/${name}.jsonl`, kept.map((frame) => JSON.stringify(frame) + "\n").join(""))
}
process.exit(0)
