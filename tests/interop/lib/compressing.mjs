// A server that compresses what is sent over WebSockets (the package `ws`), in front of one that need not.
import { createRequire } from 'node:module'

const { WebSocket, WebSocketServer } = createRequire(new URL('../v04/package.json', import.meta.url))('ws')

export class Compressing {
  #server
  #sockets = []
  /** What was agreed on with each client. */
  extensions = []
  /** Bytes of messages from and to clients, as they are without compression ... */
  length = 0

  static async to(t, targetUrl, options = {}) {
    const front = new Compressing()
    const perMessageDeflate = { threshold: 0, ...options }
    front.#server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate })
    front.#server.on('connection', (client, request) => front.#accept(client, new URL(request.url, targetUrl)))
    await new Promise((done) => front.#server.on('listening', done))
    front.url = `http://127.0.0.1:${front.#server.address().port}`
    t.after(() => {
      for (const client of front.#server.clients) client.terminate()
      front.#server.close()
    })
    return front
  }

  #accept(client, url) {
    this.extensions.push(client.extensions)
    this.#sockets.push(client._socket)
    url.protocol = 'ws:'
    const server = new WebSocket(url, { perMessageDeflate: false })
    const opened = new Promise((done) => server.on('open', done))
    const forward = (from, to) => {
      from.on('message', async (data) => {
        this.length += data.length
        await opened
        to.send(data.toString())
      })
      from.on('close', () => to.close())
      from.on('error', () => to.terminate())
    }
    forward(client, server)
    forward(server, client)
  }

  /** ... and on the wire. */
  get wireLength() {
    return this.#sockets.reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0)
  }
}
