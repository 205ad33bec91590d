// Stores of this project's Rust client and stores on `@livestore/adapter-node` edit one list, online and off: all end equal.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { converged, created, done, renamed, Store } from '../lib/clients.mjs'
import { Compressing } from '../lib/compressing.mjs'
import { range } from '../lib/events.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { anyServer, skipOnD1 } from '../lib/server.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

const V03 = { label: '0.3.1', generation: 'v03' }
const V04 = { label: '0.4.0 ws', generation: 'v04', kind: 'ws' }
const V04_HTTP = { label: '0.4.0 http', generation: 'v04', kind: 'http', options: { livePull: { pollInterval: 200 } } }
const RUST = { label: 'Rust', generation: 'rust', kind: 'ws' }
const RUST_HTTP = { label: 'Rust over http', generation: 'rust', kind: 'http' }
const RUST_V03 = { label: 'Rust speaking 0.3', generation: 'rust', kind: 'cf' }
/** The 0.4.0 client waits longer after each loss of connection, up to 30 s. */

let server
before(async () => (server = await anyServer()))
after(() => server?.stop())

const open = (t, { generation, kind, options }, storeId, clientId, extra = {}) =>
  Store.open(t, generation, { url: server.url, kind, options, storeId, clientId, ...extra })

for (const [first, second] of [
  [RUST, RUST],
  [RUST, V04],
  [V04, RUST],
  [RUST, V03],
  [V03, RUST_V03],
  [RUST_HTTP, V04_HTTP],
]) {
  test(`${first.label} and ${second.label} converge, in both directions`, { skip: skipOnD1 }, async (t) => {
    const storeId = freshStoreId()
    const a = await open(t, first, storeId, 'a')
    await a.commit(created('1'), created('2', 'grüße 🚀 \'"\\ {}'))
    await converged([a], 2)
    const b = await open(t, second, storeId, 'b')
    await converged([a, b], 2)
    await b.commit(done('1'), renamed('1', 'by b'))
    await converged([a, b], 4)
    await a.commit(created('3'))
    assert.deepEqual(await converged([a, b], 5), [
      { id: '1', text: 'by b', done: true },
      { id: '2', text: 'grüße 🚀 \'"\\ {}', done: false },
      { id: '3', text: 'todo 3', done: false },
    ])
  })
}

// One commit a JS store and round: see stores.test.mjs. The Rust store commits as it likes.
for (const others of [[V04, V04], [V03, V03], [V03, V04_HTTP]]) {
  test(`a Rust store and others (${others.map(({ label }) => label).join(', ')}) commit at the same time`, { skip: skipOnD1 }, async (t) => {
    const storeId = freshStoreId()
    const stores = await Promise.all([RUST, ...others].map((kind, i) => open(t, kind, storeId, `client-${i}`)))
    const [rust, ...js] = stores
    await rust.commit(created('shared'))
    await converged(stores, 1)
    for (const round of range(1, 6)) {
      const fight = (i, n) => [created(`${i}-${round}-${n}`), renamed('shared', `${i}-${round}-${n}`)]
      await Promise.all([
        ...js.map((store, i) => store.commit(...fight(i + 1, 0))),
        (async () => {
          for (const n of range(1, 3)) await rust.commit(...fight(0, n))
        })(),
      ])
      const rows = await converged(stores, { atLeast: 1 + 10 * round }, BACK)
      assert.equal(rows.length, 1 + 5 * round)
      assert.match(rows.find(({ id }) => id === 'shared').text, new RegExp(`^[012]-${round}-`))
    }
  })
}

describe('offline and back', { concurrency: 2, skip: skipOnD1 }, () => {
  for (const other of [V04, V03]) {
    test(`a Rust store and one of ${other.label} edit while both are offline`, async (t) => {
      const storeId = freshStoreId()
      const [proxyA, proxyB] = [await Proxy.to(t, server.url), await Proxy.to(t, server.url)]
      const a = await open(t, RUST, storeId, 'a', { url: proxyA.url })
      const b = await open(t, other, storeId, 'b', { url: proxyB.url })
      await a.commit(created('0'))
      await converged([a, b], 1)
      for (const proxy of [proxyA, proxyB]) proxy.cut({ refuse: true })
      await until('both know that they are offline', () => proxyA.failed > 0 && proxyB.failed > 0)
      for (const n of range(1, 150)) await a.commit(created(`a${n}`), renamed('0', `a${n}`))
      await b.commit(created('b1'), renamed('0', 'b1'))
      assert.equal((await a.rows()).length, 151)
      assert.equal((await a.syncState()).pending, 300)
      // The one that comes later rebases: its rename is the last.
      proxyB.open()
      await converged([b], 3, BACK)
      proxyA.open()
      const rows = await converged([a, b], 303, BACK)
      assert.equal(rows.length, 152)
      assert.equal(rows.find(({ id }) => id === '0').text, 'a150')
    })
  }

  test('a Rust store that was killed offline goes on with what it had', async (t) => {
    const storeId = freshStoreId()
    const directory = await mkdtemp(join(tmpdir(), 'livestore-rust-'))
    t.after(() => rm(directory, { recursive: true, force: true }))
    const proxy = await Proxy.to(t, server.url)
    const a = await open(t, RUST, storeId, 'a', { url: proxy.url, directory })
    const b = await open(t, V04, storeId, 'b')
    await a.commit(created('1'))
    await converged([a, b], 1)
    proxy.cut({ refuse: true })
    await a.commit(created('2'), renamed('1', 'by a'))
    await b.commit(created('3'), renamed('1', 'by b'))
    await converged([b], 3)
    await a.restart()
    assert.deepEqual((await a.rows()).map(({ text }) => text), ['by a', 'todo 2'])
    proxy.open()
    const rows = await converged([a, b], 5, BACK)
    assert.deepEqual(rows.map(({ text }) => text), ['by a', 'todo 2', 'todo 3'])
  })
})

test('2,000 events from Rust arrive in 0.4.0, and those of 0.4.0 in a new Rust store', { skip: skipOnD1 }, async (t) => {
  const storeId = freshStoreId()
  const [a, b] = [await open(t, RUST, storeId, 'a'), await open(t, V04, storeId, 'b')]
  await a.commit(...range(1, 1000).map((n) => created(`a${n}`)))
  await converged([a, b], 1000, BACK)
  for (const from of range(0, 9)) await b.commit(...range(from * 100 + 1, from * 100 + 100).map((n) => created(`b${n}`)))
  const late = await open(t, RUST_V03, storeId, 'late')
  assert.equal((await converged([a, b, late], 2000, BACK)).length, 2000)
})

for (const [label, options] of [['each by itself', {}], ['in a small window', { serverMaxWindowBits: 9 }]]) {
  test(`Rust stores whose messages \`ws\` compresses and inflates, ${label}, converge`, { skip: skipOnD1 }, async (t) => {
    const storeId = freshStoreId()
    const front = await Compressing.to(t, server.url, options)
    const extra = { url: front.url }
    const [a, b] = [await open(t, RUST, storeId, 'a', extra), await open(t, RUST_V03, storeId, 'b', extra)]
    await a.commit(...range(1, 500).map((n) => created(`a${n}`)))
    await converged([a, b], 500)
    await b.commit(...range(1, 500).map((n) => created(`b${n}`, 'grüße 🚀')))
    await converged([a, b], 1000, BACK)
    assert.deepEqual([...new Set(front.extensions)], ['permessage-deflate'])
    assert.ok(front.wireLength < front.length / 3, `${front.wireLength} of ${front.length}`)
  })
}
