// What published stores do when they may not: read-only tokens, tokens that expire, and tokens that are refused. They must
// neither stop for good nor ask without pause.
import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, sign } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { converged, created, Store } from '../lib/clients.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { OwnServer, skipOnD1 } from '../lib/server.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

const KINDS = [
  { label: '0.3.1', generation: 'v03' },
  { label: '0.4.0 ws', generation: 'v04', kind: 'ws' },
  { label: '0.4.0 http', generation: 'v04', kind: 'http' },
]
const SOCKETS = KINDS.filter(({ kind }) => kind !== 'http')
const [SECRET, OTHER] = ['a:a secret of at least 32 bytes for a', 'b:a secret of at least 32 bytes for b']
/** Longer than 0.4.0 waits between two attempts. */
/** How long a client is watched that may not ... */
const WATCHED = 12_000
/** ... and how often it may connect meanwhile. 0.3.1 doubles its pauses from 100 ms on, and asks for the reason of each
 * refusal, which is a connection as well. */
const ATTEMPTS = 20

const json = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
function token(claims, secret = SECRET) {
  const [kid, key] = secret.split(':')
  const signed = `${json({ alg: 'HS256', kid })}.${json({ sub: 'ada', stores: ['*'], exp: Date.now() / 1_000 + 3_600, ...claims })}`
  return `${signed}.${createHmac('sha256', key).update(signed).digest('base64url')}`
}
const payload = (claims, secret) => ({ authToken: token(claims, secret) })

process.env.LIVESTORE_SYNC_AUTH_SECRETS = SECRET
process.env.LIVESTORE_SYNC_AUTH_LEEWAY = '0'
process.env.LIVESTORE_SYNC_EXPIRY_GRACE = '2'

let server
before(async () => (server = await OwnServer.start()))
after(() => server?.stop())

