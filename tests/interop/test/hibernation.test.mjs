// Objects that leave the memory while their sockets stay. Only with LIVESTORE_SYNC_WORKER; needs the bundle of tests/hook-worker:
//   node ../../worker/bundle.mjs ../hook-worker && LIVESTORE_SYNC_WORKER=d1 node --test test/hibernation.test.mjs
// That an object was out of memory is seen by how often it was made: the Worker counts.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { converged, created, done, Store } from '../lib/clients.mjs'
import { chain, range } from '../lib/events.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { httpPush, Raw, rejection } from '../lib/raw.mjs'
import { skipUnlessWorker } from '../lib/server.mjs'
import { REPORT, reportOf, TestWorker } from '../lib/test-worker.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

/** So long after the last work, pings not counted, a timer runs (pings.rs). */
const QUIET_MS = 12_000
/** workerd gives up an object that had nothing to do for 10 s, and no timer. With some more for a loaded machine. */
const ASLEEP_MS = QUIET_MS + 12_500
/** So long a new 0.4 connection is looked after (sweep.rs). */
const LOOK_MS = 11_000
/** The same for one that does not pull. */
const LOOKS_MS = 2 * LOOK_MS
/** Long enough for an object that sleeps whenever it may. */
const IDLE_MS = LOOK_MS + ASLEEP_MS
/** A client that has pinged and was silent for so long is gone (sweep.rs). */
const SILENCE_MS = 80_000
/** A 0.3 client that was heard so lately counts as having had everything (arrivals.rs). */
const HEARD_MS = 31_000
/** What an attachment has room for (attachment.rs). */
const ROOM_BYTES = 16_384 - 64 - 2_048

const idle = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
/** The chunks that come without an Ack: the first 128 kB. */
const WINDOW_EVENTS = 500

