// Whole stores (adapter-node) that share one store id: whatever is committed where, all end up with the same rows.
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Backend, converged, created, done, renamed, Store } from '../lib/clients.mjs'
import { eventsOf, range } from '../lib/events.mjs'
import { Raw } from '../lib/raw.mjs'
import { anyServer } from '../lib/server.mjs'
import { freshStoreId, until } from '../lib/wait.mjs'

const V03 = { label: '0.3.1', generation: 'v03' }
const V04 = { label: '0.4.0 ws', generation: 'v04', kind: 'ws' }
const V04_HTTP = { label: '0.4.0 http', generation: 'v04', kind: 'http', options: { livePull: { pollInterval: 200 } } }

let server
before(async () => (server = await anyServer()))
after(() => server?.stop())

const open = (t, { generation, kind, options }, storeId, clientId, extra = {}) =>
  Store.open(t, generation, { url: server.url, kind, options, storeId, clientId, ...extra })

for (const [first, second] of [
  [V03, V03],
  [V04, V04],
  [V04_HTTP, V04_HTTP],
  [V03, V04],
  [V04, V03],
  [V04_HTTP, V04],
]) {
  test(`${first.label} and ${second.label} converge, in both directions`, async (t) => {
    const storeId = freshStoreId()
    const a = await open(t, first, storeId, 'a')
    await a.commit(created('1'), created('2'))
    await converged([a], 2)
    const b = await open(t, second, storeId, 'b')
    await converged([a, b], 2)
    await b.commit(done('1'), renamed('2', 'by b'))
    await converged([a, b], 4)
    await a.commit(created('3'))
    const rows = await converged([a, b], 5)
    assert.deepEqual(rows, [
      { id: '1', text: 'todo 1', done: true },
      { id: '2', text: 'by b', done: false },
      { id: '3', text: 'todo 3', done: false },
    ])
  })
}

// One commit a store and round. Stores that go on committing while they rebase break their own chain and stop pulling
// ("Parent event .. does not exist in eventlog", livestore issues 641 and 734), whatever the server does: with bursts of ten
// commits two runs of three failed that way. Heavier traffic is left to storm.test.mjs, whose clients do not do that.
for (const trio of [[V04, V04, V04], [V03, V03, V03], [V03, V04, V04_HTTP]]) {
  test(`three stores commit at the same time (${trio.map((kind) => kind.label).join(', ')}): equal rows`, async (t) => {
    const storeId = freshStoreId()
    const stores = await Promise.all(trio.map((kind, i) => open(t, kind, storeId, `client-${i}`)))
    await stores[0].commit(created('shared'))
    await converged(stores, 1)
    const rounds = range(1, 8)
    let rows
    for (const round of rounds) {
      // Every store writes its own row and fights over one: only the same order everywhere gives the same text.
      await Promise.all(stores.map((store, i) => store.commit(created(`${i}-${round}`), renamed('shared', `${i}-${round}`))))
      // "At least": a rebasing client sometimes commits an event a second time (with the reference server too).
      rows = await converged(stores, { atLeast: 1 + 6 * round }, 60_000)
      assert.equal(rows.length, 1 + 3 * round)
      assert.match(rows.find(({ id }) => id === 'shared').text, new RegExp(`^[012]-${round}$`))
    }
    const log = await Backend.open(t, stores.at(-1).driver, { url: server.url, kind: trio.at(-1).kind ?? 'cf', storeId })
    const events = eventsOf((await log.pull()).pages)
    assert.deepEqual(events.map((event) => event.seqNum), range(1, events.length))
    assert.deepEqual(events.map((event) => event.parentSeqNum), range(0, events.length - 1))
    assert.equal((await stores[0].syncState()).upstreamHead, events.length)
  })
}

for (const kind of [V03, V04]) {
  // On Workers, what is committed in a moment is published together where many listen (store/pace.rs).
  test(`${kind.label} stores that commit one event upon the other among many listeners converge`, async (t) => {
    const storeId = freshStoreId()
    const listeners = await Promise.all(range(1, 18).map(() => Raw.open(t, server.url, storeId)))
    listeners.forEach((listener) => listener.pull(1))
    const [a, b] = await Promise.all([open(t, kind, storeId, 'a'), open(t, kind, storeId, 'b')])
    for (const n of range(1, 60)) await a.commit(created(`a${n}`))
    await converged([a, b], 60)
    for (const n of range(1, 30)) await b.commit(created(`b${n}`))
    await converged([a, b], 90)
    await Promise.all(listeners.map((listener) => listener.reaches(1, 90)))
    for (const listener of listeners) assert.deepEqual(listener.seqNums(1), range(1, 90))
  })

  test(`2,000 events committed in one ${kind.label} store arrive in another`, async (t) => {
    const storeId = freshStoreId()
    const a = await open(t, kind, storeId, 'a')
    const b = await open(t, kind, storeId, 'b')
    for (const from of range(0, 19)) await a.commit(...range(from * 100 + 1, from * 100 + 100).map((n) => created(`t${n}`)))
    assert.equal((await converged([a, b], 2000, 120_000)).length, 2000)
    // And a store that boots now gets all of it as one backlog.
    const late = await open(t, kind, storeId, 'late')
    await converged([a, b, late], 2000, 60_000)
  })

  test(`a ${kind.label} store on disk resumes from its cursor after a restart`, async (t) => {
    const storeId = freshStoreId()
    const directory = await mkdtemp(join(tmpdir(), 'livestore-store-'))
    t.after(() => rm(directory, { recursive: true, force: true }))
    const first = await open(t, kind, storeId, 'a', { directory })
    await first.commit(...range(1, 150).map((n) => created(`t${n}`)))
    await converged([first], 150)
    await first.close()
    await first.driver.stop()

    const other = await open(t, kind, storeId, 'b')
    await other.commit(...range(151, 300).map((n) => created(`t${n}`)))
    await converged([other], 300)

    const again = await open(t, kind, storeId, 'a', { directory })
    await converged([again, other], 300)
    await again.commit(done('t1'))
    await converged([again, other], 301)
  })

  test(`a ${kind.label} store on disk pushes after the restart what it committed offline`, async (t) => {
    const storeId = freshStoreId()
    const directory = await mkdtemp(join(tmpdir(), 'livestore-store-'))
    t.after(() => rm(directory, { recursive: true, force: true }))
    const first = await open(t, kind, storeId, 'a', { directory })
    await first.commit(created('1'))
    await converged([first], 1)
    await first.close()
    await first.driver.stop()

    // Port 9 (discard) is not served: the client is offline.
    const offline = await open(t, kind, storeId, 'a', { directory, url: 'http://127.0.0.1:9' })
    await offline.commit(created('2'), done('1'))
    await until('the leader has the offline commits', async () => (await offline.syncState()).pending === 2)
    await offline.close()
    await offline.driver.stop()

    const other = await open(t, kind, storeId, 'b')
    await other.commit(created('3'))
    await converged([other], 2)
    const again = await open(t, kind, storeId, 'a', { directory })
    assert.equal((await converged([again, other], 4)).length, 3)
  })
}

describe('a new store', () => {
  for (const kind of [V03, V04, V04_HTTP]) {
    test(`of ${kind.label} sends its payload`, async (t) => {
      const storeId = freshStoreId()
      const a = await open(t, kind, storeId, 'a', { payload: { authToken: 'secret & more' } })
      await a.commit(created('1'))
      await converged([a], 1)
    })
  }
})
