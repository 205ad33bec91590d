// Measures the native server, the Worker, the bare statements of a log in a Worker (trial/), and the published reference in turn,
// row by row, on one machine in one run:
//   node bench.mjs --server BINARY --state FOLDER [--quick] [--no-reference]
// `cargo xtask bench` installs and builds what it needs and calls it. Progress goes to stderr, Markdown tables to stdout.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { arch, availableParallelism, cpus, loadavg, platform } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import * as measure from './measure.mjs'
import { native, other, stop, worker } from './targets.mjs'
import { v03, v04 } from './wire.mjs'

const MISSING = 'not measured'
const QUICK = { warmUpMs: 2_000, connects: 20, acks: 60, runs: 1, ms: 1_000, rounds: 15, pull: 100_000, pullOfReference: 10_000, limitMs: 120_000 }
const FULL = { warmUpMs: 5_000, connects: 50, acks: 200, runs: 3, ms: 2_000, rounds: 30, pull: 100_000, pullOfReference: 100_000, limitMs: 900_000 }

const { values: options } = parseArgs({
  options: {
    server: { type: 'string' },
    state: { type: 'string' },
    quick: { type: 'boolean', default: false },
    'no-reference': { type: 'boolean', default: false },
  },
})
const size = options.quick ? QUICK : FULL
mkdirSync(options.state, { recursive: true })
const state = mkdtempSync(join(resolve(options.state), 'bench-'))
const targets = []
process.on('exit', () => rmSync(state, { recursive: true, force: true, maxRetries: 10 }))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

const load = loadavg()[0]
await start()
const { rows, complete } = await run()
await stop()
print(rows)
if (!complete) console.error('\nSome figures are missing: see above.')
process.exit(complete ? 0 : 1)

async function start() {
  progress('starting the servers')
  const ours = (title, wire, synchronous) => native(options.server, state, { title, wire, synchronous })
  const inWorkerd = (title, storage) => worker(state, { title, wire: v04, storage })
  const trial = (title, storage) => other(state, { title, wire: v04, path: 'trial', storage })
  const theirs = (title, wire, version, storage) => other(state, { title, wire, path: `reference/${version}`, storage })
  const references = options['no-reference']
    ? []
    : [
        theirs('reference 0.4.0, object SQLite', v04, 'v04', 'do-sqlite'),
        theirs('reference 0.4.0, D1', v04, 'v04', 'd1'),
        theirs('reference 0.3.1, D1', v03, 'v03', 'd1'),
      ]
  const starting = {
    natives: [
      ours('this server, 0.4 clients', v04, 'full'),
      ours('this server, 0.4 clients, `synchronous=normal`', v04, 'normal'),
      ours('this server, 0.3 clients', v03, 'full'),
    ],
    workers: [
      inWorkerd('this Worker, object SQLite', 'do-sqlite'),
      trial('bare statements, object SQLite', 'do-sqlite'),
      inWorkerd('this Worker, D1', 'd1'),
      trial('bare statements, D1', 'd1'),
    ],
    references,
  }
  for (const [group, some] of Object.entries(starting)) targets.push(...(await Promise.all(some)).map((target) => Object.assign(target, { group })))
}

/** All measurements, each on all targets in turn, so that whatever else the machine does meets all of them. */
async function run() {
  const { warmUp, connect, acks, pushes, manyStores, pull, fanOut, memory } = measure
  const rows = new Map()
  let complete = true
  for (const step of [warmUp, connect, acks, pushes, manyStores, pull, fanOut, memory]) {
    for (const [column, target] of targets.entries()) {
      progress(`${step.name}: ${target.title}`)
      const cells = await attempt(step, target).catch((error) => {
        console.error(`${step.name}, ${target.title}: ${error.message}`)
        complete = false
        return {}
      })
      for (const [title, cell] of Object.entries(cells)) {
        if (!rows.has(title)) rows.set(title, targets.map(() => MISSING))
        rows.get(title)[column] = cell
        complete &&= !cell.includes(MISSING)
      }
    }
  }
  return { rows, complete }
}

/** A measurement ends when a connection fails, and after a while. */
async function attempt(step, target) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('no end after a long time')), size.limitMs)
  })
  try {
    return await Promise.race([step(target, size), target.failure, late])
  } finally {
    clearTimeout(timer)
    target.reset()
  }
}

function print(rows) {
  console.log(`${availableParallelism()} cores (${cpus()[0]?.model.trim()}, ${platform()} ${arch()}), shared with the load generator (Node ${process.version}); load average before: ${load.toFixed(1)}.`)
  console.log(`Measured: ${versions().join(', ')}.\n`)
  const line = (cells) => console.log(`| ${cells.join(' | ')} |`)
  for (const [title, groups] of [['Native', ['natives', 'references']], ['In workerd', ['workers', 'references']]]) {
    const chosen = (cells) => cells.filter((_, column) => groups.includes(targets[column].group))
    console.log(`**${title}**\n`)
    line(['', ...chosen(targets.map((target) => target.title))])
    line(['---', ...chosen(targets.map(() => '---:'))])
    for (const [title, cells] of rows) line([title, ...chosen(cells)])
    console.log()
  }
}

function versions() {
  const ours = execFileSync(options.server, ['--version'], { encoding: 'utf8' }).trim()
  const installed = (folder, name) => {
    const manifest = new URL(`${folder}node_modules/${name}/package.json`, import.meta.url)
    return `${name} ${JSON.parse(readFileSync(manifest, 'utf8')).version}`
  }
  const references = options['no-reference'] ? [] : ['reference/v04/', 'reference/v03/'].map((folder) => [folder, '@livestore/sync-cf'])
  const packages = [...references, ['../worker/', 'miniflare'], ['../worker/', 'workerd']]
  return [ours, ...packages.map(([folder, name]) => installed(folder, name))]
}

function progress(text) {
  console.error(`[${Math.round(performance.now() / 1000)} s] ${text}`)
}
