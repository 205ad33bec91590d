// Four 0.4.0 clients write under a random run of cuts, lost questions, lost answers and crashes of the server. In the end all
// have the same log, with everything that was written exactly once. STORM_SEED repeats a run. Not with LIVESTORE_SYNC_URL.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Driver } from '../lib/driver.mjs'
import { range } from '../lib/events.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { ownServer } from '../lib/server.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

const CLIENTS = 4
const ROUNDS = 12
/** The client waits longer after each loss of its connection, up to 30 s. */

test('a storm', async (t) => {
  const seed = Number(process.env.STORM_SEED ?? Math.floor(Math.random() * 2 ** 31))
  t.diagnostic(`STORM_SEED=${seed}`)
  const random = generator(seed)
  const pick = (items) => items[Math.floor(random() * items.length)]

  const server = await ownServer()
  t.after(() => server.stop())
  const storeId = freshStoreId('storm')
  const driver = await Driver.start('v04')
  t.after(() => driver.stop())
  const proxies = await Promise.all(range(1, CLIENTS).map(() => Proxy.to(t, server.url)))
  const clients = await Promise.all(
    proxies.map(({ url }, i) => driver.call('openReplica', { url, storeId, clientId: `client-${i}` })),
  )
  const look = () => Promise.all(clients.map((client) => driver.call('look', client)))

  const written = []
  const writeAll = (label) =>
    Promise.all(
      clients.map((client, i) => {
        const ids = range(1, 5).map((n) => `${label}-${i}-${n}`)
        written.push(...ids)
        return driver.call('write', client, ids)
      }),
    )
  const troubles = {
    cut: (proxy) => proxy.cut(),
    cutForAWhile: (proxy) => proxy.cut({ refuse: true }),
    loseAnswers: (proxy) => proxy.lose({ toClient: true }),
    loseQuestions: (proxy) => proxy.lose({ toServer: true }),
    crash: () => server.kill('SIGKILL'),
    end: () => server.kill('SIGTERM'),
  }
  for (const round of range(1, ROUNDS)) {
    const trouble = pick(Object.keys(troubles))
    const proxy = pick(proxies)
    t.diagnostic(`round ${round}: ${trouble} of ${proxies.indexOf(proxy)}`)
    await writeAll(`${round}-before`)
    // Half of the troubles come while the writes are on their way, the others when one client has seen some of them.
    const target = (await look())[0].head + 5
    if (random() < 0.5) await until('writes get through', async () => (await look()).some(({ head }) => head >= target), BACK)
    await troubles[trouble](proxy)
    await writeAll(`${round}-after`)
    if (trouble === 'crash' || trouble === 'end') await server.restart()
    if (trouble.startsWith('lose')) proxy.cut()
    proxy.open()
  }

  let seen
  const report = () => {
    const clients = seen.map(({ head, pending, doing }, i) => {
      const { connected, answered, failed } = proxies[i]
      return `${head}+${pending.length}, ${connected} connections, ${answered} answered, ${failed} failed; ${JSON.stringify(doing)}`
    })
    const now = new Date().toISOString().slice(11, 23)
    return [`all clients have all ${written.length}; at ${now} they have`, ...clients, server.log()].join('\n')
  }
  const settled = async () => {
    seen = await look()
    return seen.some(({ faults }) => faults.length > 0) || seen.every(({ head, pending }) => head === written.length && pending.length === 0)
  }
  await until(report, settled, BACK)
  for (const { ids, faults } of seen) {
    assert.deepEqual(faults, [])
    assert.deepEqual(ids, seen[0].ids)
  }
  assert.deepEqual([...seen[0].ids].sort(), [...written].sort())
})

/** mulberry32: small, and the same everywhere. */
function generator(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
