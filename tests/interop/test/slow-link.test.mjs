// Whole published stores on a slow link: time limits of the server are for silence. All run at once, so it takes as long as
// the slowest link.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Store, created } from '../lib/clients.mjs'
import { range } from '../lib/events.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { anyServer } from '../lib/server.mjs'
import { freshStoreId, until } from '../lib/wait.mjs'

const EVENTS = 250
const TEXT = 'x'.repeat(20_000)
/** The log in bytes, about: more than any of the limits of 30 s lets through at these speeds. */
const LOG = EVENTS * TEXT.length
const LINKS = [
  { name: '1 Mbit/s', bytesPerSecond: 125_000 },
]
const CLIENTS = [
  { name: '0.3.1', generation: 'v03', kind: 'cf' },
  { name: '0.4.0', generation: 'v04', kind: 'ws' },
]

let server
before(async () => (server = await anyServer()))
after(() => server?.stop())

describe('a slow link', { concurrency: true }, () => {
  for (const link of LINKS) {
    for (const { name, generation, kind } of CLIENTS) {
      test(`${name} receives ${LOG / 1e6} MB at ${link.name} on one connection, in the link's own time`, async (t) => {
        const storeId = freshStoreId()
        const writer = await Store.open(t, 'v04', { url: server.url, kind: 'ws', storeId, clientId: 'writer' })
        for (const i of range(1, EVENTS)) await writer.commit(created(`t${i}`, TEXT))
        await until('the log is written', async () => (await writer.syncState()).upstreamHead === EVENTS, 60_000)

        const proxy = await Proxy.to(t, server.url, link)
        const ideal = (LOG / link.bytesPerSecond) * 1000
        const start = Date.now()
        const reader = await Store.open(t, generation, { url: proxy.url, kind, storeId, clientId: 'reader' })
        let head
        const report = () => `all ${EVENTS} events, has ${head}, ${proxy.connected} connections`
        await until(report, async () => (head = (await reader.syncState()).upstreamHead) === EVENTS, 2 * ideal + 20_000)
        const took = Date.now() - start
        t.diagnostic(`${took} ms, the link alone ${ideal} ms`)
        assert.equal(proxy.connected, 1)
        assert.equal((await reader.rows()).length, EVENTS)
        assert.ok(took < 1.3 * ideal + 5_000, `${took} ms`)
      })
    }
  }
})
