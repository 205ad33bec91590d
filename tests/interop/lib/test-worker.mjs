// The Worker of tests/hook-worker, whose hooks and whose objects can be looked into. Bundled by
// `node worker/bundle.mjs tests/hook-worker` at the root.
import { fileURLToPath } from 'node:url'
import { chain } from './events.mjs'
import { rejection } from './raw.mjs'
import { OwnServer, worker } from './server.mjs'

const FOLDER = fileURLToPath(new URL('../../hook-worker', import.meta.url))

export class TestWorker extends OwnServer {
  static start() {
    return OwnServer.start.call(TestWorker, worker('--worker', FOLDER))
  }
  async #probe(what, query, method = 'POST') {
    const response = await fetch(`${this.url}/probe/${what}?${new URLSearchParams(query)}`, { method })
    if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`)
    return response
  }
  /**
   * How often the store's object was made (`made`), the calls under way (`running`), the most of each at once (`most`), and for
   * how long there have been none (`quietMs`).
   */
  look = async (store) => (await this.#probe('look', { store }, 'GET')).json()
  /** Whether the object has dealt with the end of a connection. */
  async ended(store) {
    const { running, most } = await this.look(store)
    return ['webSocketClose', 'webSocketError'].some((end) => most[end] > 0 && running[end] === 0)
  }
  /** Lets the clock of the Worker go forward. */
  clock = (ms) => this.#probe('clock', { ms })
  /** From here on every statement of D1 fails for so long, as D1 does when it is overloaded. */
  failD1 = (ms) => this.#probe('d1', { ms })
  /** Rings the alarm of the store's object. */
  ring = (store) => this.#probe('alarm', { store })
  /** The path of requests that reach the object past the Worker, with this internal header. */
  direct = (header) => `/probe/direct/${encodeURIComponent(header)}/`
}

/** What a push's first event makes the hook do. */
export const REPORT = chain(0, 1, { name: 'test.report' })
export const WAIT = chain(0, 1, { name: 'test.wait' })
export const PANIC = chain(0, 1, { name: 'test.panic' })

/** What the hook has seen: connection, connectedAt, payload, headers. */
export const reportOf = (exit) => JSON.parse(rejection(exit))
