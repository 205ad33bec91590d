// `wrangler dev` with one of the workers of this folder, on a state of its own.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const WRANGLER = process.env.WRANGLER_BIN ?? fileURLToPath(new URL('../../../worker/node_modules/.bin/wrangler', import.meta.url))

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

export async function until(what, look, ms = 15_000) {
  const end = Date.now() + ms
  for (;;) {
    const value = await look()
    if (value) return value
    assert.ok(Date.now() < end, `${what}: not within ${ms} ms`)
    await sleep(100)
  }
}

export async function serve(worker, port) {
  const state = await mkdtemp(join(tmpdir(), 'livestore-interop-'))
  const output = []
  const args = ['dev', `${worker}.mjs`, '--local', '--port', String(port), '--inspector-port', '0', '--persist-to', state]
  const wrangler = spawn(WRANGLER, args, {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    env: { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: 'true' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [wrangler.stdout, wrangler.stderr]) stream.on('data', (data) => output.push(String(data)))
  const url = `http://127.0.0.1:${port}`
  await until('wrangler dev', () => fetch(url).then((answer) => answer.ok, () => false), 60_000)
  return {
    url,
    log: () => output.join(''),
    async stop() {
      const ended = new Promise((resolve) => wrangler.once('exit', resolve))
      wrangler.kill('SIGINT')
      await ended
      await rm(state, { recursive: true, force: true })
      if (process.env.DO_RPC_LOG) console.log(output.join(''))
    },
  }
}
