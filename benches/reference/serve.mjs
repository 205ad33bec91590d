// Bundles a published reference backend, as `wrangler deploy` does, and runs it under Miniflare:
//   node serve.mjs v03|v04 do-sqlite|d1 STATE_FOLDER
// `wrangler dev` would put a proxy and debug logging in between. Ends when its input ends.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Miniflare, wrangler } from '../../worker/tools.mjs'

const [version, storage, state] = process.argv.slice(2)
const here = fileURLToPath(new URL('.', import.meta.url))
const compatibilityDate = '2025-05-08'
const flag = 'nodejs_compat'

const bundle = join(state, 'bundle')
const deploy = ['deploy', join(version, 'worker.mjs'), '--dry-run', '--outdir', bundle, '--name', `reference-${version}`]
const compatibility = ['--compatibility-date', compatibilityDate, '--compatibility-flag', flag]
execFileSync(process.execPath, [wrangler, ...deploy, ...compatibility], { cwd: here, stdio: ['ignore', process.stderr, process.stderr] })

const miniflare = new Miniflare({
  modules: [{ type: 'ESModule', path: join(bundle, 'worker.js') }],
  modulesRoot: bundle,
  compatibilityDate,
  compatibilityFlags: [flag],
  durableObjects: { SYNC_BACKEND: { className: 'SyncBackend', useSQLite: true } },
  d1Databases: storage === 'd1' ? { DB: 'reference' } : {},
  durableObjectsPersist: join(state, 'objects'),
  d1Persist: join(state, 'd1'),
  cf: false,
  // What the worker writes to its console is dropped.
  handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach((stream) => stream.resume()),
})
console.log(`listening on ${await miniflare.ready}`)

const stop = () => miniflare.dispose().then(() => process.exit())
process.stdin.resume().on('end', stop)
process.on('SIGTERM', stop)
