// A hook that panics brings down the wasm instance with all objects in it. do-rpc/panic.test.mjs has the single steps; this is
// about the clients. Only with LIVESTORE_SYNC_WORKER=do-sqlite; needs the bundle of tests/hook-worker:
//   node ../../worker/bundle.mjs ../hook-worker && LIVESTORE_SYNC_WORKER=do-sqlite node --test test/panic.test.mjs
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { converged, created, done, Store } from '../lib/clients.mjs'
import { chain, range } from '../lib/events.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { httpPush, Raw } from '../lib/raw.mjs'
import { skipOnD1, skipUnlessWorker } from '../lib/server.mjs'
import { PANIC, TestWorker, WAIT } from '../lib/test-worker.mjs'
import { BACK, freshStoreId, until, within } from '../lib/wait.mjs'

/** Far less than the hook that waits takes. */
const SOON_MS = 5_000

describe('panics', { skip: skipUnlessWorker || skipOnD1 }, () => {
  let server
  before(async () => (server = await TestWorker.start()))
  after(() => server?.stop())

  test('of a push on a socket: everybody in flight is told, nothing acknowledged is lost', async (t) => {
    const [storeId, other] = [freshStoreId('panic'), freshStoreId('other')]
    const [caller, bystander, elsewhere] = await Promise.all([storeId, storeId, other].map((id) => Raw.open(t, server.url, id)))
    assert.equal((await caller.push(1, chain(0, 3)))._tag, 'Success')
    assert.equal((await elsewhere.push(1, chain(0, 1)))._tag, 'Success')
    bystander.pull(1)
    await bystander.reaches(1, 3)
    const waiting = [httpPush(server.url, storeId, WAIT), httpPush(server.url, other, WAIT)]
    for (const raw of [bystander, elsewhere]) raw.push(9, WAIT).catch(() => {})
    await until('both objects are waited for', async () => {
      const looks = await Promise.all([storeId, other].map((id) => server.look(id)))
      return looks.every(({ running }) => running.webSocketMessage === 1)
    })
    caller.push(2, PANIC).catch(() => {})
    // Their answers were under way: http has no status left to fail with, so that the body breaks off or has no exit.
    const answers = Promise.all(waiting.map((call) => call.then(({ exit }) => exit?._tag, (error) => error)))
    for (const answer of await within('the pushes that wait are answered', answers, SOON_MS)) assert.notEqual(answer, 'Success')
    await until('the sockets close', () => caller.closed && bystander.closed && elsewhere.closed, SOON_MS)
    assert.deepEqual([caller, bystander, elsewhere].map(({ closed }) => closed.code), [4408, 4408, 4408])
    for (const [id, head] of [[storeId, 3], [other, 1]]) {
      const raw = await Raw.open(t, server.url, id)
      raw.pull(1)
      await raw.reaches(1, head)
      assert.deepEqual(raw.seqNums(1), range(1, head))
      assert.equal((await raw.push(2, chain(head, 1)))._tag, 'Success')
      await raw.reaches(1, head + 1)
    }
  })

  // The stores of the other object notice nothing: not even 0.3.1, which never repeats a push that got lost, loses one.
  for (const generation of ['v04', 'v03']) {
    test(`${generation} stores come back by themselves and converge`, async (t) => {
      const [storeId, other] = [freshStoreId('panic'), freshStoreId('other')]
      const proxies = [await Proxy.to(t, server.url), await Proxy.to(t, server.url)]
      const open = (storeId, n, clientId) => Store.open(t, generation, { url: proxies[n].url, storeId, clientId })
      const [a, b, c, d] = await Promise.all([open(storeId, 0, 'a'), open(storeId, 0, 'b'), open(other, 1, 'c'), open(other, 1, 'd')])
      await Promise.all([a.commit(created('0')), c.commit(created('0'))])
      await Promise.all([converged([a, b], 1), converged([c, d], 1)])
      await until('the objects are at rest', async () => {
        const { running } = await server.look(other)
        return Object.values(running).every((calls) => calls === 0)
      })
      const { connected } = proxies[1]
      for (const round of [1, 2, 3]) {
        const before = proxies[0].connected
        const panicked = httpPush(server.url, storeId, PANIC).then(({ exit }) => exit?._tag, () => 'failed')
        assert.notEqual(await within('the caller is told', panicked, SOON_MS), 'Success')
        await c.commit(created(`${round}`))
        await converged([c, d], 2 * round)
        // A push on a connection that is just breaking would be lost for 0.3.1 (see reconnect.test.mjs).
        await until('both are back', () => proxies[0].connected >= before + 2, BACK)
        await a.commit(created(`${round}`))
        await converged([a, b], 2 * round, BACK)
        await Promise.all([b.commit(done(`${round}`)), d.commit(done(`${round}`))])
        await Promise.all([converged([a, b], 2 * round + 1, BACK), converged([c, d], 2 * round + 1)])
      }
      assert.equal(proxies[1].connected, connected)
    })
  }
})
