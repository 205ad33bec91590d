// A backup is put back while whole stores know more than it has: they notice, and end with the same data as everybody.
// Only natively: on Workers, backups are the platform's.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { converged, created, Store } from '../lib/clients.mjs'
import { ownServer } from '../lib/server.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

const BIN = process.env.LIVESTORE_SYNC_BIN
const skip = BIN ? false : 'only with LIVESTORE_SYNC_BIN'
const command = (...args) => promisify(execFile)(BIN, args)

describe('a backup that is put back', { skip, concurrency: 2 }, () => {
  for (const kind of ['ws', 'http']) {
    test(`0.4.0 ${kind}: a store that knows more starts anew from the server`, async (t) => {
      const server = await ownServer()
      t.after(() => server.stop())
      const directory = await mkdtemp(join(tmpdir(), 'livestore-store-'))
      t.after(() => rm(directory, { recursive: true, force: true }))
      const options = kind === 'http' ? { livePull: { pollInterval: 200 }, ping: { requestInterval: 1000 } } : undefined
      const [storeId, copy] = [freshStoreId(), join(server.data, 'copy.db')]
      const open = (clientId, more) => Store.open(t, 'v04', { url: server.url, kind, options, storeId, clientId, ...more })
      const a = await open('a', { directory })
      await a.commit(created('kept'))
      await converged([a], 1)
      await command('backup', copy, '--data', server.data)
      await a.commit(created('lost-1'), created('lost-2'))
      await converged([a], 3)

      await server.kill('SIGTERM')
      await command('restore', copy, '--data', server.data)
      await server.restart()
      const b = await open('b')
      await b.commit(created('new'))
      await converged([b], 2)

      // Over http a poll that fails ends the package's live pull; it notices when it pushes.
      if (kind === 'http') await a.commit(created('lost-3'))
      // The package says so, clears what it has and ends the store; the app opens it again.
      await until('the store notices', () => a.driver.log().includes('Sync backend identity changed'), BACK)
      await until('the store has ended', () => a.driver.log().includes('LiveStore shutdown complete'), BACK)
      await a.restart()
      const rows = await converged([a, b], 2, BACK)
      assert.deepEqual(rows.map(({ id }) => id).sort(), ['kept', 'new'])
      await a.commit(created('after'))
      await converged([a, b], 3, BACK)
    })
  }
})
