// The measurements. Each takes a target and a size (see bench.mjs) and gives its rows of the table: title -> cell.
// Stores are new for each, connections are closed by the caller.

import { randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { lastSeqNum } from './wire.mjs'

const BATCHES = [1, 10, 100]
const STORES = 32
const PULLERS = 100
const FILL_BATCH = 100
/** Pulls are repeated up to this often, and no longer than this. */
const PULLS = 3
const PULLS_MS = 5_000

/** Not shown: both sides compile as they go. */
export async function warmUp(target, size) {
  const connection = await target.connect(store())
  await connection.pull()
  await pushFor(connection, 10, size.warmUpMs)
  return {}
}

export async function connect(target, size) {
  const times = []
  for (let i = 0; i < size.connects; i++) {
    const started = performance.now()
    const connection = await target.connect(store())
    await connection.pull()
    times.push(since(started))
    connection.close()
  }
  return { 'connect to a new store, until its first pull answer: p50 / p99 (ms)': at(times, 0.5, 0.99) }
}

export async function acks(target, size) {
  const connection = await target.connect(store())
  const times = []
  for (let i = 0; i < size.acks; i++) {
    const started = performance.now()
    await connection.push(1)
    times.push(since(started))
    await pause(50)
  }
  return { 'ack latency at 20 pushes/s: p50 / p90 / p99 / max (ms)': at(times, 0.5, 0.9, 0.99, 1) }
}

export async function pushes(target, size) {
  const rows = {}
  const cpuPerEvent = []
  for (const batch of BATCHES) {
    const rates = []
    const cpu = target.cpu()
    let events = 0
    for (let run = 0; run < size.runs; run++) {
      const connection = await target.connect(store())
      const ms = await pushFor(connection, batch, size.ms)
      rates.push((connection.head / ms) * 1000)
      events += connection.head
    }
    cpuPerEvent.push(((target.cpu() - cpu) / events) * 1000)
    rows[`push rate, batches of ${batch} (events/s)`] = count(median(rates))
  }
  rows[`server CPU per pushed event, batches of ${BATCHES.join(' / ')} (µs)`] = cpuPerEvent.map(number).join(' / ')
  return rows
}

export async function manyStores(target, size) {
  const connections = await Promise.all(Array.from({ length: STORES }, () => target.connect(store())))
  const cpu = target.cpu()
  const started = performance.now()
  await Promise.all(connections.map((connection) => pushFor(connection, 1, size.ms)))
  const events = connections.reduce((sum, connection) => sum + connection.head, 0)
  return {
    [`push rate, ${STORES} stores at once, batches of 1 (events/s)`]: count((events / since(started)) * 1000),
    'server CPU per event of that (µs)': number(((target.cpu() - cpu) / events) * 1000),
  }
}

export async function pull(target, size) {
  const events = target.reference ? size.pullOfReference : size.pull
  const id = store()
  const pusher = await target.connect(id)
  let started = performance.now()
  while (pusher.head < events) await pusher.push(FILL_BATCH)
  const filled = (events / since(started)) * 1000

  const times = []
  target.forgetPeak()
  const memory = target.rss().now
  const cpu = target.cpu()
  let frames
  const began = performance.now()
  while (times.length < PULLS && since(began) < PULLS_MS) {
    frames = []
    started = performance.now()
    const connection = await target.connect(id)
    connection.onEvents = (frame) => frames.push(frame)
    await connection.pull()
    times.push(since(started))
    connection.close()
  }
  const cpuPerEvent = ((target.cpu() - cpu) / events / times.length) * 1000
  const pulled = frames.reduce((sum, frame) => sum + target.wire.events(frame), 0)
  if (pulled !== events) throw new Error(`pushed ${events} events, pulled ${pulled}`)
  const bytes = frames.reduce((sum, frame) => sum + frame.length, 0)
  return {
    'length of the log for the rows of fill and pull (events)': count(events),
    [`fill, batches of ${FILL_BATCH} (events/s)`]: count(filled),
    'pull of the whole log (ms)': number(median(times)),
    'pull (events/s)': count((events / median(times)) * 1000),
    'pull: MB / chunks': `${number(bytes / 1e6)} / ${count(frames.length)}`,
    'server CPU per pulled event (µs)': number(cpuPerEvent),
    'server memory: growth during the pulls (MB)': number(Math.max(0, target.rss().recentPeak - memory)),
  }
}

export async function fanOut(target, size) {
  const id = store()
  const audience = new Audience()
  while (audience.size < PULLERS) {
    const some = await Promise.all(Array.from({ length: 20 }, () => target.connect(id)))
    for (const connection of some) audience.add(connection)
    await Promise.all(some.map((connection) => connection.pull()))
  }
  const pusher = await target.connect(id)
  const rows = {}
  for (const [what, batch] of [['1 event', 1], ['a batch of 100', 100]]) {
    const times = []
    for (let i = 0; i < size.rounds; i++) {
      const started = performance.now()
      const [, reached] = await Promise.all([pusher.push(batch), audience.has(pusher.head).then(() => since(started))])
      times.push(reached)
    }
    rows[`${what} to ${PULLERS} live pullers, until all have it: p50 / max (ms)`] = at(times, 0.5, 1)
  }

  const from = pusher.head
  const cpu = target.cpu()
  const started = performance.now()
  await pushFor(pusher, 1, size.ms)
  await audience.has(pusher.head)
  const deliveries = (pusher.head - from) * PULLERS
  rows[`single pushes, one after the other, with ${PULLERS} live pullers (deliveries/s)`] = count((deliveries / since(started)) * 1000)
  rows['server CPU per delivery (µs)'] = number(((target.cpu() - cpu) / deliveries) * 1000)
  return rows
}

/** Last, because it looks back at all the others. */
export async function memory(target) {
  const { now, peak } = target.rss()
  return { 'server memory: after start / peak / after all this (MB)': [target.rssAtStart, peak, now].map(number).join(' / ') }
}

/** Live pullers, and how far they are. */
class Audience {
  #heads = []
  #wanted = Number.POSITIVE_INFINITY
  #missing = 0
  #all

  get size() {
    return this.#heads.length
  }

  add(connection) {
    const i = this.#heads.push(0) - 1
    connection.onEvents = (frame) => {
      const before = this.#heads[i]
      this.#heads[i] = Math.max(before, lastSeqNum(frame))
      if (before < this.#wanted && this.#heads[i] >= this.#wanted && --this.#missing === 0) this.#all()
    }
  }

  /** Done when all of them have the event `seqNum`. */
  has(seqNum) {
    this.#wanted = seqNum
    this.#missing = this.#heads.filter((head) => head < seqNum).length
    return new Promise((resolve) => (this.#missing === 0 ? resolve() : (this.#all = resolve)))
  }
}

const store = () => `bench-${randomUUID()}`
const since = (started) => performance.now() - started

/** Pushes for some time, each push after the ack of the one before; gives the time it took. */
async function pushFor(connection, batch, ms) {
  const started = performance.now()
  while (since(started) < ms) await connection.push(batch)
  return since(started)
}

const median = (values) => quantile(values, 0.5)
const at = (values, ...parts) => parts.map((part) => number(quantile(values, part))).join(' / ')

function quantile(values, part) {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)]
}

/** A figure with two or three digits that mean something. */
const number = (value) => (Number.isFinite(value) ? value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0) : 'not measured')
const count = (value) => Math.round(value).toLocaleString('en')
