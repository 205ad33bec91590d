// A TCP proxy between a client and the server that can cut connections or lose their bytes like a dead network.
import net from 'node:net'

export class Proxy {
  #links = new Set()
  #server
  #refusing = false
  #held = undefined
  #losing = { toServer: false, toClient: false }
  /** Connections made so far, up to the server; tells a test that a client has come back. */
  connected = 0
  /** Connections that the server has answered on: a WebSocket is open then, as the server sees it. */
  answered = 0
  /** Pieces of data that clients have sent; tells a test how much they ask. */
  sent = 0
  /** Connections that came to nothing; tells a test that a client has noticed that it is offline. */
  failed = 0

  static async to(t, targetUrl) {
    const proxy = new Proxy()
    const { hostname, port } = new URL(targetUrl)
    proxy.#server = net.createServer((client) => proxy.#accept(client, hostname, Number(port)))
    await new Promise((done) => proxy.#server.listen(0, '127.0.0.1', done))
    proxy.url = `http://127.0.0.1:${proxy.#server.address().port}`
    t.after(() => {
      proxy.cut({ refuse: true })
      proxy.#server.close()
    })
    return proxy
  }

  #accept(client, host, port) {
    if (this.#held) {
      client.on('error', () => {})
      return void this.#held.push(() => this.#accept(client, host, port))
    }
    if (this.#refusing) {
      this.failed++
      return client.destroy()
    }
    let reached = false
    const server = net.connect({ host, port }, () => {
      reached = true
      this.connected++
    })
    server.on('close', () => reached || this.failed++)
    server.once('data', () => this.answered++)
    const link = { client, server, lost: { ...this.#losing } }
    this.#links.add(link)
    this.#forward(link, client, server, 'toServer')
    this.#forward(link, server, client, 'toClient')
  }

  /** Lost bytes stay lost, and so does the news that a side has hung up: there is no FIN and no RST on a dead network. */
  #forward(link, from, to, direction) {
    from.on('data', (bytes) => {
      if (direction === 'toServer') this.sent++
      return link.lost[direction] || to.write(bytes)
    })
    from.on('error', () => {})
    from.on('close', () => {
      if (link.lost[direction]) return
      to.destroy()
      this.#links.delete(link)
    })
  }

  /** Ends every connection; with `refuse` new ones are turned away until `open()`. */
  cut({ refuse = false } = {}) {
    this.#refusing = refuse
    for (const { client, server } of this.#links) {
      client.destroy()
      server.destroy()
    }
    this.#links.clear()
  }

  /** From now on the bytes of the present connections are lost; with `future` those of new connections too. */
  lose({ toServer = false, toClient = false, future = false }) {
    for (const link of this.#links) link.lost = { toServer, toClient }
    if (future) this.#losing = { toServer, toClient }
  }

  /** New connections wait for `open()`: to their clients the server is slow, as it is while one is replaced by the next. */
  hold() {
    this.#held = []
  }

  /** New connections work again. Connections that lose their bytes go on losing them. */
  open() {
    this.#refusing = false
    const held = this.#held ?? []
    this.#held = undefined
    held.forEach((accept) => accept())
    this.#losing = { toServer: false, toClient: false }
  }
}
