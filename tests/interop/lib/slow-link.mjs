// A slow link between clients and the server, shared by all its connections: so many bits a second in each direction, with as
// much waiting for them as a router keeps. Who sends more is held back, as TCP does it.
import net from 'node:net'

/** Once so many bytes wait before the link, no more is read. What is read at once, 64 kB, may be beyond it, and the operating
 * system keeps about as much of each connection. */
const BUFFER = 32_000
/** What arrives at once. */
const PIECE = 4_096

export class SlowLink {
  #sockets = new Set()
  #server
  /** Connections made so far. */
  connected = 0

  /** `latencyMs` is added each way. */
  static async to(t, targetUrl, { kbitPerSecond, upKbitPerSecond = kbitPerSecond, latencyMs = 0 }) {
    const link = new SlowLink()
    link.toServer = new Lane(upKbitPerSecond, latencyMs)
    link.toClient = new Lane(kbitPerSecond, latencyMs)
    const { hostname, port } = new URL(targetUrl)
    link.#server = net.createServer((client) => link.#accept(client, hostname, Number(port)))
    await new Promise((done) => link.#server.listen(0, '127.0.0.1', done))
    link.url = `http://127.0.0.1:${link.#server.address().port}`
    t.after(() => link.#close())
    return link
  }

  #accept(client, host, port) {
    this.connected++
    const server = net.connect({ host, port })
    for (const socket of [client, server]) {
      this.#sockets.add(socket)
      socket.setNoDelay()
      socket.on('error', () => {})
      socket.on('close', () => this.#sockets.delete(socket))
    }
    this.toServer.carry(client, server)
    this.toClient.carry(server, client)
  }

  #close() {
    this.toServer.close()
    this.toClient.close()
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}

/** One direction. */
class Lane {
  #msPerByte
  #latencyMs
  #sources = new Set()
  #waiting = []
  #waitingBytes = 0
  /** When what waits will have gone. By this clock and not by the timer's, which is late where the machine is busy. */
  #free = 0
  #timer
  /** Bytes that have come through. */
  carried = 0
  /** When the first and the last piece of something large came through, and for how long nothing waited in between. */
  first
  last
  idleMs = 0

  constructor(kbitPerSecond, latencyMs) {
    this.#msPerByte = 8 / kbitPerSecond
    this.#latencyMs = latencyMs
  }

  /** How long so many bytes take. */
  ms(bytes) {
    return bytes * this.#msPerByte
  }

  carry(from, to) {
    this.#sources.add(from)
    from.on('data', (bytes) => {
      for (let at = 0; at < bytes.length; at += PIECE) this.#put(to, bytes.subarray(at, at + PIECE))
    })
    from.on('close', () => {
      this.#sources.delete(from)
      this.#put(to, undefined)
    })
  }

  /** `undefined` is the end. */
  #put(to, bytes) {
    const now = performance.now()
    if (this.first) this.idleMs += Math.max(0, now - this.#free)
    this.#free = Math.max(this.#free, now) + this.ms(bytes?.length ?? 0)
    this.#waiting.push({ to, bytes, at: this.#free + this.#latencyMs })
    this.#waitingBytes += bytes?.length ?? 0
    if (this.#waitingBytes >= BUFFER) for (const source of this.#sources) source.pause()
    this.#timer ??= setTimeout(() => this.#deliver(), this.#waiting[0].at - now)
  }

  #deliver() {
    const now = performance.now()
    while (this.#waiting.length > 0 && this.#waiting[0].at <= now) {
      const { to, bytes } = this.#waiting.shift()
      if (bytes === undefined) {
        to.destroySoon()
        continue
      }
      this.#waitingBytes -= bytes.length
      this.carried += bytes.length
      if (bytes.length === PIECE) {
        this.first ??= now
        this.last = now
      }
      if (!to.destroyed) to.write(bytes)
    }
    if (this.#waitingBytes < BUFFER) for (const source of this.#sources) source.resume()
    this.#timer = this.#waiting.length > 0 ? setTimeout(() => this.#deliver(), Math.max(1, this.#waiting[0].at - now)) : undefined
  }

  close() {
    clearTimeout(this.#timer)
    this.#waiting = []
    this.#timer = null
  }
}
