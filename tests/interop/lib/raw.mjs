// A client that only speaks the wire protocol, for what the published clients do not do or hide.
import { WebSocket } from '../../../worker/tools.mjs'
import { until } from './wait.mjs'

const NONE = { _tag: 'None' }
const request = (id, tag, payload) => ({ _tag: 'Request', id: String(id), tag, payload, headers: [] })
const search = (storeId, transport, payload) => {
  const params = new URLSearchParams({ storeId, ...(transport && { transport }) })
  // Encoded twice, as clients do.
  if (payload !== undefined) params.set('payload', encodeURIComponent(JSON.stringify(payload)))
  return params
}

/** One socket. Acknowledges 0.4 chunks as clients do. */
export class Raw {
  frames = []
  closed = undefined
  #socket
  #acks = true

  /** `v03`: speaks 0.3. Rejects with `{ status, text }` when the server does not open a WebSocket. */
  static async open(t, url, storeId, { v03 = false, payload, headers, path = v03 ? '/websocket' : '/' } = {}) {
    const raw = new Raw()
    raw.storeId = storeId
    const address = `${url.replace('http', 'ws')}${path}?${search(storeId, v03 ? undefined : 'ws', payload)}`
    const socket = new WebSocket(address, { headers, perMessageDeflate: false })
    raw.#socket = socket
    t.after(() => socket.terminate())
    socket.on('close', (code, reason) => (raw.closed = { code, reason: String(reason) }))
    socket.on('message', (data) => {
      const frame = JSON.parse(data)
      raw.frames.push(frame)
      if (frame._tag === 'Chunk' && raw.#acks) raw.send({ _tag: 'Ack', requestId: frame.requestId })
    })
    await new Promise((resolve, reject) => {
      socket.once('open', resolve)
      socket.once('unexpected-response', async (_, response) => {
        let text = ''
        for await (const part of response) text += part
        reject(Object.assign(new Error(`${response.statusCode} ${text}`), { status: response.statusCode, text }))
      })
      socket.on('error', reject)
    })
    return raw
  }

  send = (frame) => this.#socket.send(JSON.stringify(frame))
  /** From now on chunks are not acknowledged. */
  holdAcks = () => (this.#acks = false)
  pull = (id, { live = true } = {}) => this.send(request(id, 'SyncWsRpc.Pull', { storeId: this.storeId, live, cursor: NONE }))
  interrupt = (id) => this.send({ _tag: 'Interrupt', requestId: String(id) })

  /** Waits for a frame from here on, or from `after` on. */
  frame(what, matches, { after = this.frames.length, ms } = {}) {
    return until(() => `${what}; got ${JSON.stringify(this.frames).slice(-500)}`, () => this.frames.slice(after).find(matches), ms)
  }
  /** Sends a push and does not wait for its answer. */
  pushes = (id, batch) => this.send(request(id, 'SyncWsRpc.Push', { storeId: this.storeId, batch, backendId: NONE }))
  async push(id, batch) {
    const after = this.frames.length
    this.pushes(id, batch)
    const { exit } = await this.frame(`the exit of push ${id}`, (f) => f._tag === 'Exit' && f.requestId === String(id), { after })
    return exit
  }
  async ping() {
    const after = this.frames.length
    this.#socket.send('{"_tag":"Ping"}')
    await this.frame('a pong', (f) => f._tag === 'Pong', { after })
  }

  /** The events of a live pull so far. */
  seqNums(id) {
    const chunks = this.frames.filter((f) => f._tag === 'Chunk' && f.requestId === String(id))
    return chunks.flatMap(({ values }) => values.flatMap(({ batch }) => batch.map(({ eventEncoded }) => eventEncoded.seqNum)))
  }
  /** The events that came to a 0.3 client, page by page, each with the pull that it is for. */
  batches() {
    const pages = this.frames.filter((f) => f._tag === 'WSMessage.PullRes' && f.batch.length > 0)
    return pages.map(({ requestId, batch }) => ({
      pull: requestId.context === 'pull' ? requestId.requestId : undefined,
      seqNums: batch.map(({ eventEncoded }) => eventEncoded.seqNum),
    }))
  }
  /** Waits until events up to `seqNum` have come. */
  reaches = (id, seqNum) => until(() => `pull ${id} reaches ${seqNum}, has ${this.seqNums(id)}`, () => this.seqNums(id).at(-1) >= seqNum)
}

/** A push over HTTP; answers `{ status, exit }`. */
export async function httpPush(url, storeId, batch, { payload, headers, path = '/' } = {}) {
  const body = JSON.stringify(request(1, 'SyncHttpRpc.Push', { storeId, batch, backendId: NONE }))
  const init = { method: 'POST', body, headers: { 'content-type': 'application/json', connection: 'close', ...headers } }
  const response = await fetch(`${url}${path}?${search(storeId, 'http', payload)}`, init)
  const text = await response.text()
  return { status: response.status, text, exit: response.status === 200 ? JSON.parse(text).at(-1).exit : undefined }
}

/** What a hook's rejection says, in the exit of a push. */
export const rejection = (exit) => exit.cause?.error?.cause?.message ?? exit.cause?.error?.cause
