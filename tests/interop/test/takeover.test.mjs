// A deployment of the reference becomes ours: the npm package's own worker runs in workerd, real clients push to it, ours starts
// on its state and port, and the same clients go on. Only with LIVESTORE_SYNC_WORKER; needs the bundle of `cargo xtask worker`.
//   LIVESTORE_SYNC_WORKER=d1 node --test test/takeover.test.mjs
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Backend, converged, created, done, renamed, Store } from '../lib/clients.mjs'
import { Driver } from '../lib/driver.mjs'
import { chain, range, seqNumsOf } from '../lib/events.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { bundle, reference, successor } from '../lib/reference.mjs'
import { OwnServer, skipUnlessWorker, workerStorage } from '../lib/server.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

const HTTP = { livePull: { pollInterval: 2_000 } }
const V03 = [{ generation: 'v03', kind: 'cf' }]
const V04 = [
  { generation: 'v04', kind: 'ws' },
  { generation: 'v04', kind: 'http', options: HTTP },
]

const V04_WS = V04.slice(0, 1)

/** The reference's storage, and ours where that is said in another way. */
const CASES = {
  d1: [
    { name: '0.3.1 on D1', server: 'v03', clients: V03, storage: 'd1' },
    { name: '0.3.1 on D1, objects without SQLite', server: 'v03', clients: V03, storage: 'd1', kvClass: true },
    { name: '0.4.0 on D1', server: 'v04', clients: V04, storage: 'd1' },
    { name: '0.4.0 on D1, ours chooses', server: 'v04', clients: V04_WS, storage: 'd1', ours: 'auto' },
  ],
  'do-sqlite': [
    { name: '0.4.0 on the objects’ SQLite', server: 'v04', clients: V04, storage: 'do-sqlite' },
    // The package takes D1 only where it is told to, so there may be a binding that it does not use.
    { name: '0.4.0 on the objects’ SQLite beside a D1 binding, ours chooses', server: 'v04', clients: V04_WS, storage: 'do-sqlite', ours: 'auto' },
  ],
}

