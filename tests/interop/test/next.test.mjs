// Effect 4's own RPC client with LiveStore's messages: what the next LiveStore will send.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { Backend } from '../lib/clients.mjs'
import { Driver } from '../lib/driver.mjs'
import { chain, eventsOf, range, seqNumsOf } from '../lib/events.mjs'
import { anyServer } from '../lib/server.mjs'
import { freshStoreId, until } from '../lib/wait.mjs'

let server, driver
before(async () => {
  server = await anyServer()
  driver = await Driver.start('next')
})
after(async () => {
  await driver?.stop()
  await server?.stop()
})

for (const [transport, serialization] of [['ws', 'json'], ['http', 'json'], ['http', 'ndjson']]) {
  describe(`${transport}, ${serialization}`, () => {
    const open = (t, storeId, extra = {}) => Backend.open(t, driver, { url: server.url, transport, serialization, storeId, ...extra })

    test('request ids are numbers and come back as numbers', async (t) => {
      const client = await open(t, freshStoreId())
      assert.equal((await client.pull()).ok, true)
      const frames = await client.call('frames')
      const messages = (dir) => frames.filter((frame) => frame.dir === dir).flatMap(({ text }) => messagesOf(text))
      const ids = messages('sent').filter(({ _tag }) => _tag === 'Request').map(({ id }) => id)
      assert.deepEqual(ids.map((id) => typeof id), ['number'])
      const answers = messages('received').filter(({ _tag }) => _tag !== 'Pong')
      assert.deepEqual(answers.map(({ _tag, requestId }) => [_tag, requestId]), [['Chunk', ids[0]], ['Exit', ids[0]]])
      assert.deepEqual(answers.at(-1).exit, { _tag: 'Success', value: null })
    })

    test('pulling an empty store', async (t) => {
      const { ok, pages, error } = await (await open(t, freshStoreId())).pull()
      assert.equal(ok, true, JSON.stringify(error))
      assert.deepEqual(pages.map(({ batch, pageInfo }) => [batch.length, pageInfo]), [[0, 'NoMore']])
      assert.match(pages[0].backendId, /./)
    })

    test('what is pushed comes back, from the start and from a cursor', async (t) => {
      const client = await open(t, freshStoreId())
      const events = chain(0, 250, { args: { text: 'grüße 🚀' } })
      const pushed = await client.push(events)
      assert.deepEqual(pushed, { ok: true, value: {} })
      const { pages } = await client.pull()
      assert.deepEqual(eventsOf(pages), events)
      assert.deepEqual(pages.map((page) => page.remaining), [150, 50, 0])
      assert.equal(pages[0].batch[0].metadata._tag, 'SyncMessage.SyncMetadata')
      const { backendId } = pages[0]
      const rest = await client.pull({ backendId, eventSequenceNumber: 240 })
      assert.deepEqual(seqNumsOf(rest.pages), range(241, 250))
    })

    test('a wrong parent is a typed ServerAheadError', async (t) => {
      const client = await open(t, freshStoreId())
      assert.equal((await client.push(chain(0, 5))).ok, true)
      const { ok, error } = await client.push(chain(3, 1, { args: { text: 'not the stored e4' } }))
      assert.equal(ok, false)
      assert.deepEqual([error._tag, error.minimumExpectedNum, error.providedNum], ['ServerAheadError', 5, 3])
    })

    test('a foreign backend id is a typed BackendIdMismatchError', async (t) => {
      const client = await open(t, freshStoreId())
      const { backendId } = (await client.pull()).pages[0]
      for (const result of [
        await client.push(chain(0, 1), 'foreign'),
        await client.pull({ backendId: 'foreign', eventSequenceNumber: 0 }),
      ]) {
        assert.equal(result.ok, false)
        const { _tag, expected, received } = result.error
        assert.deepEqual({ _tag, expected, received }, { _tag: 'BackendIdMismatchError', expected: backendId, received: 'foreign' })
      }
      assert.equal((await client.push(chain(0, 1), backendId)).ok, true)
    })

    test('an RPC that the server does not know fails alone', async (t) => {
      const client = await open(t, freshStoreId())
      const { ok, error } = await client.call('unheard')
      assert.equal(ok, false)
      const prefix = transport === 'ws' ? 'SyncWsRpc' : 'SyncHttpRpc'
      assert.match(error.text, new RegExp(`${prefix}\\.Unheard`))
      assert.equal((await client.pull()).ok, true)
    })

    if (transport === 'http') {
      test('ping', async (t) => {
        const { ok, error } = await (await open(t, freshStoreId())).ping()
        assert.equal(ok, true, JSON.stringify(error))
      })

      test('several requests in one POST', async (t) => {
        const client = await open(t, freshStoreId(), { batch: { window: 50 } })
        const [first, second, third] = await Promise.all([client.ping(), client.pull(), client.ping()])
        assert.deepEqual([first.ok, second.ok, third.ok], [true, true, true], JSON.stringify([first, second, third]))
        const posts = (await client.call('frames')).filter(({ dir }) => dir === 'sent')
        assert.equal(posts.length, 1, 'the client sent one POST')
      })

      test('the answer has the content type of the question', async (t) => {
        const client = await open(t, freshStoreId())
        assert.equal((await client.ping()).ok, true)
        const { type } = (await client.call('frames')).find(({ dir }) => dir === 'received')
        assert.ok(type.startsWith(serialization === 'json' ? 'application/json' : 'application/x-ndjson'), type)
      })

      test('the address as Effect 4 puts it together: a slash behind the query', async (t) => {
        const { ok, error } = await (await open(t, freshStoreId(), { asGiven: true })).ping()
        assert.equal(ok, true, JSON.stringify(error))
      })
    } else {
      test('a live pull sees pushes, its own and others, once and in order', async (t) => {
        const storeId = freshStoreId()
        const client = await open(t, storeId)
        const live = await client.livePull()
        await live.started()
        const other = await open(t, storeId)
        for (const parent of range(0, 9)) {
          assert.equal((await (parent % 2 ? other : client).push(chain(parent, 1))).ok, true)
        }
        await live.reaches(10)
        assert.deepEqual(seqNumsOf(live.pages), range(1, 10))
      })

      test('a live pull of 2,000 events goes on with what is pushed meanwhile', async (t) => {
        const storeId = freshStoreId()
        const client = await open(t, storeId)
        for (const parent of range(0, 19)) assert.equal((await client.push(chain(parent * 100, 100))).ok, true)
        const other = await open(t, storeId)
        const live = await other.livePull()
        await live.started()
        for (const parent of range(2000, 2019)) assert.equal((await client.push(chain(parent, 1))).ok, true)
        await live.reaches(2020, 30_000)
        assert.deepEqual(seqNumsOf(live.pages), range(1, 2020))
      })

      test('an interrupted live pull is over for the server too; another on the same socket works', async (t) => {
        const client = await open(t, freshStoreId())
        const first = await client.livePull()
        await first.started()
        await first.stop()
        const second = await client.livePull()
        await second.started()
        assert.equal((await client.push(chain(0, 2))).ok, true)
        await second.reaches(2)
        assert.deepEqual([seqNumsOf(first.pages), seqNumsOf(second.pages)], [[], [1, 2]])
        const [firstId, secondId] = (await client.call('frames'))
          .filter(({ dir }) => dir === 'sent')
          .flatMap(({ text }) => messagesOf(text))
          .filter(({ tag }) => tag === 'SyncWsRpc.Pull')
          .map(({ id }) => id)
        const received = (await client.call('frames')).filter(({ dir }) => dir === 'received').flatMap(({ text }) => messagesOf(text))
        const exit = received.find(({ _tag, requestId }) => _tag === 'Exit' && requestId === firstId)
        assert.equal(exit?.exit.cause[0]._tag, 'Interrupt', 'the server confirms the interruption')
        assert.deepEqual(received.filter(({ _tag, requestId }) => _tag === 'Chunk' && requestId === secondId).length, 2)
      })

      test('the socket is kept: pings are answered', async (t) => {
        const client = await open(t, freshStoreId())
        const live = await client.livePull()
        await live.started()
        // The client pings every 5 s.
        await until('a pong', async () => (await client.call('frames')).some(({ text }) => text.includes('"Pong"')), 10_000)
        assert.deepEqual(live.ended, [])
      })
    }
  })
}

/** A frame or body holds one message, an array of messages, or one message a line. */
function messagesOf(text) {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .flatMap((line) => JSON.parse(line))
}
