// The published sync backends on their own: connect, push, pull, live pull, refusals.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Backend } from '../lib/clients.mjs'
import { Driver } from '../lib/driver.mjs'
import { chain, eventsOf, range, seqNumsOf } from '../lib/events.mjs'
import { anyServer } from '../lib/server.mjs'
import { freshStoreId, until } from '../lib/wait.mjs'

const CLIENTS = [
  { name: '0.3.1 makeCfSync', generation: 'v03', kind: 'cf' },
  { name: '0.4.0 makeWsSync', generation: 'v04', kind: 'ws' },
  { name: '0.4.0 makeHttpSync', generation: 'v04', kind: 'http', options: { livePull: { pollInterval: 200 } } },
]
const ISO_MILLIS = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

let server
const drivers = {}
before(async () => {
  server = await anyServer()
  for (const generation of ['v03', 'v04']) drivers[generation] = await Driver.start(generation)
})
after(async () => {
  for (const driver of Object.values(drivers)) await driver.stop()
  await server?.stop()
})

for (const { name, generation, kind, options } of CLIENTS) {
  describe(name, () => {
    const open = (t, storeId, extra = {}) =>
      Backend.open(t, drivers[generation], { url: server.url, kind, options, storeId, ...extra })

    test('connects and pings', async (t) => {
      // The 0.4.0 client only waits for its next scheduled ping, by default up to 10 s.
      const client = await open(t, freshStoreId(), { options: { ...options, ping: { requestInterval: 200 } } })
      assert.equal((await client.connect()).ok, true)
      if (generation === 'v04') assert.equal((await client.ping()).ok, true)
      await until('isConnected', () => client.call('isConnected'))
    })

    test('pulling an empty store gives one empty, final page', async (t) => {
      const client = await open(t, freshStoreId())
      const { ok, pages } = await client.pull()
      assert.equal(ok, true)
      assert.deepEqual(pages.map((page) => [page.batch.length, page.remaining]), [[0, 0]])
    })

    test('a pushed event comes back as it was, with the time of the server', async (t) => {
      const storeId = freshStoreId()
      const args = { quote: `'"\\`, text: 'grüße 🚀', n: 1.5, nested: [null, { a: true }] }
      const [event] = chain(0, 1, { args, name: "v1.It's" })
      const pushed = await (await open(t, storeId)).push([event])
      assert.equal(pushed.ok, true, JSON.stringify(pushed))
      const { pages } = await (await open(t, storeId)).pull()
      assert.deepEqual(eventsOf(pages), [event])
      assert.match(pages[0].batch[0].metadata.createdAt, ISO_MILLIS)
    })

    test('a cursor skips what came before it', async (t) => {
      const storeId = freshStoreId()
      const client = await open(t, storeId)
      assert.equal((await client.push(chain(0, 10))).ok, true)
      // 0.4.0 can send a cursor only after it has learnt the backend id from an answer.
      if (generation === 'v04') assert.equal((await client.pull()).ok, true)
      assert.deepEqual(seqNumsOf((await client.pull(7)).pages), [8, 9, 10])
    })

    test('250 events come in order, in pages with an exact remaining', async (t) => {
      const storeId = freshStoreId()
      const writer = await open(t, storeId)
      for (const from of [0, 100, 200]) {
        assert.equal((await writer.push(chain(from, from === 200 ? 50 : 100))).ok, true)
      }
      const { pages } = await (await open(t, storeId)).pull()
      assert.deepEqual(seqNumsOf(pages), range(1, 250))
      let left = 250
      for (const page of pages) {
        assert.ok(page.batch.length >= 1 && page.batch.length <= 100, `a page of ${page.batch.length}`)
        left -= page.batch.length
        assert.equal(page.remaining, left)
      }
      assert.equal(pages.length, 3)
    })

    test('one push of 250 events is stored whole', async (t) => {
      const storeId = freshStoreId()
      const client = await open(t, storeId)
      assert.equal((await client.push(chain(0, 250))).ok, true)
      assert.deepEqual(seqNumsOf((await client.pull()).pages), range(1, 250))
    })

    test('a live pull sees what another client pushes, once and in order', async (t) => {
      const storeId = freshStoreId()
      const live = await (await open(t, storeId)).livePull()
      await live.started()
      const writer = await open(t, storeId)
      for (const parent of range(0, 9)) assert.equal((await writer.push(chain(parent, 1))).ok, true)
      await live.reaches(10)
      assert.deepEqual(seqNumsOf(live.pages), range(1, 10))
      assert.deepEqual(live.ended, [])
    })

    test('a live pull sees the pushes of its own client', async (t) => {
      const client = await open(t, freshStoreId())
      const live = await client.livePull()
      await live.started()
      assert.equal((await client.push(chain(0, 3))).ok, true)
      await live.reaches(3)
      assert.deepEqual(seqNumsOf(live.pages), [1, 2, 3])
    })

    test('a push on a wrong parent is refused and changes nothing', async (t) => {
      const storeId = freshStoreId()
      const client = await open(t, storeId)
      assert.equal((await client.push(chain(0, 5))).ok, true)
      for (const parent of [2, 9]) {
        const { ok, error } = await client.push(chain(parent, 1, { args: { id: 'other', text: 'other' } }))
        assert.equal(ok, false)
        if (generation === 'v03') {
          assert.equal(error._tag, 'InvalidPushError')
          assert.match(error.reason.message, new RegExp(`Invalid parent event number. Received e${parent} but expected e5`))
        } else {
          assert.equal(error._tag, 'ServerAheadError')
          assert.deepEqual([error.minimumExpectedNum, error.providedNum], [5, parent])
        }
      }
      assert.equal((await client.push(chain(5, 1))).ok, true)
      assert.deepEqual(seqNumsOf((await client.pull()).pages), range(1, 6))
    })

    // A client whose answer got lost repeats its push. The reference refuses that; our server knows its events again.
    test('a repeated push is acknowledged again and stored once', async (t) => {
      const client = await open(t, freshStoreId())
      assert.equal((await client.push(chain(0, 3))).ok, true)
      assert.equal((await client.push(chain(0, 3))).ok, true)
      assert.deepEqual(seqNumsOf((await client.pull()).pages), [1, 2, 3])
    })

    test('two stores do not see each other, however alike their names', async (t) => {
      const base = freshStoreId()
      const ids = [`${base}-x`, `${base}_x`, `${base}-X`]
      const clients = await Promise.all(ids.map((storeId) => open(t, storeId)))
      for (const [i, client] of clients.entries()) {
        assert.equal((await client.push(chain(0, i + 1))).ok, true)
      }
      for (const [i, client] of clients.entries()) {
        assert.deepEqual(seqNumsOf((await client.pull()).pages), range(1, i + 1))
      }
    })

    test('a payload of any JSON is taken', async (t) => {
      const storeId = freshStoreId()
      const payload = { authToken: 'a b+c%2F&ü', roles: ['x'], nested: { n: 1 } }
      const client = await open(t, storeId, { payload })
      assert.equal((await client.push(chain(0, 1))).ok, true)
      assert.deepEqual(seqNumsOf((await client.pull()).pages), [1])
    })

    if (generation === 'v04') {
      test('a foreign backend id is refused by push and pull', async (t) => {
        const storeId = freshStoreId()
        assert.equal((await (await open(t, storeId)).push(chain(0, 1))).ok, true)
        const stranger = await open(t, storeId, { backendId: 'of-another-server' })
        for (const result of [await stranger.push(chain(1, 1)), await stranger.pull(1)]) {
          assert.equal(result.ok, false)
          assert.equal(result.error._tag, 'BackendIdMismatchError')
          assert.equal(result.error.received, 'of-another-server')
          assert.equal(typeof result.error.expected, 'string')
        }
        // Without a cursor a pull names no backend id, so the stranger still gets everything.
        assert.deepEqual(seqNumsOf((await (await open(t, storeId)).pull()).pages), [1])
      })
    }
    if (kind === 'ws') {
      test('an interrupted live pull gets nothing more; a new one on the same socket starts afresh', async (t) => {
        const storeId = freshStoreId()
        const client = await open(t, storeId)
        const first = await client.livePull()
        await first.started()
        await first.stop()
        const second = await client.livePull()
        await second.started()
        assert.equal((await (await open(t, storeId)).push(chain(0, 2))).ok, true)
        await second.reaches(2)
        assert.deepEqual(seqNumsOf(first.pages), [])
        assert.deepEqual(seqNumsOf(second.pages), [1, 2])
      })
    }
  })
}
