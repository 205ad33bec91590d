// A deployment that changes hands: runs one of the published packages' servers, or ours, on the state of the same deployment.
//   node lib/deployment.mjs (--reference BUNDLE | --ours) --storage d1|do-sqlite|auto --data FOLDER [--listen 127.0.0.1:0] [--kv-class]
// With --kv-class the object's class is one of `new_classes`, as deployments of 0.3.1 may have it: it has no SQLite.
// Prints `listening on http://…`. SIGTERM ends it; so does the end of its input.

import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Miniflare } from '../../../worker/tools.mjs'
import { COMPATIBILITY, OURS as ours } from './reference.mjs'

const { values: options } = parseArgs({
  options: {
    reference: { type: 'string' },
    ours: { type: 'boolean' },
    storage: { type: 'string' },
    data: { type: 'string' },
    listen: { type: 'string', default: '127.0.0.1:0' },
    'kv-class': { type: 'boolean', default: false },
  },
})

/** Its names decide where the data of a deployment is. */
const deployed = JSON.parse(readFileSync(join(ours, 'miniflare.json'), 'utf8'))

function reference(bundle) {
  const { name, durableObjects, d1Databases } = deployed.options
  return {
    name,
    durableObjects,
    d1Databases,
    compatibilityDate: COMPATIBILITY.compatibility_date,
    compatibilityFlags: COMPATIBILITY.compatibility_flags,
    bindings: { STORAGE: options.storage },
    modulesRoot: bundle,
    modules: [{ type: 'ESModule', path: join(bundle, 'server.js') }],
  }
}

function successor() {
  const wasm = readdirSync(ours).filter((name) => name.endsWith('.wasm'))
  return {
    ...deployed.options,
    bindings: options.storage === 'auto' ? {} : { LIVESTORE_SYNC_STORAGE: options.storage },
    modulesRoot: ours,
    modules: [
      { type: 'ESModule', path: join(ours, deployed.entry) },
      ...wasm.map((name) => ({ type: 'CompiledWasm', path: join(ours, name) })),
    ],
  }
}

const worker = options.ours ? successor() : reference(options.reference)
const [[binding, object]] = Object.entries(worker.durableObjects)
const { hostname: host, port } = new URL(`http://${options.listen}`)
const miniflare = new Miniflare({
  host,
  port: Number(port || 80),
  cf: false,
  defaultPersistRoot: resolve(options.data, 'v3'),
  handleRuntimeStdio: (stdout, stderr) => [stdout, stderr].forEach((stream) => stream.pipe(process.stderr)),
  workers: [{ ...worker, durableObjects: { [binding]: { ...object, useSQLite: !options['kv-class'] } } }],
})

const stop = () => miniflare.dispose().then(() => process.exit(0))
process.on('SIGTERM', stop)
process.on('SIGINT', stop)
process.stdin.resume().on('end', stop)

const { origin } = await miniflare.ready
console.log(`listening on ${origin}`)
