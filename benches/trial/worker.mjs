// What a Worker costs at the least: an object that runs the statements of a log and sends what they yield. It understands just
// enough of the 0.4 frames for the load generator: no hooks, no checks, no hibernation, no flow control.

import { DurableObject } from 'cloudflare:workers'

const CREATE = 'CREATE TABLE IF NOT EXISTS e (store text, seqNum integer, parentSeqNum integer, name text, args text, createdAt text, clientId text, sessionId text, primary key (store, seqNum)) strict, without rowid'
const APPEND = `INSERT INTO e SELECT ?1, value->>'seqNum', value->>'parentSeqNum', value->>'name', value->'args', ?2, value->>'clientId', value->>'sessionId'
  FROM json_each(?3) WHERE (SELECT coalesce(max(seqNum), 0) FROM e WHERE store = ?1) = ?4`
const PAGE = `SELECT max(seqNum) AS last, group_concat('{"metadata":{"_tag":"Some","value":{"createdAt":"'||createdAt||'","_tag":"SyncMessage.SyncMetadata"}},"eventEncoded":{"name":'||json_quote(name)||',"args":'||coalesce(args, 'null')||',"seqNum":'||seqNum||',"parentSeqNum":'||parentSeqNum||',"clientId":'||json_quote(clientId)||',"sessionId":'||json_quote(sessionId)||'}}', ',') AS items
  FROM (SELECT * FROM e WHERE store = ?1 AND seqNum > ?2 ORDER BY seqNum LIMIT ?3)`
const PAGE_EVENTS = 500

const chunk = (items, more) =>
  `{"_tag":"Chunk","requestId":"0","values":[{"batch":[${items}],"pageInfo":{"_tag":"${more ? 'MoreUnknown' : 'NoMore'}"}}]}`

export class SyncBackend extends DurableObject {
  #live = new Set()
  #created

  async fetch(request) {
    this.#created ??= this.#run(CREATE)
    await this.#created
    const store = new URL(request.url).searchParams.get('storeId')
    const [client, server] = Object.values(new WebSocketPair())
    server.accept()
    server.addEventListener('message', ({ data }) => this.ctx.waitUntil(this.#take(server, store, data)))
    server.addEventListener('close', () => this.#live.delete(server))
    return new Response(null, { status: 101, webSocket: client })
  }

  async #take(socket, store, frame) {
    if (frame.startsWith('{"_tag":"Ack"')) return
    if (frame.includes('"tag":"SyncWsRpc.Pull"')) return this.#pull(socket, store)
    const id = frame.slice(frame.indexOf('"id":') + 5, frame.indexOf(',"tag"'))
    const batch = frame.slice(frame.indexOf('"batch":') + 8, frame.lastIndexOf(',"backendId"'))
    const head = Number.parseInt(batch.slice(batch.indexOf('"parentSeqNum":') + 15))
    await this.#run(APPEND, store, new Date().toISOString(), batch, head)
    const items = batch.slice(1, -1).replaceAll('{"name":', '{"eventEncoded":{"name":').replaceAll('"sessionId":"bench"}', '"sessionId":"bench"}}')
    const live = chunk(items, false)
    for (const other of this.#live) other.send(live)
    socket.send(`{"_tag":"Exit","requestId":${id},"exit":{"_tag":"Success","value":{}}}`)
  }

  async #pull(socket, store) {
    for (let after = 0; ; ) {
      const { last, items } = await this.#run(PAGE, store, after, PAGE_EVENTS)
      if (last === null) break
      socket.send(chunk(items, true))
      after = last
    }
    socket.send(chunk('', false))
    this.#live.add(socket)
  }

  /** The first row. */
  async #run(statement, ...values) {
    if (!this.env.DB) return this.ctx.storage.sql.exec(statement, ...values).toArray()[0]
    const { results } = await this.env.DB.withSession('first-primary').prepare(statement).bind(...values).all()
    return results[0]
  }
}

export default {
  fetch(request, env) {
    const store = new URL(request.url).searchParams.get('storeId')
    return env.SYNC_BACKEND.get(env.SYNC_BACKEND.idFromName(store)).fetch(request)
  },
}
