// What a panic leaves behind. It needs a debug build of the example Worker: only that has the routes
// `/debug/wait` and `/debug/panic`.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { WebSocket } from 'ws'
import { serve, sleep, until } from './serve.mjs'

/** Nobody waits for a timeout: `/debug/wait` takes 20 s. (`wrangler dev` itself takes a second or two to print a panic.) */
const SOON_MS = 5_000

let server

before(async () => {
  server = await serve('ours', Number(process.env.DO_RPC_PORT ?? 24_712))
})
after(() => server.stop())

const event = (seqNum) => ({ name: 'e', args: { seqNum }, seqNum, parentSeqNum: seqNum - 1, clientId: 'c', sessionId: 's' })

async function call(storeId, tag, payload) {
  const body = JSON.stringify({ _tag: 'Request', id: '1', tag, payload: { storeId, ...payload }, headers: [] })
  const answer = await fetch(`${server.url}/?storeId=${storeId}&transport=http`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  assert.equal(answer.status, 200)
  return answer.json()
}

const push = (storeId, seqNum) =>
  call(storeId, 'SyncHttpRpc.Push', { batch: [event(seqNum)], backendId: { _tag: 'None' } })
async function stored(storeId) {
  const frames = await call(storeId, 'SyncHttpRpc.Pull', { cursor: { _tag: 'None' } })
  return frames.flatMap(({ values = [] }) => values.flatMap(({ batch }) => batch)).map(({ eventEncoded }) => eventEncoded.seqNum)
}

/** A request that is answered or fails; how, and how long it took. */
async function debug(storeId, what) {
  const started = Date.now()
  const answer = await fetch(`${server.url}/debug/${what}?storeId=${storeId}&transport=http`, {
    method: 'POST',
    signal: AbortSignal.timeout(30_000),
  })
  return { status: answer.status, ms: Date.now() - started }
}

async function livePull(storeId) {
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/?storeId=${storeId}&transport=ws`)
  const pull = { frames: [], closed: undefined }
  socket.on('message', (text) => pull.frames.push(JSON.parse(text)))
  socket.on('close', (code) => (pull.closed = code))
  await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
  const payload = { storeId, live: true, cursor: { _tag: 'None' } }
  socket.send(JSON.stringify({ _tag: 'Request', id: '0', tag: 'SyncWsRpc.Pull', payload, headers: [] }))
  await until('the backlog', () => pull.frames.length > 0)
  return pull
}

test('after a panic nobody hangs and nothing is lost', { timeout: 60_000 }, async () => {
  const [exit] = await push('a', 1)
  assert.equal(exit.exit._tag, 'Success')
  await push('b', 1)
  const [a, b, idle] = [await livePull('a'), await livePull('b'), await livePull('idle')]

  // Two objects have calls in flight.
  const waiting = [debug('a', 'wait'), debug('b', 'wait')]
  await sleep(300)
  const panicked = await debug('a', 'panic')
  assert.ok(panicked.status >= 500 && panicked.ms < SOON_MS, `the caller that panicked: ${JSON.stringify(panicked)}`)
  for (const call of waiting) {
    const { status, ms } = await call
    assert.ok(status >= 500 && ms < SOON_MS, `a caller in flight: ${status} after ${ms} ms`)
  }
  await until('the sockets close', () => a.closed && b.closed, SOON_MS)
  assert.deepEqual([a.closed, b.closed], [4408, 4408])

  // What was acknowledged is there, and everything goes on.
  assert.deepEqual(await stored('a'), [1])
  assert.deepEqual(await stored('b'), [1])
  await push('a', 2)
  assert.deepEqual(await stored('a'), [1, 2])
  const again = await livePull('a')
  await push('a', 3)
  await until('the live event', () => again.frames.some(({ values }) => values?.[0].batch[0]?.eventEncoded.seqNum === 3))

  // An object that had nothing to do goes on.
  await push('idle', 1)
  await until('the live event', () => idle.frames.some(({ values }) => values?.[0].batch[0]?.eventEncoded.seqNum === 1))
  assert.equal(idle.closed, undefined)
})

test('panics do not add up', { timeout: 60_000 }, async () => {
  for (let seqNum = 1; seqNum <= 5; seqNum++) {
    await push('often', seqNum)
    assert.ok((await debug('often', 'panic')).ms < SOON_MS)
  }
  assert.deepEqual(await stored('often'), [1, 2, 3, 4, 5])
})
