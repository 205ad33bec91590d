// The servers that are measured, each in a process of its own, with its data in a folder of its own.

import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { Connection } from './connection.mjs'

const MB = 1024
/** /proc counts CPU time in hundredths of a second. */
const TICK_MS = 10

export class Target {
  #connections = new Set()
  #peak = 0
  /** Rejects if a connection fails; a new one per measurement. */
  failure
  #fail

  constructor(title, wire, url, pid, { reference = false } = {}) {
    Object.assign(this, { title, wire, url, pid, reference })
    this.reset()
    this.rssAtStart = this.rss().now
  }

  async connect(store) {
    const connection = await Connection.open(this.url, this.wire, store, (error) => this.#fail(error))
    this.#connections.add(connection)
    return connection
  }

  /** Closes what a measurement opened. */
  reset() {
    for (const connection of this.#connections) connection.close()
    this.#connections.clear()
    this.failure = new Promise((_, reject) => (this.#fail = reject))
    this.failure.catch(() => {})
  }

  /** CPU time of the server process so far, in milliseconds; NaN where there is no /proc. */
  cpu() {
    const fields = proc(this.pid, 'stat').split(') ').at(-1).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS
  }

  /** `rss().recentPeak` starts anew. */
  forgetPeak() {
    this.#peak = this.rss().peak
    try {
      writeFileSync(`/proc/${this.pid}/clear_refs`, '5')
    } catch {
      // There is no /proc, and no figure either.
    }
  }

  /** Resident memory of the server process in MB: now, at most so far, and at most of late; NaN where there is no /proc. */
  rss() {
    const status = proc(this.pid, 'status')
    const read = (field) => Number(status.match(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm'))?.[1] ?? Number.NaN) / MB
    const recentPeak = read('VmHWM')
    return { now: read('VmRSS'), recentPeak, peak: Math.max(this.#peak, recentPeak) }
  }
}

/** The native server, spoken to in one generation. */
export async function native(binary, state, { title, wire, synchronous }) {
  const data = folder(state, title)
  const options = ['--listen', '127.0.0.1:0', '--data', data, '--synchronous', synchronous, '--log-level', 'warn']
  const server = start(binary, ['serve', ...options])
  const url = await line(server, /^listening on (.*)/)
  return new Target(title, wire, url, server.pid)
}

/** This server as a Worker under Miniflare, as `cargo xtask worker` has bundled it. */
export function worker(state, { title, wire, storage }) {
  const data = folder(state, title)
  return inMiniflare('../worker/serve.mjs', ['--storage', storage, '--data', data], state, { title, wire })
}

/** Another Worker under Miniflare: a published reference backend, or the trial. */
export function other(state, { title, wire, path, storage }) {
  const reference = path.startsWith('reference')
  return inMiniflare('serve.mjs', [path, storage, folder(state, title)], state, { title, wire, reference })
}

/** Measured is workerd alone, not the Node process that started it. */
async function inMiniflare(script, options, state, { title, wire, reference = false }) {
  const environment = { ...process.env, WRANGLER_SEND_METRICS: 'false', WRANGLER_LOG: 'error', WRANGLER_LOG_PATH: join(state, 'wrangler.log') }
  const server = start(process.execPath, [fileURLToPath(new URL(script, import.meta.url)), ...options], environment)
  const url = await line(server, /^listening on (.*)/)
  const workerd = Number(proc(server.pid, `task/${server.pid}/children`).trim().split(' ').at(-1))
  return new Target(title, wire, url.replace(/\/$/, ''), workerd, { reference })
}

const servers = []
process.on('exit', () => servers.forEach((server) => server.kill()))

function start(program, options, env = process.env) {
  const server = spawn(program, options, { stdio: ['pipe', 'pipe', 'inherit'], env })
  servers.push(server)
  return server
}

/** Ends all servers. */
export function stop() {
  const ended = (server) => new Promise((resolve) => server.on('exit', resolve).kill() || resolve())
  return Promise.all(servers.map(ended))
}

function folder(state, title) {
  const path = join(state, title.replace(/\W+/g, '-'))
  mkdirSync(path)
  return path
}

/** Waits for a line of a server's output. */
function line(server, pattern) {
  return new Promise((resolve, reject) => {
    createInterface(server.stdout).on('line', (text) => {
      const found = text.match(pattern)
      if (found) resolve(found[1].replace('http', 'ws'))
    })
    server.on('error', reject)
    server.on('exit', (code) => reject(new Error(`a server ended with ${code} before it listened`)))
  })
}

function proc(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