async function newDirectory(t) {
  const directory = await mkdtemp(join(tmpdir(), 'livestore-interop-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

/** What a client does in some seconds: connections, and pieces of data. */
async function watch(proxy) {
  const { connected, sent } = proxy
  await sleep(WATCHED)
  return { connected: proxy.connected - connected, sent: proxy.sent - sent }
}

const opener = (generation, kind) => (t, url, storeId, clientId, payload, directory) =>
  Store.open(t, generation, { url, kind, storeId, clientId, payload, directory })

for (const { label, generation, kind } of KINDS) {
  describe(label, { concurrency: 3, skip: skipOnD1 }, () => {
    const open = opener(generation, kind)

    test('a read-only client has what others commit, and keeps what it commits itself', async (t) => {
      const storeId = freshStoreId()
      const proxy = await Proxy.to(t, server.url)
      const directory = await newDirectory(t)
      const writer = await open(t, server.url, storeId, 'writer', payload())
      await writer.commit(created('1'))
      const reader = await open(t, proxy.url, storeId, 'reader', payload({ access: 'read' }), directory)
      await converged([writer, reader], 1, BACK)
      await reader.commit(created('mine'))
      const busy = await watch(proxy)
      t.diagnostic(`with a refused push: ${JSON.stringify(busy)}`)
      // Live pulls over http are polls.
      assert.ok(busy.connected <= 2 && busy.sent <= (kind === 'http' ? 60 : 20), JSON.stringify(busy))
      assert.equal((await reader.syncState()).pending, 1)
      await writer.commit(created('2'))
      await until('what others commit arrives', async () => (await reader.rows()).some((row) => row.id === '2'), BACK)
      // Given the right to, what was kept gets out.
      await reader.driver.stop()
      const promoted = await open(t, server.url, storeId, 'reader', payload(), directory)
      await converged([writer, promoted], 3, BACK)
    })
  })
}

for (const { label, generation, kind } of SOCKETS) {
  describe(`${label}, refused`, { concurrency: 3, skip: skipOnD1 }, () => {
    const open = opener(generation, kind)

    test('a token that expires ends the connection; a new one goes on', async (t) => {
      const storeId = freshStoreId()
      const proxy = await Proxy.to(t, server.url)
      const directory = await newDirectory(t)
      const writer = await open(t, server.url, storeId, 'writer', payload())
      // On a loaded machine a store takes its time to open.
      const expires = Date.now() + 30_000
      const short = await open(t, proxy.url, storeId, 'short', payload({ exp: expires / 1_000 }), directory)
      await short.commit(created('1'))
      await converged([writer, short], 1)
      await sleep(Math.max(0, expires - Date.now()) + 200)
      await short.commit(created('2'))
      // A Worker's alarm may be late by moments.
      const { connected } = proxy
      await until('the closed client has asked for a new connection', () => proxy.connected > connected, BACK)
      const busy = await watch(proxy)
      t.diagnostic(`with an expired token: ${JSON.stringify(busy)}`)
      assert.ok(busy.connected <= ATTEMPTS && busy.sent <= 2 * ATTEMPTS, JSON.stringify(busy))
      assert.equal((await short.syncState()).pending, 1)
      await writer.commit(created('3'))
      await short.driver.stop()
      const renewed = await open(t, server.url, storeId, 'short', payload(), directory)
      await converged([writer, renewed], 3, BACK)
    })
  })
}

describe('rotation', { concurrency: 3, skip: skipOnD1 }, () => {
  let rotated
  before(async () => (rotated = await OwnServer.start()))
  after(() => rotated?.stop())

  test('clients whose secret was taken out of use come back by themselves once it counts again', async (t) => {
    const clients = await Promise.all(
      SOCKETS.map(async ({ label, generation, kind }) => {
        const [storeId, proxy] = [freshStoreId(), await Proxy.to(t, rotated.url)]
        const store = await Store.open(t, generation, { url: proxy.url, kind, storeId, clientId: label.replaceAll(/\W/g, ''), payload: payload() })
        await store.commit(created('1'))
        await converged([store], 1)
        return { label, store, proxy }
      }),
    )
    await rotated.kill('SIGTERM')
    process.env.LIVESTORE_SYNC_AUTH_SECRETS = OTHER
    await rotated.restart()
    for (const { store } of clients) await store.commit(created('2'))
    const busy = await Promise.all(clients.map(({ proxy }) => watch(proxy)))
    clients.forEach(({ label }, n) => {
      t.diagnostic(`${label}, refused: ${JSON.stringify(busy[n])}`)
      assert.ok(busy[n].connected <= ATTEMPTS, `${label}: ${JSON.stringify(busy[n])}`)
    })
    await rotated.kill('SIGTERM')
    process.env.LIVESTORE_SYNC_AUTH_SECRETS = `${OTHER},${SECRET}`
    await rotated.restart()
    for (const { label, store } of clients) {
      t.diagnostic(`${label} is back`)
      await converged([store], 2, BACK)
    }
    process.env.LIVESTORE_SYNC_AUTH_SECRETS = SECRET
  })
})

/** Key pairs with what makes tokens of them. */
const PAIRS = [
  ['RS256', ['rsa', { modulusLength: 2048 }], (bytes, key) => sign('sha256', bytes, key)],
  ['ES256', ['ec', { namedCurve: 'P-256' }], (bytes, key) => sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' })],
  ['EdDSA', ['ed25519', {}], (bytes, key) => sign(null, bytes, key)],
].map(([alg, pair, how]) => {
  const { privateKey, publicKey } = generateKeyPairSync(...pair)
  return {
    alg,
    jwk: { ...publicKey.export({ format: 'jwk' }), kid: alg },
    token(kid = alg) {
      const signed = `${json({ alg, kid })}.${json({ sub: 'ada', stores: ['*'], exp: Date.now() / 1_000 + 60 })}`
      return `${signed}.${how(Buffer.from(signed), privateKey).toString('base64url')}`
    },
  }
})

/** What a ping over http is answered. */
async function ask(url, token) {
  const body = JSON.stringify({ _tag: 'Request', id: '1', tag: 'SyncHttpRpc.Ping', payload: { storeId: 'a', payload: null }, headers: [] })
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }
  const response = await fetch(`${url}/?storeId=a&transport=http`, { method: 'POST', headers, body })
  return `${response.status} ${response.status === 200 ? '' : await response.text()}`
}

describe('public keys', { skip: skipOnD1 }, () => {
  test('of a text and of a URL, which is asked once however many unknown keys are named', async (t) => {
    let asked = 0
    const keys = createServer((_, response) => {
      asked++
      response.end(JSON.stringify({ keys: PAIRS.slice(1).map(({ jwk }) => jwk) }))
    })
    await new Promise((done) => keys.listen(0, '127.0.0.1', done))
    t.after(() => keys.close())
    process.env.LIVESTORE_SYNC_AUTH_JWKS = JSON.stringify({ keys: [PAIRS[0].jwk] })
    process.env.LIVESTORE_SYNC_AUTH_JWKS_URL = `http://127.0.0.1:${keys.address().port}/jwks.json`
    const server = await OwnServer.start()
    t.after(() => server.stop())
    delete process.env.LIVESTORE_SYNC_AUTH_JWKS
    delete process.env.LIVESTORE_SYNC_AUTH_JWKS_URL
    assert.equal(await ask(server.url, PAIRS[0].token()), '200 ')
    assert.equal(asked, 0, 'its key is known')
    for (const pair of PAIRS) {
      assert.equal(await ask(server.url, pair.token()), '200 ', pair.alg)
      const [header, claims, signature] = pair.token().split('.')
      const forged = [header, json({ sub: 'root', stores: ['*'], exp: Date.now() / 1_000 + 60 }), signature].join('.')
      assert.match(await ask(server.url, forged), /^401 .*signature is wrong/, pair.alg)
    }
    const unknown = await Promise.all(Array.from({ length: 50 }, (_, n) => ask(server.url, PAIRS[1].token(`unknown-${n}`))))
    unknown.forEach((answer) => assert.match(answer, /^401 .*key is not known: kid "unknown-/))
    assert.equal(await ask(server.url, token()), '200 ', 'secrets count beside')
    assert.match(await ask(server.url), /^401 no token/)
    assert.equal(asked, 1)
  })
})
