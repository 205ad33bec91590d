// Driver process for Effect 4's own RPC client speaking LiveStore's messages.
import { Cause, Effect, Exit, Fiber, Layer, Option, Scope, Stream } from 'effect'
import { FetchHttpClient, HttpClient, HttpClientRequest } from 'effect/http'
import { RpcClient, RpcSerialization } from 'effect/rpc'
import { Socket } from 'effect/socket'
import '../lib/trace.mjs'
import { Handles, notify, serve } from '../lib/child.mjs'
import { SyncHttpRpc, SyncWsRpc } from './schema.mjs'

const clients = new Handles()
const serializations = { json: RpcSerialization.layerJson, ndjson: RpcSerialization.layerNdjson }

function outcome(exit) {
  if (Exit.isSuccess(exit)) return { ok: true, value: exit.value }
  const error = Cause.squash(exit.cause)
  return { ok: false, error: { ...error, _tag: error?._tag ?? 'Defect', cause: undefined, text: Cause.pretty(exit.cause) } }
}

const run = (effect) => Effect.runPromiseExit(effect).then(outcome)

const page = ({ batch, pageInfo, backendId }) => ({
  batch: batch.map(({ eventEncoded, metadata }) => ({ eventEncoded, metadata: Option.getOrNull(metadata) })),
  remaining: pageInfo._tag === 'MoreKnown' ? pageInfo.remaining : 0,
  pageInfo: pageInfo._tag,
  backendId,
})

/** Records what this client puts on the wire and what comes back. */
const recordingSocket = (frames) =>
  Layer.succeed(Socket.WebSocketConstructor)((url, protocols) => {
    const socket = new globalThis.WebSocket(url, protocols)
    const send = socket.send.bind(socket)
    socket.send = (data) => {
      frames.push({ dir: 'sent', text: String(data) })
      send(data)
    }
    socket.addEventListener('message', ({ data }) => frames.push({ dir: 'received', text: String(data) }))
    return socket
  })

const recordingFetch = (frames) =>
  Layer.succeed(FetchHttpClient.Fetch)(async (url, init) => {
    if (init.body != null) frames.push({ dir: 'sent', text: await new Response(init.body).text() })
    const response = await globalThis.fetch(url, { ...init, body: frames.at(-1)?.text })
    frames.push({ dir: 'received', text: await response.clone().text(), type: response.headers.get('content-type') })
    return response
  })

/** Effect 4's HTTP protocol puts a slash behind the whole URL, here behind the query: `transport=http/`. */
const withoutSlash = HttpClient.mapRequest(HttpClientRequest.updateUrl((url) => url.replace(/\/$/, '')))

serve({
  /** `transport`: ws or http; `serialization`: json or ndjson; `batch`, `asGiven`: see layerProtocolHttp, withoutSlash. */
  async open({ transport, serialization = 'json', url, storeId, batch, asGiven = false }) {
    const frames = []
    const address = `${url}?storeId=${storeId}&transport=${transport}`
    const protocol =
      transport === 'ws'
        ? RpcClient.layerProtocolSocket({ retryTransientErrors: true }).pipe(
            Layer.provide(Socket.layerWebSocket(address)),
            Layer.provide(recordingSocket(frames)),
          )
        : RpcClient.layerProtocolHttp({ url: address, batch, transformClient: asGiven ? undefined : withoutSlash }).pipe(
            Layer.provide(FetchHttpClient.layer),
            Layer.provide(recordingFetch(frames)),
          )
    const scope = Effect.runSync(Scope.make())
    const context = await Effect.runPromise(
      Layer.buildWithScope(protocol.pipe(Layer.provide(serializations[serialization])), scope),
    )
    const group = transport === 'ws' ? SyncWsRpc : SyncHttpRpc
    const client = await Effect.runPromise(
      RpcClient.make(group, { flatten: true }).pipe(Effect.provide(context), Scope.provide(scope)),
    )
    const prefix = transport === 'ws' ? 'SyncWsRpc' : 'SyncHttpRpc'
    const call = (method, payload) =>
      client(`${prefix}.${method}`, { storeId, ...(method === 'Pull' && transport === 'ws' ? { live: false } : {}), ...payload })
    return clients.add({ call, scope, frames, pulls: new Map() })
  },
  ping: (handle) => run(clients.get(handle).call('Ping', {})),
  unheard: (handle) => run(clients.get(handle).call('Unheard', {})),
  push: (handle, batch, backendId) =>
    run(clients.get(handle).call('Push', { batch, backendId: Option.fromNullishOr(backendId) })),

  /** `cursor`: {backendId, eventSequenceNumber}, or nothing to start at the root. */
  async pull(handle, cursor) {
    const result = await run(Stream.runCollect(clients.get(handle).call('Pull', { cursor: Option.fromNullishOr(cursor) })))
    return result.ok ? { ok: true, pages: Array.from(result.value).map(page) } : result
  },
  livePull(handle, topic, cursor) {
    const client = clients.get(handle)
    const pull = client.call('Pull', { cursor: Option.fromNullishOr(cursor), live: true }).pipe(
      Stream.runForEach((item) => Effect.sync(() => notify(topic, page(item)))),
      Effect.onExit((exit) => Effect.sync(() => notify(`${topic}:end`, outcome(exit)))),
    )
    client.pulls.set(topic, Effect.runFork(pull))
  },
  async stopPull(handle, topic) {
    await Effect.runPromise(Fiber.interrupt(clients.get(handle).pulls.get(topic)))
  },
  frames: (handle) => clients.get(handle).frames,
  async close(handle) {
    const { scope, pulls } = clients.remove(handle)
    for (const fiber of pulls.values()) await Effect.runPromise(Fiber.interrupt(fiber))
    await Effect.runPromise(Scope.close(scope, Exit.void))
  },
})
