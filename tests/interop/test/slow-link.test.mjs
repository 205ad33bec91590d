// Published clients behind a slow link: what it can carry arrives, in its own time, once, and in one connection. Sync backends
// alone, which is where that is decided; with SLOW_LINK=long whole stores as well, which takes minutes.
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { Backend, created, Store } from '../lib/clients.mjs'
import { Driver } from '../lib/driver.mjs'
import { chain, range, seqNumsOf } from '../lib/events.mjs'
import { anyServer, skipOnD1, workerStorage } from '../lib/server.mjs'
import { SlowLink } from '../lib/slow-link.mjs'
import { freshStoreId, until } from '../lib/wait.mjs'

const V03 = { name: '0.3.1', generation: 'v03', kind: 'cf' }
const V04_WS = { name: '0.4.0 ws', generation: 'v04', kind: 'ws' }
const V04_HTTP = { name: '0.4.0 http', generation: 'v04', kind: 'http' }
/** 0.4 over ws gives up a connection on which no message was whole for 10 to 20 s, however many bytes came: no server can help
 * it (PROTOCOL.md), and an app that has such events and such links asks less often. */
const V04_WS_PATIENT = { ...V04_WS, options: { ping: { requestInterval: 60_000 } } }
/** The native server helps it through a long push. A Worker knows of a message once all of it is there. */
const V04_WS_PUSHING = workerStorage ? V04_WS_PATIENT : V04_WS

/** What the time may be of the link's own ... */
const TIME_MAX = 1.3
/** ... and the bytes of those of the events. */
const BYTES_MAX = 1.2
const EVENT_BYTES = 2_000

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

/** An event with text that compresses as little as text can. */
const noisy = (event, bytes) => ({ ...event, args: { ...event.args, text: randomBytes(bytes).toString('base64').slice(0, bytes) } })

/** A log of so many events. */
async function fill(t, count, eventBytes = EVENT_BYTES) {
  const storeId = freshStoreId()
  const writer = await Backend.open(t, drivers.v03, { url: server.url, storeId })
  let bytes = 0
  for (let parent = 0; parent < count; parent += 100) {
    const batch = chain(parent, Math.min(100, count - parent)).map((event) => noisy(event, eventBytes))
    assert.equal((await writer.push(batch)).ok, true)
    bytes += JSON.stringify(batch).length
  }
  return { storeId, count, bytes }
}

// The two ways to be a client: `head()` is how far it is, `nothingTwice()` that it was sent everything, and once.

async function backend(t, { generation, kind, options }, link, storeId) {
  const opened = await Backend.open(t, drivers[generation], { url: link.url, kind, options, storeId })
  const live = await opened.livePull()
  return {
    head: () => seqNumsOf(live.pages).at(-1) ?? 0,
    push: async (event) => assert.equal((await opened.push([event])).ok, true),
    nothingTwice(count) {
      assert.deepEqual(seqNumsOf(live.pages), range(1, count))
      assert.deepEqual(live.ended, [])
    },
  }
}

