// LiveStore's messages in Effect 4 schemas, shaped like @livestore/sync-cf 0.4.0 src/common/*.ts.
// There is no published Effect 4 client of LiveStore yet; its repository's next version speaks through these modules.
import { Schema } from 'effect'
import { Rpc, RpcGroup } from 'effect/rpc'

const Event = Schema.Struct({
  name: Schema.String,
  args: Schema.Any,
  seqNum: Schema.Number,
  parentSeqNum: Schema.Number,
  clientId: Schema.String,
  sessionId: Schema.String,
})

const PageInfo = Schema.Union([
  Schema.TaggedStruct('MoreUnknown', {}),
  Schema.TaggedStruct('MoreKnown', { remaining: Schema.Number }),
  Schema.TaggedStruct('NoMore', {}),
])

const PullResponse = Schema.Struct({
  batch: Schema.Array(
    Schema.Struct({
      eventEncoded: Event,
      metadata: Schema.Option(Schema.TaggedStruct('SyncMessage.SyncMetadata', { createdAt: Schema.String })),
    }),
  ),
  pageInfo: PageInfo,
  backendId: Schema.String,
})

class UnknownError extends Schema.TaggedError()('UnknownError', {
  cause: Schema.Defect(),
  note: Schema.optional(Schema.String),
  payload: Schema.optional(Schema.Any),
}) {}
class ServerAheadError extends Schema.TaggedError()('ServerAheadError', {
  minimumExpectedNum: Schema.Number,
  providedNum: Schema.Number,
}) {}
class BackendIdMismatchError extends Schema.TaggedError()('BackendIdMismatchError', {
  expected: Schema.String,
  received: Schema.String,
}) {}

const store = { storeId: Schema.String, payload: Schema.optional(Schema.Any) }
const cursor = Schema.Option(Schema.Struct({ backendId: Schema.String, eventSequenceNumber: Schema.Number }))
const pushPayload = { ...store, batch: Schema.Array(Event), backendId: Schema.Option(Schema.String) }

const pullError = Schema.Union([UnknownError, BackendIdMismatchError])
const pushError = Schema.Union([UnknownError, ServerAheadError, BackendIdMismatchError])

/** Not in LiveStore: shows how a server answers an RPC it does not know. */
const unheard = (prefix) => Rpc.make(`${prefix}.Unheard`, { payload: store, success: Schema.Any })

export const SyncWsRpc = RpcGroup.make(
  Rpc.make('SyncWsRpc.Pull', {
    payload: { ...store, live: Schema.Boolean, cursor },
    success: PullResponse,
    error: pullError,
    stream: true,
  }),
  Rpc.make('SyncWsRpc.Push', { payload: pushPayload, success: Schema.Struct({}), error: pushError }),
  unheard('SyncWsRpc'),
)

export const SyncHttpRpc = RpcGroup.make(
  Rpc.make('SyncHttpRpc.Pull', { payload: { ...store, cursor }, success: PullResponse, error: pullError, stream: true }),
  Rpc.make('SyncHttpRpc.Push', { payload: pushPayload, success: Schema.Struct({}), error: pushError }),
  Rpc.make('SyncHttpRpc.Ping', { payload: store, success: Schema.TaggedStruct('SyncMessage.Pong', {}), error: UnknownError }),
  unheard('SyncHttpRpc'),
)
