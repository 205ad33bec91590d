// The 0.4.0 client whose socket goes silent (no FIN, no RST): after its ping times out it opens a new socket but does not pull
// again by itself (livestore issues 1365 and 1394). The server has to make it pull. The 0.3.1 client ignores missing pongs.
import { after, before, describe, test } from 'node:test'
import { converged, created, Store } from '../lib/clients.mjs'
import { Proxy } from '../lib/proxy.mjs'
import { anyServer, skipOnD1 } from '../lib/server.mjs'
import { BACK, freshStoreId, until } from '../lib/wait.mjs'

/** The client's ping goes out every 10 s and is missed 10 s later. */
const NOTICED = 40_000

let server
before(async () => (server = await anyServer()))
after(() => server?.stop())

async function pair(t) {
  const storeId = freshStoreId()
  const proxy = await Proxy.to(t, server.url)
  const open = (clientId, url) => Store.open(t, 'v04', { url, kind: 'ws', storeId, clientId })
  const [a, b] = await Promise.all([open('a', proxy.url), open('b', server.url)])
  await a.commit(created('0'))
  await converged([a, b], 1)
  const before = proxy.connected
  return { proxy, a, b, cameBack: () => until('the client opens a new socket', () => proxy.connected > before, NOTICED) }
}

describe('a socket falls silent', { concurrency: true, skip: skipOnD1 }, () => {
  test('the socket dies silently while others commit', async (t) => {
    const { proxy, a, b, cameBack } = await pair(t)
    proxy.lose({ toServer: true, toClient: true })
    await b.commit(created('1'))
    await converged([b], 2)
    await cameBack()
    await converged([a, b], 2, BACK)
    await a.commit(created('2'))
    await converged([a, b], 3)
  })

  test('the socket dies silently with a push on it', async (t) => {
    const { proxy, a, b, cameBack } = await pair(t)
    proxy.lose({ toServer: true, toClient: true })
    await a.commit(created('1'))
    await cameBack()
    await converged([a, b], 2, BACK)
  })

  test('the parked client commits on its new socket', async (t) => {
    const { proxy, a, b, cameBack } = await pair(t)
    proxy.lose({ toServer: true, toClient: true })
    await cameBack()
    await a.commit(created('1'))
    await b.commit(created('2'))
    await converged([a, b], 3, BACK)
  })

  test('the whole network is silent for longer than the ping timeout', async (t) => {
    const { proxy, a, b, cameBack } = await pair(t)
    proxy.lose({ toServer: true, toClient: true, future: true })
    await a.commit(created('1'))
    await b.commit(created('2'))
    await cameBack()
    proxy.open()
    await converged([a, b], 3, BACK)
  })
})
