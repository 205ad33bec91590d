// This project's Rust client and the published servers: `tests/client/tests/reference.rs`, and a Rust store beside one of each
// package. Only with LIVESTORE_SYNC_WORKER=d1, because it does not depend on our server; needs what that needs.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { converged, created, done, renamed, Store } from '../lib/clients.mjs'
import { bundle, reference } from '../lib/reference.mjs'
import { OwnServer, workerStorage } from '../lib/server.mjs'
import { freshStoreId } from '../lib/wait.mjs'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
// Of all default members, so that nothing is built with other features than by plain `cargo test`.
const CARGO_TEST = ['test', '--locked', '--test', 'reference', '--', '--ignored']
const skip = workerStorage === 'd1' ? false : 'only with LIVESTORE_SYNC_WORKER=d1'

describe('the published servers', { skip }, () => {
  const servers = {}
  before(async () => {
    for (const [generation, storage] of [['v03', 'd1'], ['v04', 'do-sqlite']]) {
      const bundled = await bundle(generation)
      const server = await OwnServer.start(reference(bundled, { storage }))
      servers[generation] = { url: server.url, stop: () => Promise.all([server.stop(), bundled.remove()]) }
    }
  })
  after(() => Promise.all(Object.values(servers).map((server) => server.stop())))

  test('the connection: pushes, pulls, lost answers, backlogs', async () => {
    const [v03, v04] = ['v03', 'v04'].map((generation) => new URL(servers[generation].url).host)
    const env = { ...process.env, REFERENCE_V03: v03, REFERENCE_V04: v04 }
    const { stdout } = await promisify(execFile)(process.env.CARGO ?? 'cargo', CARGO_TEST, { cwd: ROOT, env })
    assert.match(stdout, /test result: ok\. [1-9]/, stdout)
  })

  for (const [generation, kind] of [['v03', 'cf'], ['v04', 'ws']]) {
    test(`${generation}: a Rust store and one of the package converge`, async (t) => {
      const { url } = servers[generation]
      const storeId = freshStoreId()
      const a = await Store.open(t, 'rust', { url, kind, storeId, clientId: 'a' })
      await a.commit(created('1'), created('2'))
      await converged([a], 2)
      const b = await Store.open(t, generation, { url, kind, storeId, clientId: 'b' })
      await converged([a, b], 2)
      await b.commit(done('1'))
      await converged([a, b], 3)
      await a.commit(renamed('2', 'by a'))
      const rows = await converged([a, b], 4)
      assert.deepEqual(rows.map(({ text, done }) => [text, done]), [['todo 1', true], ['by a', false]])
    })
  }
})
