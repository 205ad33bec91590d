// A database that fails for a while: natively every read of the data file, on Workers all of D1. Published clients pull, and
// those of 0.3 push, once and never again after an error. All of them must be whole again afterwards, by themselves.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { converged, created, Store } from '../lib/clients.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { OwnServer, workerStorage } from '../lib/server.mjs'
import { TestWorker } from '../lib/test-worker.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

/** Longer than the server tries a pull on a socket. */
const FAILS_MS = 10_000
/** 0.4 clients wait up to 30 s before they connect or push again. */
const SHIM = fileURLToPath(new URL('../lib/fault.c', import.meta.url))

const { LIVESTORE_SYNC_BIN } = process.env
const skip = workerStorage === 'do-sqlite' ? 'an object has its database in its own process'
  : workerStorage === undefined && (!LIVESTORE_SYNC_BIN || process.platform !== 'linux') ? 'natively only with LIVESTORE_SYNC_BIN, on Linux'
  : false

/** A server, and what makes its database fail for some time. */
async function failing(t) {
  if (workerStorage) {
    const server = await TestWorker.start()
    t.after(() => server.stop())
    return { server, fail: (ms) => server.failD1(ms) }
  }
  const folder = await mkdtemp(join(tmpdir(), 'livestore-fault-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const [library, flag] = [join(folder, 'fault.so'), join(folder, 'flag')]
  await promisify(execFile)('cc', ['-shared', '-fPIC', '-o', library, SHIM, '-ldl'])
  const args = [`LD_PRELOAD=${library}`, `FAULT=${flag}`, LIVESTORE_SYNC_BIN, 'serve']
  const server = await OwnServer.start({ program: '/usr/bin/env', args })
  t.after(() => server.stop())
  const fail = async (ms) => {
    await writeFile(flag, '')
    setTimeout(() => rm(flag, { force: true }), ms)
  }
  return { server, fail }
}

const passes = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

describe('a database that fails for a while', { skip, concurrency: true }, () => {
  test('stores that pull and push meanwhile go on afterwards', async (t) => {
    const { server, fail } = await failing(t)
    const storeId = freshStoreId()
    const proxy = await Proxy.to(t, server.url)
    const polls = { livePull: { pollInterval: 300 }, ping: { requestInterval: 1_000 } }
    const open = (clientId, generation, kind, url, options) => Store.open(t, generation, { url, kind, storeId, clientId, options })
    const a = await open('a', 'v04', 'ws', server.url)
    const others = await Promise.all([
      open('old', 'v03', 'ws', proxy.url),
      open('new', 'v04', 'ws', proxy.url),
      open('polls', 'v04', 'http', server.url, polls),
    ])
    const all = [a, ...others]
    await a.commit(created('0'))
    await converged(all, 1, BACK)
    // Those with sockets miss an event, and come back to a database that fails. The other polls it all the time.
    proxy.cut({ refuse: true })
    await a.commit(created('1'))
    await until('it is pushed', async () => (await a.syncState()).pending === 0)
    const before = proxy.connected
    await fail(FAILS_MS)
    proxy.open()
    await until('they are back', () => proxy.connected >= before + 2, BACK)
    await a.commit(created('2'))
    await passes(FAILS_MS)
    await converged(all, 3, BACK)
    for (const [index, store] of all.entries()) {
      await store.commit(created(`after ${index}`))
      await converged(all, 4 + index, BACK)
    }
  })

  test('a push of a 0.3 store that meets it is stored', async (t) => {
    const { server, fail } = await failing(t)
    const storeId = freshStoreId()
    const [a, b] = await Promise.all(['a', 'b'].map((clientId) => Store.open(t, 'v03', { url: server.url, kind: 'ws', storeId, clientId })))
    await a.commit(created('0'))
    await converged([a, b], 1)
    await fail(FAILS_MS)
    await a.commit(created('1'))
    await passes(FAILS_MS)
    const rows = await converged([a, b], 2, BACK)
    assert.equal(rows.length, 2)
  })
})
