// Clients that are Durable Objects, on the published adapter, against the example Worker (or, with
// DO_RPC_SERVER=reference, against the published server). See ../README.md.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { serve, sleep, until } from './serve.mjs'

const SERVER = process.env.DO_RPC_SERVER ?? 'ours'
/** Objects without anything to do for ten seconds leave the memory. */
const EVICTION_MS = 12_000

let server

before(async () => {
  server = await serve(SERVER, Number(process.env.DO_RPC_PORT ?? 24_711))
})
after(() => server.stop())

async function ask(client, body) {
  const answer = await fetch(`${server.url}/client/${client}`, { method: 'POST', body: JSON.stringify(body) })
  const text = await answer.text()
  assert.ok(answer.ok, `${client} ${body.op}: ${text.slice(0, 500)}\n${server.log().slice(-3_000)}`)
  return JSON.parse(text)
}

const created = (id, text = '') => ({ name: 'v1.TodoCreated', args: { id, text } })
const ids = ({ rows }) => rows.map(({ id }) => id)

/** Waits until all of these clients have exactly these rows and nothing to push. */
const converge = (storeId, clients, expected) =>
  until(`${clients} have ${expected}`, async () => {
    const states = await Promise.all(clients.map((client) => ask(client, { op: 'look', storeId })))
    return states.every((state) => state.pending === 0 && ids(state).join() === expected.join())
  })

/** Each client has one chain of events, without holes and repetitions. */
async function assertChain(client, from = 1) {
  const updates = await ask(client, { op: 'updates' })
  const events = updates.flatMap(({ payload }) => payload.values.flatMap(({ batch }) => batch))
  events.forEach(({ eventEncoded }, at) => assert.equal(eventEncoded.seqNum, events[0].eventEncoded.seqNum + at))
  if (events.length > 0) assert.ok(events[0].eventEncoded.seqNum >= from)
  return updates
}

test('a client gets its own events back and finds them again', async () => {
  const storeId = 'alone'
  await ask('alone-a', { op: 'commit', storeId, events: [created('1', 'ü🚀"\\')] })
  await converge(storeId, ['alone-a'], ['1'])
  const { rows } = await ask('alone-b', { op: 'look', storeId })
  assert.equal(rows[0].text, 'ü🚀"\\')
})

test('two clients see each other live', async () => {
  const storeId = 'two'
  const clients = ['two-a', 'two-b']
  for (const client of clients) await ask(client, { op: 'look', storeId })
  const expected = []
  for (let n = 0; n < 6; n++) {
    const id = `${n}`
    await ask(clients[n % 2], { op: 'commit', storeId, events: [created(id)] })
    expected.push(id)
    await converge(storeId, clients, expected)
  }
  for (const client of clients) {
    const [{ payload, storeId: named }] = await assertChain(client)
    assert.deepEqual(Object.keys(payload), ['_tag', 'requestId', 'values'])
    assert.equal(payload._tag, 'Chunk')
    assert.deepEqual(Object.keys(payload.values[0]), ['batch', 'pageInfo', 'backendId'])
    if (SERVER === 'ours') assert.equal(named, storeId)
  }
})

test('a large backlog comes in one piece', async () => {
  const storeId = 'large'
  const all = Array.from({ length: 450 }, (_, n) => `${1000 + n}`)
  for (let at = 0; at < all.length; at += 50) {
    await ask('large-a', { op: 'commit', storeId, events: all.slice(at, at + 50).map((id) => created(id, 'x'.repeat(200))) })
  }
  await converge(storeId, ['large-a'], all)
  await converge(storeId, ['large-b'], all)
})

test('live pulls go on after the objects have left the memory', { timeout: 90_000 }, async () => {
  const storeId = 'evicted'
  const clients = ['evicted-a', 'evicted-b']
  await ask(clients[0], { op: 'commit', storeId, events: [created('1')] })
  await converge(storeId, clients, ['1'])
  // Only the server is left alone: a client that is left alone has no store to bring events to.
  const end = Date.now() + EVICTION_MS
  while (Date.now() < end) {
    for (const client of clients) await ask(client, { op: 'updates' })
    await sleep(1_000)
  }
  await ask(clients[1], { op: 'commit', storeId, events: [created('2')] })
  await converge(storeId, clients, ['1', '2'])
  for (const client of clients) await assertChain(client)
})

test('a client that fails holds up nobody', async () => {
  const storeId = 'failing'
  const clients = ['failing-a', 'failing-b']
  for (const client of [...clients, 'failing-c']) await ask(client, { op: 'look', storeId })
  await ask('failing-c', { op: 'fail', storeId })
  for (let n = 0; n < 3; n++) {
    const started = Date.now()
    await ask(clients[0], { op: 'commit', storeId, events: [created(`${n}`)] })
    await converge(storeId, clients, Array.from({ length: n + 1 }, (_, m) => `${m}`))
    assert.ok(Date.now() - started < 3_000)
  }
})

test('what a panic interrupts is brought later', { skip: SERVER !== 'ours' && 'only ours has the route' }, async () => {
  const storeId = 'broken'
  const clients = ['broken-a', 'broken-b']
  for (const client of clients) await ask(client, { op: 'look', storeId })
  await ask(clients[0], { op: 'commit', storeId, events: [created('1')] })
  await converge(storeId, clients, ['1'])
  await ask(clients[1], { op: 'fail', storeId })
  await ask(clients[0], { op: 'commit', storeId, events: [created('2')] })
  await converge(storeId, [clients[0]], ['1', '2'])
  await sleep(300)
  await fetch(`${server.url}/debug/panic?storeId=${storeId}&transport=http`, { method: 'POST' })
  await ask(clients[1], { op: 'heal', storeId })
  await ask(clients[0], { op: 'commit', storeId, events: [created('3')] })
  await converge(storeId, clients, ['1', '2', '3'])
  for (const client of clients) await assertChain(client)
})
