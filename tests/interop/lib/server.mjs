// The server under test: a running one (LIVESTORE_SYNC_URL) or the native binary (LIVESTORE_SYNC_BIN), started here.
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { within } from './wait.mjs'

const { LIVESTORE_SYNC_URL, LIVESTORE_SYNC_BIN } = process.env

/** For most tests: the given running server, else a fresh one. */
export async function anyServer() {
  if (LIVESTORE_SYNC_URL) return { url: LIVESTORE_SYNC_URL.replace(/\/+$/, ''), stop: async () => {} }
  if (LIVESTORE_SYNC_BIN) return NativeServer.start()
  throw new Error('set LIVESTORE_SYNC_URL (a running server) or LIVESTORE_SYNC_BIN (the native binary)')
}

/** For tests that end and restart the server: only the binary will do. */
export async function ownServer() {
  if (LIVESTORE_SYNC_BIN) return NativeServer.start()
  throw new Error('this test restarts the server: set LIVESTORE_SYNC_BIN to the native binary')
}

export class NativeServer {
  #child
  #log = []

  static async start() {
    const server = new NativeServer()
    server.data = await mkdtemp(join(tmpdir(), 'livestore-interop-'))
    await server.#launch('127.0.0.1:0')
    return server
  }

  async #launch(listen) {
    const args = ['serve', '--listen', listen, '--data', this.data]
    const child = spawn(resolve(LIVESTORE_SYNC_BIN), args, { stdio: ['ignore', 'pipe', 'pipe'] })
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
    child.kill(signal)
    await within(`the server ends on ${signal}`, gone, 30_000)
  }

  /** Same data folder, same port: to its clients it is the same server. */
  restart() {
    return this.#launch(new URL(this.url).host)
  }

  async stop() {
    await this.kill('SIGKILL')
    await rm(this.data, { recursive: true, force: true })
  }
}
