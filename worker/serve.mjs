#!/usr/bin/env node
// Runs the built Worker with a command line like the native binary's, for tests and measurements:
//   node worker/serve.mjs --storage d1|do-sqlite --data FOLDER [--listen 127.0.0.1:0] [--cors] [--allow-origin ORIGIN,…] [--worker FOLDER-OF-wrangler.toml]
// `cargo xtask worker` makes the bundle. What is in wrangler.toml holds here, too, and the data is where
// `wrangler dev --persist-to FOLDER` has it; but there is no proxy in between and no watcher.
// Prints `listening on http://…`. SIGTERM ends it; so does the end of its input, so that none outlives who started it.
// A crash is SIGKILL to the process group, which has the runtime in it.

import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Miniflare } from 'miniflare'

const STORAGES = ['d1', 'do-sqlite']

const { values: options } = parseArgs({
  options: {
    storage: { type: 'string' },
    data: { type: 'string' },
    listen: { type: 'string', default: '127.0.0.1:0' },
    cors: { type: 'boolean', default: false },
    'allow-origin': { type: 'string', default: '' },
    worker: { type: 'string', default: fileURLToPath(new URL('..', import.meta.url)) },
  },
})
if (!STORAGES.includes(options.storage)) fail(`--storage is one of ${STORAGES.join(', ')}, not ${options.storage}`)
if (!options.data) fail('--data FOLDER is missing')
const { hostname: host, port } = new URL(`http://${options.listen}`)
const bundle = join(options.worker, '.wrangler/bundle')
const worker = read(join(bundle, 'miniflare.json'))

// Who may connect is said by the environment, as natively.
const auth = Object.entries(process.env).filter(([name]) => /^LIVESTORE_SYNC_(AUTH_|EXPIRY_GRACE$)/.test(name))

const wasm = readdirSync(bundle).filter((name) => name.endsWith('.wasm'))

const miniflare = new Miniflare({
  host,
  port: Number(port || 80),
  cf: false,
  defaultPersistRoot: resolve(options.data, 'v3'),
  // A clean stdout for whoever waits for the line below.
  handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach((stream) => stream.pipe(process.stderr)),
  workers: [
    {
      ...worker.options,
      bindings: { ...worker.options.bindings, ...Object.fromEntries(auth), LIVESTORE_SYNC_STORAGE: options.storage, LIVESTORE_SYNC_CORS: String(options.cors), LIVESTORE_SYNC_ALLOW_ORIGIN: options['allow-origin'] },
      modulesRoot: bundle,
      modules: [
        { type: 'ESModule', path: join(bundle, worker.entry) },
        ...wasm.map((name) => ({ type: 'CompiledWasm', path: join(bundle, name) })),
      ],
    },
  ],
})

const stop = () => miniflare.dispose().then(() => process.exit(0))
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
process.stdin.resume().on('end', stop)

const { origin } = await miniflare.ready
console.log(`listening on ${origin}`)

function read(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch (error) {
    fail(`there is no bundle (${error.message}): run \`cargo xtask worker\` first`)
  }
}

function fail(message) {
  console.error(`serve.mjs: ${message}`)
  process.exit(2)
}
