// Big events and long logs through the published sync backends.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Backend } from '../lib/clients.mjs'
import { Driver } from '../lib/driver.mjs'
import { bigEvent, brief, chain, eventsOf, range, seqNumsOf } from '../lib/events.mjs'
import { anyServer } from '../lib/server.mjs'
import { freshStoreId } from '../lib/wait.mjs'

const CLIENTS = [
  { name: '0.3.1 makeCfSync', generation: 'v03', kind: 'cf' },
  { name: '0.4.0 makeWsSync', generation: 'v04', kind: 'ws' },
  { name: '0.4.0 makeHttpSync', generation: 'v04', kind: 'http', options: { livePull: { pollInterval: 200 } } },
]
/** The 0.4.0 clients refuse to send a request above this many bytes. */
const REQUEST_MAX = 900_000

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
    const open = (t, storeId) => Backend.open(t, drivers[generation], { url: server.url, kind, options, storeId })

    test('an event of 800 kB is stored, pulled and seen live', async (t) => {
      const storeId = freshStoreId()
      const live = await (await open(t, storeId)).livePull()
      await live.started()
      const client = await open(t, storeId)
      const events = [bigEvent(0, 800_000), ...chain(1, 1)]
      for (const event of events) assert.equal((await client.push([event])).ok, true)
      await live.reaches(2)
      assert.deepEqual(brief(eventsOf(live.pages)), brief(events))
      assert.deepEqual(brief(eventsOf((await client.pull()).pages)), brief(events))
    })

    test('five events of 300 kB each come back in order', async (t) => {
      const storeId = freshStoreId()
      const client = await open(t, storeId)
      const events = range(0, 4).map((parent) => bigEvent(parent, 300_000))
      for (const event of events) assert.equal((await client.push([event])).ok, true)
      const { pages } = await (await open(t, storeId)).pull()
      assert.deepEqual(brief(eventsOf(pages)), brief(events))
      assert.equal(pages.at(-1).remaining, 0)
    })

    test('2,000 events arrive by pull and by live pull, in order', async (t) => {
      const storeId = freshStoreId()
      const client = await open(t, storeId)
      const live = await (await open(t, storeId)).livePull()
      await live.started()
      for (let parent = 0; parent < 2000; parent += 100) {
        assert.equal((await client.push(chain(parent, 100))).ok, true)
      }
      await live.reaches(2000, 60_000)
      assert.deepEqual(seqNumsOf(live.pages), range(1, 2000))
      assert.deepEqual(seqNumsOf((await client.pull()).pages), range(1, 2000))
    })
  })
}

// 0.3.1 sends events of any size and stops for good when one is refused. The first of these sizes was seen in the field.
describe('events of 0.3.1 that no 0.4.0 client would send', () => {
  for (const bytes of [900_115, 1_000_000, 1_850_000]) {
    test(`one of ${bytes} bytes is taken, and all clients get it live and later`, async (t) => {
      const storeId = freshStoreId()
      const open = ({ generation, kind, options }) => Backend.open(t, drivers[generation], { url: server.url, kind, options, storeId })
      const lives = []
      for (const client of CLIENTS) {
        const live = await (await open(client)).livePull()
        await live.started()
        lives.push(live)
      }
      const pusher = await open(CLIENTS[0])
      const events = [bigEvent(0, bytes), ...chain(1, 2)]
      for (const event of events) assert.equal((await pusher.push([event])).ok, true)
      for (const live of lives) {
        await live.reaches(3)
        assert.deepEqual(brief(eventsOf(live.pages)), brief(events))
      }
      for (const client of CLIENTS) {
        const { ok, pages, error } = await (await open(client)).pull()
        assert.equal(ok, true, JSON.stringify(error))
        assert.deepEqual(brief(eventsOf(pages)), brief(events))
      }
    })
  }
})

for (const { name, generation, kind, options } of CLIENTS.filter(({ generation }) => generation === 'v04')) {
  describe(`${name}, the largest events it can send`, () => {
    const open = (t, storeId) => Backend.open(t, drivers[generation], { url: server.url, kind, options, storeId })

    // The pull answer wraps the event in more bytes than the push did, so these can be too big to hand out again:
    // the reference then answers every later pull of the store with an error.
    for (const below of [0, 20, 60, 120, 250]) {
      test(`${below} bytes below the client's limit: stored and handed out, or refused without harm`, async (t) => {
        const storeId = freshStoreId()
        const live = await (await open(t, storeId)).livePull()
        await live.started()
        const client = await open(t, storeId)
        const big = bigEvent(0, REQUEST_MAX - below - requestOverhead(storeId))
        const { ok, error } = await client.push([big])
        if (!ok) {
          assert.doesNotMatch(error.text, /OversizeChunkItem/, 'the client itself refused it: the test has to send less')
          assert.equal(error._tag, 'UnknownError')
          assert.match(error.text, /byte|size|large|big/i, 'the refusal says that it is about the size')
        }
        const stored = ok ? [big] : []
        const next = chain(stored.length, 1)[0]
        assert.equal((await client.push([next])).ok, true)
        await live.reaches(next.seqNum)
        assert.deepEqual(brief(eventsOf(live.pages)), brief([...stored, next]))
        const pulled = await (await open(t, storeId)).pull()
        assert.equal(pulled.ok, true, JSON.stringify(pulled.error))
        assert.deepEqual(brief(eventsOf(pulled.pages)), brief([...stored, next]))
        assert.deepEqual(live.ended, [])
      })
    }
  })
}

/** What the client counts besides the args: the JSON of its request, while it does not know the backend id. */
function requestOverhead(storeId) {
  const [event] = chain(0, 1, { args: '' })
  return JSON.stringify({ batch: [event], storeId, backendId: { _id: 'Option', _tag: 'None' } }).length - '""'.length
}
