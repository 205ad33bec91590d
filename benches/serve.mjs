// Bundles a Worker that is measured beside ours, as `wrangler deploy` does, and runs it under Miniflare:
//   node serve.mjs reference/v03|reference/v04|trial do-sqlite|d1 STATE_FOLDER
// `wrangler dev` would put a proxy and debug logging in between. Ends when its input ends.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Miniflare, readConfig, wrangler } from '../worker/tools.mjs'

const [folder, storage, state] = process.argv.slice(2)
const here = fileURLToPath(new URL('.', import.meta.url))

const bundle = join(state, 'bundle')
const deploy = ['deploy', join(folder, 'worker.mjs'), '--config', 'wrangler.toml', '--dry-run', '--outdir', bundle]
execFileSync(process.execPath, [wrangler, ...deploy], { cwd: here, stdio: ['ignore', process.stderr, process.stderr] })
const { compatibility_date: compatibilityDate, compatibility_flags: compatibilityFlags } = readConfig({ config: join(here, 'wrangler.toml') })

const miniflare = new Miniflare({
  modules: [{ type: 'ESModule', path: join(bundle, 'worker.js') }],
  modulesRoot: bundle,
  compatibilityDate,
  compatibilityFlags,
  durableObjects: { SYNC_BACKEND: { className: 'SyncBackend', useSQLite: true } },
  d1Databases: storage === 'd1' ? { DB: 'measured' } : {},
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
