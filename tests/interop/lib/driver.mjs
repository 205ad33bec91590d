// The parent side of a driver process: one child per generation of client packages, because the generations
// need different versions of the same packages, and because a child can be killed like a real client.
import { fork, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { within } from './wait.mjs'

const root = new URL('..', import.meta.url)
const STORE_DRIVER = process.env.LIVESTORE_STORE_DRIVER ?? fileURLToPath(new URL('../../target/debug/livestore-store-driver', root))
const LOG_LINES = 200

/** The published packages, in Node; messages go over its IPC channel, because the packages log to stdout. */
function startNode(generation) {
  const folder = new URL(`${generation}/`, root)
  if (!existsSync(new URL('node_modules', folder))) {
    throw new Error(`the packages of ${generation} are not installed: npm run setup`)
  }
  // Node 20 hides its WebSocket behind a flag; Node 22 and later have it, as browsers do.
  const execArgv = globalThis.WebSocket ? [] : ['--experimental-websocket']
  const file = fileURLToPath(new URL('driver.mjs', folder))
  const child = fork(file, [], { execArgv, stdio: ['ignore', 'pipe', 'pipe', 'ipc'], serialization: 'json' })
  return {
    child,
    send: (message) => child.send(message),
    onMessage: (handle) => child.on('message', handle),
    logs: [child.stdout, child.stderr],
  }
}

/** Our own client (tests/store-driver); messages are lines. */
function startRust() {
  if (!existsSync(STORE_DRIVER)) throw new Error(`${STORE_DRIVER} is not built: cargo build -p livestore-store-driver`)
  const child = spawn(STORE_DRIVER, { stdio: 'pipe' })
  // What is written to one that has ended: its exit fails the calls.
  child.stdin.on('error', () => {})
  return {
    child,
    send: (message) => child.stdin.write(`${JSON.stringify(message)}\n`),
    onMessage: (handle) => createInterface({ input: child.stdout }).on('line', (line) => handle(JSON.parse(line))),
    logs: [child.stderr],
  }
}

export class Driver {
  #child
  #send
  #calls = new Map()
  #nextCall = 1
  #topics = new Map()
  #log = []
  exited = false

  /** `generation`: v03, v04 or next, or rust for this project's client. */
  static async start(generation) {
    const driver = new Driver(generation === 'rust' ? startRust() : startNode(generation), generation)
    await within(() => `driver ${generation} starts`, driver.ready, 60_000)
    return driver
  }

  constructor({ child, send, onMessage, logs }, generation) {
    this.generation = generation
    this.#child = child
    this.#send = send
    for (const stream of logs) stream.setEncoding('utf8').on('data', (text) => this.#keepLog(text))
    let ready
    this.ready = new Promise((resolve) => (ready = resolve))
    onMessage((message) => {
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
    this.#send({ id, method, args })
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
