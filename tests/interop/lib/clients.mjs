// What the tests hold in their hands: one bare sync backend, or one whole store, inside a driver process.
import { after } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { Driver } from './driver.mjs'
import { seqNumsOf } from './events.mjs'
import { until } from './wait.mjs'

let nextTopic = 1

export class Backend {
  /** Opens a sync backend in a running driver and closes it after test `t`. */
  static async open(t, driver, options) {
    const handle = await driver.call('open', options)
    t.after(() => driver.exited || driver.callWithin(10_000, 'close', handle).catch(() => {}))
    return new Backend(driver, handle)
  }
  constructor(driver, handle) {
    this.driver = driver
    this.handle = handle
  }
  connect = () => this.driver.call('connect', this.handle)
  ping = () => this.driver.call('ping', this.handle)
  push = (batch, backendId) => this.driver.call('push', this.handle, batch, backendId)
  pull = (cursor) => this.driver.call('pull', this.handle, cursor)
  call = (method) => this.driver.call(method, this.handle)

  async livePull(cursor) {
    const topic = `pull-${nextTopic++}`
    await this.driver.call('livePull', this.handle, topic, cursor)
    const pages = this.driver.list(topic)
    return {
      pages,
      ended: this.driver.list(`${topic}:end`),
      stop: () => this.driver.call('stopPull', this.handle, topic),
      /** Waits until events up to `seqNum` have arrived. */
      reaches: (seqNum, ms) =>
        until(() => `live pull reaches ${seqNum}, has ${seqNumsOf(pages).slice(-5)}`, () => seqNumsOf(pages).at(-1) >= seqNum, ms),
      /** Waits for the first answer: from then on the server knows this pull. */
      started: () => until('the live pull is answered', () => pages.length > 0),
    }
  }
}

/** The process in which a test file's stores of one generation live: starting one takes seconds of CPU time. */
const shared = new Map()
after(() => Promise.all([...shared.values()].map(async ({ starting }) => (await starting).stop())))

function sharedDriver(generation) {
  const known = shared.get(generation)
  if (known && !known.driver?.exited) return known.starting
  const next = { starting: Driver.start(generation) }
  next.starting.then((driver) => (next.driver = driver), () => shared.delete(generation))
  shared.set(generation, next)
  return next.starting
}

export class Store {
  /** Opens a store and closes it after test `t`. With a `directory` it has a process of its own, which can be killed. */
  static async open(t, generation, options) {
    const store = new Store(generation, options)
    t.after(() => store.#end())
    await store.#start()
    return store
  }
  constructor(generation, options) {
    this.generation = generation
    this.options = options
    this.name = options.clientId
  }
  async #start() {
    this.driver = await (this.options.directory ? Driver.start(this.generation) : sharedDriver(this.generation))
    this.handle = await this.driver.call('openStore', this.options)
  }
  async #end() {
    if (this.options.directory) return this.driver?.stop()
    // One that waits for a dead network may take longer; it ends with the process.
    if (this.handle !== undefined && !this.driver.exited) await this.driver.callWithin(5_000, 'closeStore', this.handle).catch(() => {})
  }
  /** The app is killed and started anew; it goes on with what is in its `directory`. */
  async restart() {
    await this.driver.stop()
    await this.#start()
  }
  commit = (...events) => this.driver.call('commit', this.handle, events)
  rows = () => this.driver.call('rows', this.handle)
  syncState = () => this.driver.call('syncState', this.handle)
  close = () => this.driver.call('closeStore', this.handle)
}

export const created = (id, text = `todo ${id}`) => ({ name: 'v1.TodoCreated', args: { id, text } })
export const renamed = (id, text) => ({ name: 'v1.TodoRenamed', args: { id, text } })
export const done = (id) => ({ name: 'v1.TodoDone', args: { id } })

/**
 * All stores have nothing left to push, the same confirmed head (`events` events in the log) and the same rows.
 * `{ atLeast }` instead of a number: see the test of concurrent commits. Answers the rows.
 */
export async function converged(stores, events, ms = 20_000) {
  let seen
  const enough = (head) => (events.atLeast ? head >= events.atLeast && head === seen[0].upstreamHead : head === events)
  const look = async () => {
    seen = await Promise.all(stores.map(async (s) => ({ name: s.name, ...(await s.syncState()), rows: await s.rows() })))
    return seen.every((s) => s.pending === 0 && enough(s.upstreamHead) && isDeepStrictEqual(s.rows, seen[0].rows))
  }
  const report = () => {
    const lines = seen.map(({ name, rows, ...state }) => `${name}: ${JSON.stringify(state)}, ${rows.length} rows`)
    const logs = stores.map((s) => `log of ${s.name}:\n${s.driver.log().slice(-1500)}`)
    return [`all stores converge on ${JSON.stringify(events)} events`, ...lines, ...logs].join('\n')
  }
  await until(report, look, ms)
  return seen[0].rows
}
