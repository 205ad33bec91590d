// How clients of each LiveStore generation speak: what they send, and what they read from a frame.

/** A read frame: `events` = it carries events (or says there are none), `caughtUp` = no more are stored,
 *  `acked` = the id of the push that it accepts. Refusals throw. */

const request = (id, tag, payload) => JSON.stringify({ _tag: 'Request', id: String(id), tag, payload, headers: [] })
const NONE = { _tag: 'None' }

export const v04 = {
  path: (store) => `/?storeId=${store}&transport=ws`,
  pull: (id, storeId) => request(id, 'SyncWsRpc.Pull', { storeId, live: true, cursor: NONE }),
  push: (id, storeId, batch) => request(id, 'SyncWsRpc.Push', { storeId, batch, backendId: NONE }),
  taken: (id) => JSON.stringify({ _tag: 'Ack', requestId: String(id) }),
  read(frame) {
    if (starts(frame, '{"_tag":"Chunk"')) return { events: true, caughtUp: frame.includes('"NoMore"') }
    const message = JSON.parse(frame)
    if (message.exit?._tag !== 'Success') throw new Error(`refused: ${frame}`)
    return { acked: Number(message.requestId) }
  },
  events: (frame) => JSON.parse(frame).values.reduce((count, value) => count + value.batch.length, 0),
}

export const v03 = {
  path: (store) => `/websocket?storeId=${store}`,
  pull: (id) => JSON.stringify({ _tag: 'WSMessage.PullReq', requestId: String(id) }),
  push: (id, _storeId, batch) => JSON.stringify({ _tag: 'WSMessage.PushReq', requestId: String(id), batch }),
  read(frame) {
    if (starts(frame, '{"_tag":"WSMessage.PullRes"')) return { events: true, caughtUp: frame.includes('"remaining":0') }
    const message = JSON.parse(frame)
    if (message._tag !== 'WSMessage.PushAck') throw new Error(`refused: ${frame}`)
    return { acked: Number(message.requestId) }
  },
  events: (frame) => JSON.parse(frame).batch.length,
}

/** An event with about 90 bytes of args. */
export const event = (seqNum) => ({
  name: 'todoCreated',
  args: { id: `todo-${seqNum}`, text: 'about as much text as one to-do of a small app has' },
  seqNum,
  parentSeqNum: seqNum - 1,
  clientId: 'bench',
  sessionId: 'bench',
})

/** The number of the last event in a frame, 0 if it has none. Read without parsing: of the frames of a
 *  broadcast there are many, and the load generator shares the machine with the server. */
export function lastSeqNum(frame) {
  const at = frame.lastIndexOf('"seqNum":')
  return at < 0 ? 0 : Number.parseInt(frame.toString('latin1', at + 9, at + 26))
}

const starts = (frame, text) => frame.toString('latin1', 0, text.length) === text