describe('hibernation', { skip: skipUnlessWorker, concurrency: true }, () => {
  let server
  before(async () => (server = await TestWorker.start()))
  after(() => server?.stop())

  const made = async (storeId) => (await server.look(storeId)).made
  /** Waits until the object is out of memory, by its own account: `timerMs` is how long a timer of its own may run. */
  const asleep = (storeId, timerMs = 0, of = server) =>
    until('the object is left alone', async () => (await of.look(storeId)).quietMs > timerMs + ASLEEP_MS, BACK)
  async function push(storeId, parent, count = 1) {
    const { exit, text } = await httpPush(server.url, storeId, chain(parent, count))
    assert.equal(exit?._tag, 'Success', text)
  }

  test('several live pulls on one socket go on; one is interrupted after waking', async (t) => {
    const storeId = freshStoreId()
    const raw = await Raw.open(t, server.url, storeId)
    for (const id of [1, 2]) {
      const after = raw.frames.length
      raw.pull(id)
      await raw.frame('the backlog', (f) => f._tag === 'Chunk', { after })
    }
    await push(storeId, 0)
    for (const id of [1, 2]) await raw.reaches(id, 1)
    assert.equal(await made(storeId), 1)

    await asleep(storeId, LOOK_MS)
    await push(storeId, 1)
    for (const id of [1, 2]) await raw.reaches(id, 2)
    assert.equal(await made(storeId), 2)

    await asleep(storeId)
    const after = raw.frames.length
    raw.interrupt(1)
    const { exit } = await raw.frame('the exit', (f) => f._tag === 'Exit' && f.requestId === '1', { after })
    assert.equal(exit._tag, 'Failure')
    assert.equal(await made(storeId), 3)
    await push(storeId, 2)
    await raw.reaches(2, 3)
    assert.deepEqual([raw.seqNums(1), raw.seqNums(2)], [[1, 2], [1, 2, 3]])
    raw.pull(1)
    await until('the id is free again', () => raw.seqNums(1).length === 5)
  })

  test('who a client is, and what it may, is known after waking', async (t) => {
    const storeId = freshStoreId()
    const open = (identity) => Raw.open(t, server.url, storeId, { payload: { identity } })
    const ada = { user: 'ada; "ü" 字', access: 'write', expires: Date.now() + 3_600_000, data: { team: 7 } }
    const [writer, reader] = [await open(ada), await open({ user: 'bob', access: 'read' })]
    assert.deepEqual(reportOf(await writer.push(1, REPORT)).identity, ada)
    assert.match(rejection(await reader.push(1, REPORT)), /may read and not write/)
    await asleep(storeId, LOOKS_MS)
    assert.match(rejection(await reader.push(2, REPORT)), /may read and not write/)
    assert.deepEqual(reportOf(await writer.push(2, REPORT)).identity, ada)
    assert.equal(await made(storeId), 2)
  })

  test('a push on the socket wakes the object; hooks still see payload, headers and the same connection', async (t) => {
    const storeId = freshStoreId()
    const options = { payload: { token: 'grüße "%2F"' }, headers: { cookie: 'a=b', 'x-test': 'one', 'x-other': 'no' } }
    const raw = await Raw.open(t, server.url, storeId, options)
    const before = reportOf(await raw.push(1, REPORT))
    assert.deepEqual(before.payload, options.payload)
    assert.deepEqual(before.headers, [['cookie', 'a=b'], ['x-test', 'one']])
    await asleep(storeId, LOOKS_MS)
    assert.deepEqual(reportOf(await raw.push(2, REPORT)), before)
    assert.equal(await made(storeId), 2)
    assert.equal((await raw.push(3, chain(0, 2)))._tag, 'Success')
  })

  test('a 0.4 ping is answered without waking the object', async (t) => {
    const storeId = freshStoreId()
    const raw = await Raw.open(t, server.url, storeId)
    await raw.push(1, chain(0, 1))
    await asleep(storeId, LOOKS_MS)
    await raw.ping()
    await raw.ping()
    assert.equal(await made(storeId), 1)
    assert.equal((await raw.push(2, chain(1, 1)))._tag, 'Success')
    assert.equal(await made(storeId), 2)
  })

  test('a 0.3 socket gets what others push', async (t) => {
    const storeId = freshStoreId()
    const raw = await Raw.open(t, server.url, storeId, { v03: true })
    raw.send({ _tag: 'WSMessage.PullReq', requestId: 'p' })
    await until('the backlog', () => raw.frames.some((f) => f._tag === 'WSMessage.PullRes'))
    await asleep(storeId)
    await push(storeId, 0, 2)
    const { batch } = await until('the broadcast', () => raw.frames.find((f) => f.batch?.length > 0))
    assert.deepEqual(batch.map(({ eventEncoded }) => eventEncoded.seqNum), [1, 2])
    assert.equal(await made(storeId), 2)
    await asleep(storeId)
    const after = raw.frames.length
    raw.send({ _tag: 'WSMessage.Ping', requestId: 'ping' })
    await raw.frame('the pong', (f) => f._tag === 'WSMessage.Pong', { after })
    assert.equal(await made(storeId), 3)
  })

  // 0.3 clients ping every 25 s, which the object answers, and until the first of these it looks whether the second of two that
  // are alike is the first one, come back.
  for (const [generation, timerMs] of [['v04', IDLE_MS], ['v03', HEARD_MS]]) {
    test(`whole ${generation} stores go on`, async (t) => {
      const storeId = freshStoreId()
      const open = (clientId) => Store.open(t, generation, { url: server.url, storeId, clientId })
      const [a, b] = await Promise.all([open('a'), open('b')])
      await a.commit(created('1'))
      await converged([a, b], 1)
      for (const round of [1, 2]) {
        const before = await made(storeId)
        if (round === 1) await idle(timerMs)
        if (generation === 'v03') {
          // Between two pings there is time for the second of both waits alone.
          await idle(ASLEEP_MS)
          await asleep(storeId, -QUIET_MS)
        } else await asleep(storeId)
        await a.commit(created(`a${round}`))
        await converged([a, b], round * 2)
        await b.commit(done('1'))
        await converged([a, b], round * 2 + 1)
        assert.ok((await made(storeId)) > before)
      }
    })
  }

  // Their close wakes the object, which has to know where they were. With payloads of their own none of them looks like another, so
  // that the object waits for nobody, and is out of memory for certain whenever it is left alone.
  test('a 0.3 store that breaks off while the object is out of memory misses nothing', async (t) => {
    const storeId = freshStoreId()
    const proxy = await Proxy.to(t, server.url)
    const open = (url, clientId) => Store.open(t, 'v03', { url, storeId, clientId, payload: { of: clientId } })
    const a = await open(proxy.url, 'a')
    const b = await open(server.url, 'b')
    await b.commit(created('1'))
    await converged([a, b], 1)
    await asleep(storeId)
    assert.equal(await server.ended(storeId), false)
    const before = await made(storeId)
    proxy.cut({ refuse: true })
    // What was sent to it before the break is noticed, counts as arrived (HEARD_MS_MAX): nothing can ask a 0.3 client.
    await until('the break is noticed', () => server.ended(storeId))
    await b.commit(created('2'))
    await converged([b], 2)
    assert.ok((await made(storeId)) > before)
    await asleep(storeId)
    proxy.open()
    // It waits longer after each attempt that fails, up to twice as long as it was cut off.
    const back = () => `${proxy.connected} connections through the proxy, ${proxy.failed} refused; the object: ${JSON.stringify(looked)}`
    let looked
    await until(back, async () => (looked = await server.look(storeId)) && proxy.connected > 1, BACK)
    await converged([a, b], 2)
    await a.commit(created('3'))
    await converged([a, b], 3)
  })

  // What only its memory knew of that client must not go with it the next time: the log has grown meanwhile.
  test('where a 0.3 client stood whose connection broke off in its sleep, the object knows after the next one', async (t) => {
    const storeId = freshStoreId()
    const proxy = await Proxy.to(t, server.url)
    const open = () => Raw.open(t, proxy.url, storeId, { v03: true, payload: 'a' })
    const raw = await open()
    raw.send({ _tag: 'WSMessage.PullReq', requestId: 'p' })
    await push(storeId, 0)
    await until('the broadcast', () => raw.batches().length > 0)
    await asleep(storeId)
    proxy.cut({ refuse: true })
    await until('the break is noticed', () => server.ended(storeId))
    await push(storeId, 1)
    await asleep(storeId)
    const { made } = await server.look(storeId)
    assert.equal(made, 2)
    proxy.open()
    const again = await open()
    again.send({ _tag: 'WSMessage.Ping', requestId: 'ping' })
    await until(() => `it is continued; got ${JSON.stringify(again.frames)}`, () => again.batches().length > 0)
    assert.deepEqual(again.batches(), [{ pull: 'p', seqNums: [2] }])
    assert.equal((await server.look(storeId)).made, 3)
  })

  test('a 0.3 client that was silent for long before its connection broke off is continued from what it had', async (t) => {
    // Of its own: it turns the clock.
    const server = await TestWorker.start()
    t.after(() => server.stop())
    const storeId = freshStoreId()
    const proxy = await Proxy.to(t, server.url)
    const commit = async (parent) => {
      const { exit, text } = await httpPush(server.url, storeId, chain(parent, 1))
      assert.equal(exit?._tag, 'Success', text)
    }
    const open = () => Raw.open(t, proxy.url, storeId, { v03: true, payload: 'a' })
    const ping = (raw) => raw.send({ _tag: 'WSMessage.Ping', requestId: 'ping' })
    const raw = await open()
    raw.send({ _tag: 'WSMessage.PullReq', requestId: 'p' })
    await commit(0)
    await until('the broadcast', () => raw.batches().length > 0)
    const after = raw.frames.length
    ping(raw)
    await raw.frame('the pong', (f) => f._tag === 'WSMessage.Pong', { after })
    proxy.lose({ toClient: true, toServer: true })
    await commit(1)
    await asleep(storeId, 0, server)
    await server.clock(HEARD_MS)
    proxy.cut({ refuse: true })
    await until('the break is noticed', () => server.ended(storeId))
    await commit(2)
    await asleep(storeId, 0, server)
    proxy.open()
    const again = await open()
    ping(again)
    await until(() => `it is continued; got ${JSON.stringify(again.frames)}`, () => again.batches().length > 0)
    assert.deepEqual(again.batches(), [{ pull: 'p', seqNums: [2, 3] }])
    assert.equal((await server.look(storeId)).made, 3)
  })

  test('a pull that waits for acknowledgements keeps the object, and does not hold up other frames', async (t) => {
    const storeId = freshStoreId()
    for (const from of range(0, 3)) await push(storeId, from * 500, 500)
    const raw = await Raw.open(t, server.url, storeId)
    raw.holdAcks()
    raw.pull(1)
    await raw.reaches(1, WINDOW_EVENTS)
    await idle(IDLE_MS)
    const { made, running } = await server.look(storeId)
    assert.equal(made, 1)
    assert.equal(running.webSocketMessage, 1)
    // The call of the pull is still pending: the platform delivers these all the same.
    assert.equal((await raw.push(2, chain(2_000, 1)))._tag, 'Success')
    assert.deepEqual(raw.seqNums(1), range(1, WINDOW_EVENTS))
    raw.interrupt(1)
    await until('the pull ends', async () => (await server.look(storeId)).running.webSocketMessage === 0)
    await asleep(storeId)
    assert.equal((await raw.push(3, chain(2_001, 1)))._tag, 'Success')
    assert.equal((await server.look(storeId)).made, 2)
  })

  test('a client that acknowledges late gets everything', async (t) => {
    const storeId = freshStoreId()
    for (const from of range(0, 3)) await push(storeId, from * 500, 500)
    const raw = await Raw.open(t, server.url, storeId)
    raw.holdAcks()
    raw.pull(1)
    await raw.reaches(1, WINDOW_EVENTS)
    await idle(IDLE_MS)
    for (const _ of range(1, 30)) raw.send({ _tag: 'Ack', requestId: '1' })
    await raw.reaches(1, 2_000)
    assert.deepEqual(raw.seqNums(1), range(1, 2_000))
    await push(storeId, 2_000)
    await raw.reaches(1, 2_001)
  })

  test('a connection whose payload and headers have no room is refused, with both sizes', async (t) => {
    const storeId = freshStoreId()
    const payload = 'x'.repeat(8_000)
    for (const options of [
      // One character beyond Latin-1, and every one takes two bytes.
      { payload: `字${'x'.repeat(7_200)}` },
      { payload, headers: { cookie: 'y'.repeat(ROOM_BYTES - 8_000) } },
    ]) {
      const refused = await Raw.open(t, server.url, storeId, options).then(() => ({}), (error) => error)
      assert.equal(refused.status, 431)
      assert.match(refused.text, new RegExp(`take \\d+ bytes; a WebSocket has room for ${ROOM_BYTES}`))
    }
    const raw = await Raw.open(t, server.url, storeId, { payload, headers: { cookie: 'y'.repeat(ROOM_BYTES - 8_600), 'x-other': 'y'.repeat(5_000) } })
    await asleep(storeId, LOOKS_MS)
    assert.equal(reportOf(await raw.push(1, REPORT)).payload, payload)
    assert.equal(await made(storeId), 2)
  })

  test('a pull for which there is no room is refused, and the others go on', async (t) => {
    const storeId = freshStoreId()
    // With this, before the connection has as many pulls as it may (session.rs, PULLS_MAX).
    const raw = await Raw.open(t, server.url, storeId, { payload: 'x'.repeat(8_000), headers: { cookie: 'y'.repeat(1_500) } })
    const id = (n) => `1${String(n).padStart(120, '0')}`
    let live = 0
    for (;;) {
      const after = raw.frames.length
      raw.pull(id(live))
      const answer = await raw.frame('an answer', (f) => f.requestId === id(live), { after })
      if (answer._tag === 'Exit') {
        assert.match(rejection(answer.exit), /more pulls than this connection has room for/)
        break
      }
      live++
    }
    t.diagnostic(`${live} pulls had room`)
    assert.ok(live > 20 && live < 64, `${live}`)
    await asleep(storeId, LOOK_MS)
    await push(storeId, 0)
    for (const n of [0, live - 1]) await raw.reaches(id(n), 1)
    assert.equal(await made(storeId), 2)
    assert.deepEqual(raw.seqNums(id(live)), [])
    // What is given back has room again.
    raw.interrupt(id(0))
    const after = raw.frames.length
    raw.pull(id(live))
    await raw.frame('the backlog', (f) => f._tag === 'Chunk' && f.requestId === id(live), { after })
  })

  test('the alarm closes sockets whose clients are silent, also after waking', async (t) => {
    // Of its own: it turns the clock.
    const server = await TestWorker.start()
    t.after(() => server.stop())
    const storeId = freshStoreId()
    const open = (options) => Raw.open(t, server.url, storeId, options)
    const [pinged, acking, never, v03, v03Alive] = await Promise.all([open(), open(), open(), open({ v03: true }), open({ v03: true })])
    const ping = { _tag: 'WSMessage.Ping', requestId: 'ping' }
    for (const raw of [pinged, acking]) await raw.ping()
    for (const raw of [pinged, acking, never]) raw.pull(1)
    for (const raw of [v03, v03Alive]) raw.send(ping)
    await server.ring(storeId)
    await asleep(storeId, LOOKS_MS, server)
    // By the platform: that a client pings, an object knows for as long as it is in memory.
    for (const raw of [pinged, acking]) await raw.ping()
    assert.equal((await server.look(storeId)).made, 1)
    await server.ring(storeId)
    assert.equal((await server.look(storeId)).made, 2)
    assert.ok([pinged, acking, never, v03, v03Alive].every(({ closed }) => closed === undefined))

    await asleep(storeId, 0, server)
    await server.clock(SILENCE_MS)
    const after = v03Alive.frames.length
    acking.send({ _tag: 'Ack', requestId: '1' })
    v03Alive.send(ping)
    await v03Alive.frame('the pong', (f) => f._tag === 'WSMessage.Pong', { after })
    await server.ring(storeId)
    await until('the silent ones are closed', () => pinged.closed && v03.closed)
    assert.ok([acking, never, v03Alive].every(({ closed }) => closed === undefined))
    assert.equal((await httpPush(server.url, storeId, chain(0, 1))).exit._tag, 'Success')
    await never.reaches(1, 1)
  })
})
