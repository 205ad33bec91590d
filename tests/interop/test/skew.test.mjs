// During a deployment the Worker and its objects may be of different releases: the object needs nothing but the request that the
// client made. Only with LIVESTORE_SYNC_WORKER=do-sqlite; needs the bundle of tests/hook-worker:
//   node ../../worker/bundle.mjs ../hook-worker && LIVESTORE_SYNC_WORKER=do-sqlite node --test test/skew.test.mjs
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { converged, created, Store } from '../lib/clients.mjs'
import { chain } from '../lib/events.mjs'
import { httpPush, Raw } from '../lib/raw.mjs'
import { skipOnD1, skipUnlessWorker } from '../lib/server.mjs'
import { REPORT, reportOf, TestWorker } from '../lib/test-worker.mjs'
import { freshStoreId } from '../lib/wait.mjs'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/
const CONNECTION = '01890000-0000-7000-8000-000000000001'
const AT = 1_795_220_071_259

const HEADERS = [
  { what: 'no internal header', header: '' },
  { what: 'one of an older release, with less in it', header: 'v=0' },
  { what: 'one of this release', header: `v=1; connection=${CONNECTION}; at=${AT}`, known: true },
  { what: 'one of a newer release, with more in it', header: `v=2; new=thing; at=${AT}; ; connection=${CONNECTION}; more`, known: true },
  { what: 'garbage', header: ';;=;v; connection=1; at=now; grüße' },
  { what: 'numbers that are none', header: `v=1; connection=${CONNECTION}; at=99999999999999999999999` },
  { what: 'a time far beyond', header: `v=1; connection=${CONNECTION}; at=18446744073709551615` },
  { what: 'very much of it', header: `v=1; ${'x=y; '.repeat(2_000)}` },
]

describe('skew', { skip: skipUnlessWorker || skipOnD1, concurrency: true }, () => {
  let server
  before(async () => (server = await TestWorker.start()))
  after(() => server?.stop())

  for (const { what, header, known } of HEADERS) {
    test(`the object accepts ${what}`, async (t) => {
      const storeId = freshStoreId()
      const path = server.direct(header)
      const options = { payload: { token: 'x' }, headers: { cookie: 'a=b' } }
      const check = ({ connection, connectedAt, payload, headers }) => {
        if (known) assert.deepEqual([connection, connectedAt], [CONNECTION, new Date(AT).toISOString()])
        else assert.match(connection, UUID)
        assert.ok(!Number.isNaN(Date.parse(connectedAt)), connectedAt)
        assert.deepEqual([payload, headers], [options.payload, [['cookie', 'a=b']]])
      }
      const raw = await Raw.open(t, server.url, storeId, { ...options, path })
      check(reportOf(await raw.push(1, REPORT)))
      const { exit, text } = await httpPush(server.url, storeId, REPORT, { ...options, path })
      assert.ok(exit, text)
      check(reportOf(exit))
      raw.pull(2)
      assert.equal((await raw.push(3, chain(0, 2)))._tag, 'Success')
      await raw.reaches(2, 2)
      const v03 = await Raw.open(t, server.url, storeId, { v03: true, path: `${path}websocket` })
      v03.send({ _tag: 'WSMessage.PullReq', requestId: 'p' })
      const { batch } = await v03.frame('the events', (f) => f._tag === 'WSMessage.PullRes', { after: 0 })
      assert.equal(batch.length, 2)
    })
  }

  test('stores behind a Worker of another release and stores behind this one are the same store', async (t) => {
    const storeId = freshStoreId()
    const other = `${server.url}${server.direct('v=7; of=tomorrow')}`.replace(/\/$/, '')
    const open = (generation, url, kind, clientId) => Store.open(t, generation, { url, kind, storeId, clientId })
    const stores = await Promise.all([
      open('v04', server.url, 'ws', 'a'),
      open('v04', other, 'ws', 'b'),
      open('v03', server.url, undefined, 'c'),
      open('v03', other, undefined, 'd'),
    ])
    for (const [n, store] of stores.entries()) {
      await store.commit(created(`${n}`))
      await converged(stores, n + 1)
    }
  })

  test('an object refuses to be the object of two stores', async (t) => {
    const [storeId, other] = [freshStoreId(), freshStoreId()]
    const raw = await Raw.open(t, server.url, storeId)
    assert.equal((await raw.push(1, chain(0, 2)))._tag, 'Success')
    const ask = (query) => fetch(`${server.url}${server.direct('')}?storeId=${other}&object=${storeId}&${query}`, { method: 'POST', body: '[]' })
    for (const query of ['transport=http', 'transport=ws']) {
      const response = await ask(query)
      assert.ok(response.status === 400 || response.status === 426, `${query}: ${response.status}`)
      assert.doesNotMatch(await response.text(), /seqNum/)
    }
    assert.match(await (await ask('transport=http')).text(), /another store/)
  })

  test('a client cannot make the header', async (t) => {
    const storeId = freshStoreId()
    for (const forged of [`v=1; connection=${CONNECTION}; at=${AT}`, 'garbage']) {
      const headers = { 'x-livestore-sync': forged, 'X-LiveStore-Sync': forged }
      const { exit } = await httpPush(server.url, storeId, REPORT, { headers })
      const raw = await Raw.open(t, server.url, storeId, { headers: { 'X-LiveStore-Sync': forged } })
      for (const report of [reportOf(exit), reportOf(await raw.push(1, REPORT))]) {
        assert.match(report.connection, UUID)
        assert.notEqual(report.connection, CONNECTION)
        assert.ok(Math.abs(Date.parse(report.connectedAt) - Date.now()) < 60_000)
      }
    }
  })
})
