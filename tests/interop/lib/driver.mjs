// The parent side of a driver process: one child per generation of client packages, because the generations
// need different versions of the same packages, and because a child can be killed like a real client.
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { existsSync } from 'node:fs'
import { within } from './wait.mjs'

const root = new URL('..', import.meta.url)
const LOG_LINES = 200

export class Driver {
  #child
  #calls = new Map()
  #nextCall = 1
  #topics = new Map()
  #log = []
  exited = false

  /** `generation`: v03, v04 or next. */
  static async start(generation) {
    const folder = new URL(`${generation}/`, root)
    if (!existsSync(new URL('node_modules', folder))) {
      throw new Error(`the packages of ${generation} are not installed: npm run setup`)
    }
    const driver = new Driver(fileURLToPath(new URL('driver.mjs', folder)), generation)
    await within(() => `driver ${generation} starts`, driver.ready, 60_000)
    return driver
  }

  constructor(file, generation) {
    this.generation = generation
    // Node 20 hides its WebSocket behind a flag; Node 22 and later have it, as browsers do.
    const execArgv = globalThis.WebSocket ? [] : ['--experimental-websocket']
    this.#child = fork(file, [], { execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'], serialization: 'json' })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => this.#keepLog(text))
    }
    let ready
    this.ready = new Promise((resolve) => (ready = resolve))
    this.#child.on('message', (message) => {
      if (message.ready) return ready()
      if (message.topic !== undefined) return this.list(message.topic).push(message.value)
      const call = this.#calls.get(message.id)
      this.#calls.delete(message.id)
      if (message.error === undefined) call?.resolve(message.value)
      else call?.reject(new Error(`${generation}: ${message.error}`))
    })
    this.#child.on('exit', (code, signal) => {
      this.exited = true
      const error = new Error(`driver ${generation} ended (${signal ?? code})\n${this.log()}`)
      for (const call of this.#calls.values()) call.reject(error)
      this.#calls.clear()
    })
  }

  call(method, ...args) {
    return this.callWithin(60_000, method, ...args)
  }

  callWithin(ms, method, ...args) {
    if (this.exited) return Promise.reject(new Error(`driver ${this.generation} has ended`))
    const id = this.#nextCall++
    const answer = new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }))
    this.#child.send({ id, method, args })
    return within(`${this.generation} ${method}`, answer, ms)
  }

  /** Everything the child has sent on a topic so far (a live pull's pages, for example). */
  list(topic) {
    if (!this.#topics.has(topic)) this.#topics.set(topic, [])
    return this.#topics.get(topic)
  }

  /** The last lines the client packages logged; for failure messages. */
  log() {
    return this.#log.join('\n')
  }

  #keepLog(text) {
    this.#log.push(...text.split('\n').filter((line) => line.trim() !== ''))
    if (this.#log.length > LOG_LINES) this.#log.splice(0, this.#log.length - LOG_LINES)
  }

  async stop() {
    if (this.exited) return
    const gone = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGKILL')
    await gone
  }
}