describe('taking over', { skip: skipUnlessWorker, concurrency: 2 }, () => {
  const bundles = {}
  const drivers = {}
  before(async () => {
    for (const generation of ['v03', 'v04']) {
      bundles[generation] = await bundle(generation)
      drivers[generation] = await Driver.start(generation)
    }
  })
  after(async () => {
    for (const driver of Object.values(drivers)) await driver.stop()
    for (const bundle of Object.values(bundles)) await bundle.remove()
  })

  for (const { name, server: generation, clients, storage, ours = storage, kvClass } of CASES[workerStorage] ?? []) {
    describe(name, () => {
      async function deployed(t) {
        const server = await OwnServer.start(reference(bundles[generation], { storage, kvClass }))
        t.after(() => server.stop())
        const proxy = await Proxy.to(t, server.url)
        const goOn = () => server.restart(successor({ storage: ours, kvClass }))
        return {
          server,
          url: proxy.url,
          proxy,
          /** Clients notice that they are offline. */
          async takeOver({ whileDown, beforeOpen } = {}) {
            proxy.cut({ refuse: true })
            await server.kill('SIGTERM')
            await whileDown?.()
            await goOn()
            await beforeOpen?.()
            proxy.open()
          },
          /** As on Cloudflare, where the next deployment is there before the last has gone. */
          async takeOverAtOnce() {
            proxy.hold()
            await server.kill('SIGKILL')
            await goOn()
            proxy.open()
          },
        }
      }

      /** New clients of all generations get the whole log. */
      async function newClients(t, url, storeId, old, events) {
        const late = await Promise.all(
          [...V03, ...V04].map(({ generation, kind, options }) =>
            Store.open(t, generation, { url, kind, options, storeId, clientId: `late-${generation}-${kind}` }),
          ),
        )
        const rows = await converged([...old, ...late], events, BACK)
        await late[0].commit(created('late'))
        await converged([...old, ...late], events + 1, BACK)
        return rows
      }

      if (generation === 'v03') {
        test('open stores go on', async (t) => {
          const { server, proxy, url, takeOver } = await deployed(t)
          // Ours knows nothing of clients that the reference had: what is pushed before they are back, they miss. So b has a way
          // of its own, and is back before a comes with what it has committed meanwhile.
          const ways = { a: proxy, b: await Proxy.to(t, server.url) }
          const storeId = freshStoreId('a-b_c')
          const open = (clientId) => Store.open(t, 'v03', { url: ways[clientId].url, storeId, clientId })
          const [a, b] = await Promise.all([open('a'), open('b')])
          await a.commit(created('1'), created('2'))
          await converged([a, b], 2)
          await b.commit(renamed('1', 'by b'))
          await converged([a, b], 3)
          const failed = { a: ways.a.failed, b: ways.b.failed }
          const { answered } = ways.b
          ways.b.cut({ refuse: true })
          await takeOver({
            async whileDown() {
              // A push on a connection that is just breaking would be lost for this client (see reconnect.test.mjs).
              for (const name of ['a', 'b']) await until(`${name} knows that it is offline`, () => ways[name].failed > failed[name], BACK)
              await a.commit(created('3'))
            },
            async beforeOpen() {
              ways.b.open()
              await until('b is back', () => ways.b.answered > answered, BACK)
            },
          })
          await converged([a, b], 4, BACK)
          await b.commit(done('3'))
          await converged([a, b], 5, BACK)
          assert.equal((await newClients(t, url, storeId, [a, b], 5)).length, 3)
        })
      } else {
        test('open ws stores go on', async (t) => {
          const { url, takeOver } = await deployed(t)
          const storeId = freshStoreId('a-b_c')
          const open = (clientId) => Store.open(t, 'v04', { url, kind: 'ws', storeId, clientId })
          const [a, b] = await Promise.all([open('a'), open('b')])
          await a.commit(created('1'), created('2'), renamed('1', 'by a'))
          // The reference does not always tell the other; ours will.
          await converged([a], 3)
          await takeOver({ whileDown: () => a.commit(created('3')) })
          await converged([a, b], 4, BACK)
          await b.commit(done('3'))
          await converged([a, b], 5, BACK)
          assert.equal((await newClients(t, url, storeId, [a, b], 5)).length, 3)
        })

        // Its live pull ends for good with the first poll that fails, so there must be none while nobody listens.
        test('an open http store goes on', async (t) => {
          const { url, takeOverAtOnce } = await deployed(t)
          const storeId = freshStoreId('a-b_c')
          const a = await Store.open(t, 'v04', { url, kind: 'http', options: HTTP, storeId, clientId: 'a' })
          await a.commit(created('1'), created('2'))
          await converged([a], 2)
          await takeOverAtOnce()
          await a.commit(created('3'))
          await converged([a], 3, BACK)
          assert.equal((await newClients(t, url, storeId, [a], 3)).length, 3)
        })
      }

      for (const { generation, kind, options } of clients) {
        test(`${generation} ${kind}: what is pulled is the same as before, and a client goes on from where it was`, async (t) => {
          const { url, takeOver } = await deployed(t)
          const storeId = freshStoreId('a-b_c')
          const open = () => Backend.open(t, drivers[generation], { url, kind, options, storeId })
          const client = await open()
          // What the packages' tables can hold: no args at all, quotes, more than ASCII, and a number beyond 2^31.
          const odd = { name: "v1.It's", args: { text: `grüße 🚀 '"\\`, n: 1.5, nested: [null, { a: true }] } }
          const events = [...chain(0, 120), ...chain(120, 1, { args: undefined }), ...chain(121, 1, odd), ...chain(122, 1, { args: null })]
          events.push({ ...chain(0, 1)[0], seqNum: 2 ** 31 + 5, parentSeqNum: 123 })
          for (const from of range(0, 2)) {
            const pushed = await client.push(events.slice(from * 50, from * 50 + 50))
            assert.equal(pushed.ok, true, JSON.stringify(pushed))
          }
          let before
          // 0.3.1 acknowledges before it stores.
          await until('all is stored', async () => {
            const reader = await open()
            before = await reader.pull()
            return before.pages.flatMap(({ batch }) => batch).length === events.length
          })
          if (generation === 'v04') assert.equal((await client.pull()).ok, true)
          await takeOver()
          const fresh = await (await open()).pull()
          assert.equal(fresh.ok, true, JSON.stringify(fresh.error))
          assert.deepEqual(fresh.pages.flatMap(({ batch }) => batch), before.pages.flatMap(({ batch }) => batch))
          // The one that was there before has the backend id from the reference: another would be refused.
          const reply = await until('the client is back', async () => {
            const reply = await client.pull(120)
            return reply.ok || reply.error._tag !== 'IsOfflineError' ? reply : undefined
          }, BACK)
          assert.equal(reply.ok, true, JSON.stringify(reply.error))
          assert.deepEqual(seqNumsOf(reply.pages), [121, 122, 123, 2 ** 31 + 5])
          const pushed = await client.push(chain(2 ** 31 + 5, 3))
          assert.equal(pushed.ok, true, JSON.stringify(pushed))
          assert.equal((await (await open()).pull()).pages.flatMap(({ batch }) => batch).length, events.length + 3)
          // A push that was acknowledged by the reference is known again.
          if (kind !== 'cf') assert.equal((await client.push(events.slice(50, 100))).ok, true)
        })

        // One case for each format is enough.
        if (kvClass || ours !== storage) continue
        test(`${generation} ${kind}: a store that the reference has never had does not get another's events`, async (t) => {
          const { url, takeOver } = await deployed(t)
          const storeId = freshStoreId('a-b_c')
          const alike = storeId.replaceAll('-', '_')
          const open = (storeId) => Backend.open(t, drivers[generation], { url, kind, options, storeId })
          const owner = await open(storeId)
          assert.equal((await owner.push(chain(0, 3))).ok, true)
          // 0.3.1 acknowledges before it stores.
          await until('all is stored', async () => seqNumsOf((await (await open(storeId)).pull()).pages).length === 3)
          await takeOver()
          const stranger = await open(alike)
          assert.deepEqual(seqNumsOf((await stranger.pull()).pages), [])
          assert.equal((await stranger.push(chain(0, 1))).ok, true)
          assert.deepEqual(seqNumsOf((await (await open(storeId)).pull()).pages), [1, 2, 3])
          assert.deepEqual(seqNumsOf((await (await open(alike)).pull()).pages), [1])
        })
      }
    })
  }
})
