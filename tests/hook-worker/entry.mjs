// The Worker under test behind a little JavaScript, through which tests look at what cannot be seen from outside and
// shorten what would take too long. The object does not notice: all its events go to it as they come.
//
//   GET  /probe/look?store=S              how often the object was made, the calls of it that are under way, and for how long
//                                         (ms) there have been none
//   POST /probe/clock?ms=N                lets the clock go forward
//   POST /probe/d1?ms=N                   makes all of D1 fail for so long
//   POST /probe/alarm?store=S             rings the object's alarm now
//   *    /probe/direct/HEADER/…?storeId=S a request to the object past the Worker, with this internal header (may be empty);
//                                         with `object=O` to the object of another store
//
// Looking does not wake an object: the Worker and its objects are in one isolate here.

import { DurableObject } from 'cloudflare:workers'
import worker, { WebSocketServer as Inner } from './build/index.js'

const INTERNAL = 'x-livestore-sync'

/** By store id. */
const seen = new Map()
const look = (store) => {
  if (!seen.has(store)) seen.set(store, { made: 0, running: {}, most: {}, calledMs: 0 })
  return seen.get(store)
}
/** The clock that nobody lets go forward. */
const nowMs = Date.now

const { now } = Date
let failsUntil = 0

/** An object of D1's API, all of whose questions fail while D1 is to fail. */
const TARGET = Symbol('target')
const failing = (object) =>
  new Proxy(object, {
    get(object, name) {
      const value = name === TARGET ? object : object[name]
      if (typeof value !== 'function' || name === 'constructor') return value
      if (['prepare', 'bind', 'withSession'].includes(name)) return (...args) => failing(value.apply(object, args))
      return async (...args) => {
        if (now() < failsUntil) throw new Error('D1_ERROR: D1 DB is overloaded. Requests queued for too long.')
        return value.apply(object, args.map((arg) => (Array.isArray(arg) ? arg.map((one) => one?.[TARGET] ?? one) : arg)))
      }
    },
  })
const failingD1 = (env) => new Proxy(env, { get: (env, name) => (name === 'DB' && env.DB ? failing(env.DB) : env[name]) })

let ahead = 0
// Dates that workerd makes are still of this class.
globalThis.Date = new Proxy(Date, {
  construct: (Date, args) => new Date(...(args.length > 0 ? args : [Date.now() + ahead])),
  get: (Date, name) => (name === 'now' ? () => Date.now() + ahead : Date[name]),
})

export class WebSocketServer extends DurableObject {
  #inner
  #seen

  constructor(ctx, env) {
    super(ctx, env)
    this.#inner = new Inner(ctx, failingD1(env))
    this.#seen = look(ctx.id.name)
    this.#seen.made++
    this.#seen.calledMs = nowMs()
  }

  async #call(method, ...args) {
    const { running, most } = this.#seen
    running[method] = (running[method] ?? 0) + 1
    most[method] = Math.max(most[method] ?? 0, running[method])
    this.#seen.calledMs = nowMs()
    try {
      return await this.#inner[method](...args)
    } finally {
      running[method]--
      this.#seen.calledMs = nowMs()
    }
  }

  fetch(...args) {
    return this.#call('fetch', ...args)
  }
  alarm(...args) {
    return this.#call('alarm', ...args)
  }
  webSocketMessage(...args) {
    return this.#call('webSocketMessage', ...args)
  }
  webSocketClose(...args) {
    return this.#call('webSocketClose', ...args)
  }
  webSocketError(...args) {
    return this.#call('webSocketError', ...args)
  }
  ring() {
    return this.#call('alarm')
  }
}

export default class extends worker {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url)
    const [, probe, what, header] = pathname.split('/')
    if (probe !== 'probe') return super.fetch(request)
    const store = searchParams.get('object') ?? searchParams.get('store') ?? searchParams.get('storeId')
    const objects = this.env.WEBSOCKET_SERVER
    const object = () => objects.get(objects.idFromName(store))
    switch (what) {
      case 'look': {
        const { calledMs, ...rest } = look(store)
        const busy = Object.values(rest.running).some((calls) => calls > 0)
        return Response.json({ ...rest, quietMs: busy ? 0 : nowMs() - calledMs })
      }
      case 'clock':
        ahead += Number(searchParams.get('ms'))
        return new Response()
      case 'd1':
        failsUntil = now() + Number(searchParams.get('ms'))
        return new Response()
      case 'alarm':
        await object().ring()
        return new Response()
      case 'direct': {
        const direct = new Request(request)
        direct.headers.delete(INTERNAL)
        if (header) direct.headers.set(INTERNAL, decodeURIComponent(header))
        return object().fetch(direct)
      }
    }
    return new Response('no such probe', { status: 404 })
  }
}
