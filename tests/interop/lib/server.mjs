// The server under test: a running one (LIVESTORE_SYNC_URL), or one that is started here: the native binary
// (LIVESTORE_SYNC_BIN) or the Worker in workerd (LIVESTORE_SYNC_WORKER=d1|do-sqlite, as bundled by `cargo xtask worker`).
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { within } from './wait.mjs'

const { LIVESTORE_SYNC_URL, LIVESTORE_SYNC_BIN, LIVESTORE_SYNC_WORKER } = process.env
const WORKER = fileURLToPath(new URL('../../../worker/serve.mjs', import.meta.url))

if ([LIVESTORE_SYNC_URL, LIVESTORE_SYNC_BIN, LIVESTORE_SYNC_WORKER].filter(Boolean).length !== 1) {
  throw new Error('set one of LIVESTORE_SYNC_URL (a running server), LIVESTORE_SYNC_BIN (the native binary), LIVESTORE_SYNC_WORKER (d1|do-sqlite)')
}

/** What keeps the Worker's events; nothing when another server is tested. */
export const workerStorage = LIVESTORE_SYNC_WORKER

/** For tests of what only the Worker has: whether to skip them, and why. */
export const skipUnlessWorker = LIVESTORE_SYNC_WORKER ? false : 'only with LIVESTORE_SYNC_WORKER'

/** For tests of what does not depend on where a Worker's events are stored: one of the two is enough. */
export const skipOnD1 = LIVESTORE_SYNC_WORKER === 'd1' ? 'the same as with LIVESTORE_SYNC_WORKER=do-sqlite' : false

// Programs that are started with `--listen` and `--data`, and say where they listen. Those that run workerd end when their
// input does, and lead a group with it, so that a crash is one of both.
const native = () => ({ program: resolve(LIVESTORE_SYNC_BIN), args: ['serve'] })
/** The Worker that is deployed, or the one of another folder with a wrangler.toml. */
export const worker = (...args) => ({ program: process.execPath, args: [WORKER, '--storage', LIVESTORE_SYNC_WORKER, ...args], group: true })

/** For most tests: the given running server, else a fresh one. */
export async function anyServer() {
  if (LIVESTORE_SYNC_URL) return { url: LIVESTORE_SYNC_URL.replace(/\/+$/, ''), stop: async () => {} }
  return OwnServer.start()
}

/** For tests that end and restart the server. */
export async function ownServer() {
  if (LIVESTORE_SYNC_URL) throw new Error('this test restarts the server: set LIVESTORE_SYNC_BIN or LIVESTORE_SYNC_WORKER')
  return OwnServer.start()
}

export class OwnServer {
  #child
  #program
  #log = []

  static async start(program = LIVESTORE_SYNC_BIN ? native() : worker()) {
    const server = new this()
    server.data = await mkdtemp(join(tmpdir(), 'livestore-interop-'))
    await server.#launch(program, '127.0.0.1:0')
    return server
  }

  async #launch(program, listen) {
    this.#program = program
    const args = [...program.args, '--listen', listen, '--data', this.data]
    const child = spawn(program.program, args, program.group ? { stdio: 'pipe', detached: true } : { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    createInterface({ input: child.stderr }).on('line', (line) => this.#log.push(line))
    const listening = new Promise((done, failed) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const found = /^listening on (http:\/\/\S+)$/.exec(line)
        if (found) done(found[1])
      })
      child.once('error', failed)
      child.once('exit', (code, signal) => failed(new Error(`the server ended (${signal ?? code})\n${this.log()}`)))
    })
    this.url = await within('the server says it is listening', listening, 30_000)
  }

  log() {
    return this.#log.slice(-100).join('\n')
  }

  /** SIGKILL is the crash, SIGTERM the orderly end. */
  async kill(signal) {
    const child = this.#child
    if (child.exitCode !== null || child.signalCode !== null) return
    const gone = new Promise((done) => child.once('exit', done))
    if (this.#program.group && signal === 'SIGKILL') process.kill(-child.pid, signal)
    else child.kill(signal)
    await within(`the server ends on ${signal}`, gone, 30_000)
  }

  /** Same data folder, same port: to its clients it is the same server, even if it is another program. */
  restart(program = this.#program) {
    return this.#launch(program, new URL(this.url).host)
  }

  async stop() {
    await this.kill('SIGKILL')
    await rm(this.data, { recursive: true, force: true })
  }
}