/** In a folder: in the memory that 0.3.1 has for a store is no room for 8 MB. */
async function store(t, { generation, kind, options }, link, storeId, clientId = 'a') {
  const directory = await mkdtemp(join(tmpdir(), 'livestore-interop-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const opened = await Store.open(t, generation, { url: link.url, kind, options, storeId, clientId, directory })
  return {
    head: async () => (await opened.syncState()).upstreamHead,
    push: ({ args: { id, text } }) => opened.commit(created(id, text)),
    nothingTwice: async (count) => assert.equal((await opened.rows()).length, count),
  }
}

/** Waits as long as a busy machine may need, which has an end. */
async function reaches(client, count, lane, bytes) {
  let head
  await until(() => `it has ${count} events, not ${head}`, async () => (head = await client.head()) >= count, 60_000 + 3 * lane.ms(bytes))
}

/** So many bytes went through in the time that they take, or fewer that were made of them by compression. It begins and ends
 * with them, not with what else a client does. */
function inTime(t, lane, bytes) {
  const [took, own] = [lane.last - lane.first, lane.ms(Math.min(bytes, lane.carried))]
  const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`
  const more = `${(lane.carried / bytes).toFixed(2)} of the bytes, ${seconds(lane.idleMs)} without any`
  t.diagnostic(`${seconds(took)}, ${(took / own).toFixed(2)} of the link's own time; ${more}`)
  assert.ok(took <= TIME_MAX * own, `${seconds(took)} are more than ${TIME_MAX} of ${seconds(own)}; ${more}`)
  assert.ok(lane.carried <= BYTES_MAX * bytes, `${lane.carried} bytes for ${bytes}`)
}

/** As many connections as clients; over http there is one for each request that runs. */
const inOneConnection = (link, { kind }, clients = 1) => kind === 'http' || assert.equal(link.connected, clients)

function log(kind, open, count, kbitPerSecond, latencyMs) {
  test(`${kind.name}: a log of ${count} events of 2 kB at ${kbitPerSecond} kbit/s`, async (t) => {
    const { storeId, bytes } = await fill(t, count)
    const link = await SlowLink.to(t, server.url, { kbitPerSecond, latencyMs })
    const client = await open(t, kind, link, storeId)
    await reaches(client, count, link.toClient, bytes)
    inOneConnection(link, kind)
    await client.nothingTwice(count)
    inTime(t, link.toClient, bytes)
  })
}

function twoOnOneLink(kind, open, count, kbitPerSecond) {
  test(`${kind.name}: two on one link, ${count} events of 2 kB for each at ${kbitPerSecond} kbit/s`, async (t) => {
    const { storeId, bytes } = await fill(t, count)
    const link = await SlowLink.to(t, server.url, { kbitPerSecond })
    const clients = await Promise.all(['a', 'b'].map((clientId) => open(t, kind, link, storeId, clientId)))
    await Promise.all(clients.map((client) => reaches(client, count, link.toClient, 2 * bytes)))
    inOneConnection(link, kind, 2)
    for (const client of clients) await client.nothingTwice(count)
    inTime(t, link.toClient, 2 * bytes)
  })
}

function largeEvent(kind, open, kilobytes, kbitPerSecond) {
  test(`${kind.name}: an event of ${kilobytes} kB at ${kbitPerSecond} kbit/s`, async (t) => {
    const { storeId, bytes } = await fill(t, 1, kilobytes * 1_000)
    const link = await SlowLink.to(t, server.url, { kbitPerSecond })
    const client = await open(t, kind, link, storeId)
    await reaches(client, 1, link.toClient, bytes)
    inOneConnection(link, kind)
    await client.nothingTwice(1)
    inTime(t, link.toClient, bytes)
  })
}

// Whoever pushes gets the event back with its pull: the way down is a faster one, as usual.
function largePush(kind, open, kilobytes, kbitPerSecond) {
  test(`${kind.name}: a push of ${kilobytes} kB at ${kbitPerSecond} kbit/s`, async (t) => {
    const link = await SlowLink.to(t, server.url, { kbitPerSecond: 10 * kbitPerSecond, upKbitPerSecond: kbitPerSecond })
    const client = await open(t, kind, link, freshStoreId())
    const event = noisy(chain(0, 1)[0], kilobytes * 1_000)
    const bytes = JSON.stringify(event).length
    await Promise.all([client.push(event), reaches(client, 1, link.toServer, bytes)])
    inOneConnection(link, kind)
    await client.nothingTwice(1)
    inTime(t, link.toServer, bytes)
  })
}

// Each test has a link of its own and waits for it: all at once they cost next to nothing.
describe('a slow link', { concurrency: 16, skip: skipOnD1 }, () => {
  for (const kind of [V03, V04_WS, V04_HTTP]) log(kind, backend, 400, 256)
  for (const kind of [V03, V04_WS]) twoOnOneLink(kind, backend, 200, 256)
  for (const kind of [V03, V04_WS_PATIENT, V04_HTTP]) largeEvent(kind, backend, 880, 256)
  for (const kind of [V03, V04_WS_PUSHING, V04_HTTP]) largePush(kind, backend, 880, 256)
})

const long = process.env.SLOW_LINK === 'long'
describe('a slow link, for minutes', { concurrency: 16, skip: long ? false : 'only with SLOW_LINK=long' }, () => {
  for (const kind of [V03, V04_WS, V04_HTTP]) {
    for (const kbitPerSecond of [1_000, 256]) log(kind, store, 4_000, kbitPerSecond, 50)
  }
  for (const kind of [V03, V04_WS]) twoOnOneLink(kind, store, 2_000, 256)
  for (const kind of [V03, V04_WS_PATIENT, V04_HTTP]) largeEvent(kind, store, 880, 128)
  for (const kind of [V03, V04_WS_PUSHING, V04_HTTP]) largePush(kind, store, 880, 128)
})
