// The data folder is put back to an earlier copy, under the ids that it had. Stores that have more than the log end up
// with what the log has, or are told an error that an app can show; none goes on in silence with other data.
// Native only: it is about a file.
import assert from 'node:assert/strict'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { converged, created, Store } from '../lib/clients.mjs'
import { range } from '../lib/events.mjs'
import { ownServer } from '../lib/server.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

const skip = process.env.LIVESTORE_SYNC_BIN ? false : 'only with LIVESTORE_SYNC_BIN'

async function folder(t) {
  const path = await mkdtemp(join(tmpdir(), 'livestore-restore-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/** A store on disk that has ten events, of which the log, once put back, has five; the server is down. */
async function putBack(t, generation, kind) {
  const server = await ownServer()
  t.after(() => server.stop())
  const [storeId, backup, directory] = [freshStoreId(), join(await folder(t), 'data'), await folder(t)]
  const open = (clientId, more) => Store.open(t, generation, { url: server.url, kind, storeId, clientId, ...more })
  const a = await open('a', { directory })
  await a.commit(...range(1, 5).map((n) => created(`${n}`)))
  await converged([a], 5)
  await server.kill('SIGTERM')
  await cp(server.data, backup, { recursive: true })
  await server.restart()
  await a.commit(...range(6, 10).map((n) => created(`${n}`)))
  await converged([a], 10, BACK)
  await server.kill('SIGTERM')
  await rm(server.data, { recursive: true, force: true })
  await cp(backup, server.data, { recursive: true })
  return { server, a, open }
}

const says = (store, pattern) => until(() => `it says ${pattern}\n${store.driver.log().slice(-3000)}`, () => pattern.test(store.driver.log()), BACK)

describe('0.4.0: the store is told that its log is gone, ends, and starts from what is there', { skip, concurrency: 3 }, () => {
  const started = async ({ a, open }) => {
    await says(a, /BackendIdMismatchError/)
    // It has cleared its databases by then.
    await says(a, /LiveStore shutdown complete/)
    await a.restart()
    await converged([a], 5, BACK)
    const other = await open('other')
    await a.commit(created('new'))
    await converged([a, other], 6, BACK)
  }

  test('ws: when it comes back', async (t) => {
    const scene = await putBack(t, 'v04', 'ws')
    await scene.server.restart()
    await started(scene)
  })

  test('ws: when it has something to push', async (t) => {
    const scene = await putBack(t, 'v04', 'ws')
    // Committed while the server is down: its push may come before its pull.
    await scene.a.commit(created('pending'))
    await scene.server.restart()
    await started(scene)
  })

  test('http: when it pushes', async (t) => {
    const scene = await putBack(t, 'v04', 'http')
    await scene.server.restart()
    await scene.a.commit(created('pending'))
    await started(scene)
  })
})

describe('0.3.1, which knows no ids: its pull fails with the reason', { skip, concurrency: 2 }, () => {
  const reason = /up to event 10, where the log ends at 5/

  test('when it pushes, and again when it is started anew', async (t) => {
    const { server, a, open } = await putBack(t, 'v03')
    await server.restart()
    await a.commit(created('pending'))
    await says(a, reason)
    await a.restart()
    await says(a, reason)
    // Without what it had, it goes on.
    const fresh = await open('fresh')
    await fresh.commit(created('new'))
    assert.equal((await converged([fresh], 6, BACK)).length, 6)
  })

  test('when others push what cannot follow what it has', async (t) => {
    const { server, a, open } = await putBack(t, 'v03')
    await server.restart()
    const other = await open('other')
    await other.commit(created('new'))
    await converged([other], 6, BACK)
    await says(a, /Incoming events must be greater than upstream head/)
  })
})
