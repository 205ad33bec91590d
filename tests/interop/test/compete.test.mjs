// Two whole stores that commit at the same time, as two people who type do. 0.4.0 stores break in that, inside the client (see
// PROTOCOL.md): so this asserts only what is certain, and reports how often they come through, here and, with
// LIVESTORE_SYNC_WORKER, beside the published server. COMPETE_RUNS=<n> measures: that often, with several pauses. Not with LIVESTORE_SYNC_URL.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { Backend, converged, created, Store } from '../lib/clients.mjs'
import { Driver } from '../lib/driver.mjs'
import { eventsOf, range } from '../lib/events.mjs'
import { bundle, reference } from '../lib/reference.mjs'
import { OwnServer, ownServer, workerStorage } from '../lib/server.mjs'
import { freshStoreId } from '../lib/wait.mjs'

const RUNS = Number(process.env.COMPETE_RUNS ?? 1)
const COMMITS = 20
/** Between two commits of a store; 0 is a burst. One is enough to see that the log stays whole; rates want more. */
const PAUSES_MS = process.env.COMPETE_RUNS ? [0, 20, 60, 100] : [0]
/** Stores that have not moved for so long have come through, or never will. */
const STILL_MS = 4_000
const PATIENCE_MS = 20_000
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Both commit; answers what they have once nothing moves any more. */
async function compete({ url, storeId, drivers, pauseMs }) {
  const open = async (driver, clientId) => {
    const handle = await driver.call('openStore', { url, storeId, clientId, kind: 'ws' })
    return (method, ...args) => driver.call(method, handle, ...args)
  }
  const stores = await Promise.all(['a', 'b'].map((name, i) => open(drivers[i % drivers.length], name)))
  for (const n of range(1, COMMITS)) {
    // A store that has broken refuses; how many rows it has tells.
    await Promise.all(stores.map((call, i) => call('commit', [created(`${'ab'[i]}${n}`)]).catch(() => {})))
    if (pauseMs > 0) await pause(pauseMs)
  }
  const look = () => Promise.all(stores.map(async (call) => ({ ...(await call('syncState')), rows: (await call('rows')).length })))
  let [seen, since] = [await look(), Date.now()]
  // Some that have broken go on for ever.
  const end = since + PATIENCE_MS
  while (!seen.every(isDone) && Date.now() - since < STILL_MS && Date.now() < end) {
    await pause(100)
    const now = await look()
    if (!isDeepStrictEqual(now, seen)) [seen, since] = [now, Date.now()]
  }
  return seen
}

/** A client that pushes an event twice, under two numbers, has come through as well: the head may be higher. */
const isDone = ({ pending, upstreamHead, rows }) => pending === 0 && upstreamHead >= 2 * COMMITS && rows === 2 * COMMITS

for (const processes of [1, 2]) {
  describe(`two 0.4.0 stores in ${processes === 1 ? 'one process' : 'two processes'}`, () => {
    for (const pauseMs of PAUSES_MS) {
      const label = pauseMs === 0 ? 'in a burst' : `every ${pauseMs} ms`

      /** Runs the case; `check` looks at what a run leaves on the server. */
      async function rate(t, url, check) {
        let through = 0
        for (const _ of range(1, RUNS)) {
          const storeId = freshStoreId('compete')
          // Of their own: a store that breaks may end its process.
          const drivers = await Promise.all(range(1, processes).map(() => Driver.start('v04')))
          const stop = () => Promise.all(drivers.map((driver) => driver.stop()))
          const seen = await compete({ url, storeId, drivers, pauseMs }).finally(stop)
          through += seen.every(isDone) ? 1 : 0
          t.diagnostic(`${label}: ${JSON.stringify(seen)}`)
          // Nobody writes any more.
          await check?.(storeId, seen)
        }
        t.diagnostic(`${label}: ${through} of ${RUNS} came through`)
      }

      test(`commits ${label}: the log is one chain with all that is confirmed, and who comes later has it`, async (t) => {
        const server = await ownServer()
        t.after(() => server.stop())
        const driver = await Driver.start('v04')
        t.after(() => driver.stop())
        await rate(t, server.url, async (storeId, seen) => {
          const reader = await Backend.open(t, driver, { url: server.url, kind: 'http', storeId })
          const { ok, pages, error } = await reader.pull()
          assert.equal(ok, true, JSON.stringify(error))
          const log = eventsOf(pages)
          assert.deepEqual(log.map(({ seqNum, parentSeqNum }) => [parentSeqNum, seqNum]), range(1, log.length).map((n) => [n - 1, n]))
          for (const { upstreamHead } of seen) assert.ok(upstreamHead <= log.length, `e${upstreamHead} is confirmed, the log has ${log.length}`)
          const late = await Store.open(t, 'v04', { url: server.url, kind: 'ws', storeId, clientId: 'late' })
          const rows = await converged([late], log.length, 60_000)
          assert.equal(rows.length, new Set(log.map(({ args }) => args.id)).size)
        })
      })

      describe('beside the published server', { skip: workerStorage === 'do-sqlite' ? false : 'only with LIVESTORE_SYNC_WORKER=do-sqlite' }, () => {
        let published
        before(async () => (published = await bundle('v04')))
        after(() => published?.remove())
        test(`commits ${label}`, async (t) => {
          const server = await OwnServer.start(reference(published, { storage: 'do-sqlite' }))
          t.after(() => server.stop())
          await rate(t, server.url)
        })
      })
    }
  })
}
