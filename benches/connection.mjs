import WebSocket from 'ws'
import { event } from './wire.mjs'

/** The id of a connection's only pull. */
const PULL = 0

/** One client: at most one live pull, and one push at a time. */
export class Connection {
  /** The last event that this connection pushed. */
  head = 0
  /** Called with each frame of events. */
  onEvents = () => {}
  #socket
  #wire
  #store
  #pushes = PULL
  #acked
  #caughtUp

  /** `onFailure` hears of refusals and of ends that nobody asked for. */
  static open(url, wire, store, onFailure) {
    return new Promise((resolve) => {
      const socket = new WebSocket(url + wire.path(store), { perMessageDeflate: false })
      const connection = new Connection()
      connection.#socket = socket
      connection.#wire = wire
      connection.#store = store
      socket.on('open', () => resolve(connection))
      socket.on('error', onFailure)
      socket.on('close', (code) => onFailure(new Error(`connection closed with ${code}`)))
      socket.on('message', (frame) => {
        try {
          connection.#take(frame)
        } catch (error) {
          onFailure(error)
        }
      })
    })
  }

  /** Starts the live pull; done when everything stored has arrived. */
  pull() {
    this.#socket.send(this.#wire.pull(PULL, this.#store))
    return new Promise((resolve) => (this.#caughtUp = resolve))
  }

  /** Pushes the next `count` events; done when they are acknowledged. */
  push(count) {
    const batch = Array.from({ length: count }, () => event(++this.head))
    this.#socket.send(this.#wire.push(++this.#pushes, this.#store, batch))
    return new Promise((resolve) => (this.#acked = resolve))
  }

  close() {
    this.#socket.removeAllListeners('close')
    this.#socket.removeAllListeners('message')
    this.#socket.close()
  }

  #take(frame) {
    const { events, caughtUp, acked } = this.#wire.read(frame)
    if (events) {
      if (this.#wire.taken) this.#socket.send(this.#wire.taken(PULL))
      this.onEvents(frame)
      if (caughtUp) this.#caughtUp?.()
    }
    if (acked === this.#pushes) this.#acked()
  }
}
