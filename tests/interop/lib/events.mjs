// Encoded events as the sync backends take them, and reading pages back.
import { createHash } from 'node:crypto'

/** A chain of `count` events on top of `parent`. */
export function chain(parent, count, overrides = {}) {
  return Array.from({ length: count }, (_, i) => ({
    name: 'v1.TodoCreated',
    args: { id: `t${parent + i + 1}`, text: `todo ${parent + i + 1}` },
    seqNum: parent + i + 1,
    parentSeqNum: parent + i,
    clientId: 'client-a',
    sessionId: 'session-a',
    ...overrides,
  }))
}

/** One event whose args are a JSON object of exactly `bytes` bytes. */
export function bigEvent(parent, bytes) {
  const envelope = JSON.stringify({ text: '' }).length
  const args = { text: 'x'.repeat(bytes - envelope) }
  return chain(parent, 1, { args })[0]
}

/** All events of some pages, in the order they came. */
export const eventsOf = (pages) => pages.flatMap((page) => page.batch.map((item) => item.eventEncoded))

export const seqNumsOf = (pages) => eventsOf(pages).map((event) => event.seqNum)

export const range = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i)

/** For comparing big events: a difference must not print megabytes. */
export const brief = (events) =>
  events.map((event) => {
    const text = JSON.stringify(Object.entries(event).sort())
    return `e${event.seqNum} on e${event.parentSeqNum}, ${text.length} chars, ${createHash('sha256').update(text).digest('hex')}`
  })
