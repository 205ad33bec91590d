//! Strategies for whole messages.

use livestore_sync_protocol::rpc::{
    CallerContext, Cause, Exit, FiberId, PingPayload, PullPayload, PushPayload, Request, Rpc, RpcContext, SyncError,
    Transport,
};
use livestore_sync_protocol::{RequestId, rpc, v03};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::values::{cursor, events, number_id, pull_response, pulled, raw, seq_num, text, text_id};

pub(crate) fn v03_client() -> impl Strategy<Value = v03::ClientMessage> {
    use v03::{AdminReq, ClientMessage, Id, PullReq, PushReq};
    let admin = || (text(), text()).prop_map(|(request_id, admin_secret)| AdminReq { request_id, admin_secret });
    prop_oneof![
        (text(), option::of(seq_num()))
            .prop_map(|(request_id, cursor)| ClientMessage::Pull(PullReq { request_id, cursor })),
        (text(), events()).prop_map(|(request_id, batch)| ClientMessage::Push(PushReq { request_id, batch })),
        text().prop_map(|request_id| ClientMessage::Ping(Id { request_id })),
        admin().prop_map(ClientMessage::AdminResetRoom),
        admin().prop_map(ClientMessage::AdminInfo),
    ]
}

pub(crate) fn v03_server() -> impl Strategy<Value = v03::ServerMessage> {
    use v03::{AdminInfo, AdminInfoRes, Context, Id, PullRes, PullResId, Refusal, ServerMessage};
    let id = || text().prop_map(|request_id| Id { request_id });
    let pull_id = (prop_oneof![Just(Context::Pull), Just(Context::Push)], text())
        .prop_map(|(context, request_id)| PullResId { context, request_id });
    prop_oneof![
        (pulled(), pull_id, any::<u64>()).prop_map(|(batch, request_id, remaining)| ServerMessage::Pull(PullRes {
            batch,
            request_id,
            remaining
        })),
        id().prop_map(ServerMessage::PushAck),
        (text(), text()).prop_map(|(request_id, message)| ServerMessage::Error(Refusal { request_id, message })),
        id().prop_map(ServerMessage::Pong),
        id().prop_map(ServerMessage::AdminResetRoom),
        (text(), text()).prop_map(|(request_id, durable_object_id)| ServerMessage::AdminInfo(AdminInfoRes {
            request_id,
            info: AdminInfo { durable_object_id }
        })),
    ]
}

fn call() -> impl Strategy<Value = Rpc> {
    let caller = (text(), text()).prop_map(|(binding_name, durable_object_id)| {
        Box::new(RpcContext { caller_context: CallerContext { binding_name, durable_object_id } })
    });
    let pull = (text(), option::of(raw()), any::<bool>(), cursor(), option::of(caller));
    let push = (text(), option::of(raw()), events(), option::of(text()));
    let transport = || prop::sample::select(vec![Transport::Ws, Transport::Http, Transport::DurableObject]);
    prop_oneof![
        (transport(), pull).prop_map(|(transport, (store_id, payload, live, cursor, rpc_context))| {
            let live = (transport == Transport::Ws).then_some(live);
            Rpc::Pull(transport, PullPayload { store_id, payload, live, cursor, rpc_context })
        }),
        (transport(), push).prop_map(|(transport, (store_id, payload, batch, backend_id))| {
            Rpc::Push(transport, PushPayload { store_id, payload, batch, backend_id })
        }),
        (any::<bool>(), text(), option::of(raw())).prop_map(|(object, store_id, payload)| {
            let transport = if object { Transport::DurableObject } else { Transport::Http };
            Rpc::Ping(transport, PingPayload { store_id, payload })
        }),
    ]
}

pub(crate) fn rpc_client() -> impl Strategy<Value = rpc::ClientMessage> {
    use rpc::ClientMessage;
    let id = || prop_oneof![text_id(), number_id()];
    let tracing = (option::of(text()), option::of(text()), option::of(any::<bool>()));
    let request = (id(), call(), vec((text(), text()), 0..3), tracing).prop_map(
        |(id, rpc, headers, (trace_id, span_id, sampled))| Request { id, rpc, headers, trace_id, span_id, sampled },
    );
    prop_oneof![
        4 => request.prop_map(ClientMessage::Request),
        1 => id().prop_map(|request_id| ClientMessage::Ack { request_id }),
        1 => id().prop_map(|request_id| ClientMessage::Interrupt { request_id }),
        1 => Just(ClientMessage::Ping),
        1 => Just(ClientMessage::Eof),
    ]
}

fn defect() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::String),
        (text(), text()).prop_map(|(name, message)| json!({ "name": name, "message": message })),
    ]
}

fn error() -> impl Strategy<Value = SyncError> {
    prop_oneof![
        (seq_num(), seq_num()).prop_map(|(minimum_expected_num, provided_num)| SyncError::ServerAhead {
            minimum_expected_num,
            provided_num
        }),
        (text(), text()).prop_map(|(expected, received)| SyncError::BackendIdMismatch { expected, received }),
        (defect(), option::of(text()), option::of(defect())).prop_map(|(cause, note, payload)| SyncError::Unknown {
            cause,
            note,
            payload
        }),
    ]
}

fn leaf(fiber_id: impl Strategy<Value = FiberId> + 'static) -> impl Strategy<Value = Cause> {
    prop_oneof![
        error().prop_map(|error| Cause::Fail { error }),
        defect().prop_map(|defect| Cause::Die { defect }),
        fiber_id.prop_map(|fiber_id| Cause::Interrupt { fiber_id }),
    ]
}

/// The trees of 0.4.
fn tree() -> impl Strategy<Value = Cause> {
    let none = Just(FiberId::Object(json!({ "_tag": "None" })));
    let runtime =
        any::<i32>().prop_map(|id| FiberId::Object(json!({ "_tag": "Runtime", "id": id, "startTimeMillis": 0 })));
    let leaf = prop_oneof![Just(Cause::Empty), leaf(prop_oneof![none, runtime])];
    leaf.prop_recursive(5, 16, 2, |inner| {
        let pair = (inner.clone(), inner).prop_map(|(left, right)| (Box::new(left), Box::new(right)));
        (any::<bool>(), pair).prop_map(|(parallel, (left, right))| {
            if parallel { Cause::Parallel { left, right } } else { Cause::Sequential { left, right } }
        })
    })
}

/// The causes that next's arrays are read as.
fn list() -> impl Strategy<Value = Cause> {
    let fiber_id = prop_oneof![Just(FiberId::Unknown), any::<i32>().prop_map(|id| FiberId::Number(id.into()))];
    vec(leaf(fiber_id), 0..4).prop_map(|leaves| {
        let pairs =
            leaves.into_iter().reduce(|left, right| Cause::Sequential { left: left.into(), right: right.into() });
        pairs.unwrap_or(Cause::Empty)
    })
}

fn rpc_server(
    id: impl Strategy<Value = RequestId> + Clone + 'static,
    cause: impl Strategy<Value = Cause> + 'static,
) -> impl Strategy<Value = rpc::ServerMessage> {
    use rpc::ServerMessage;
    let exit = prop_oneof![option::of(raw()).prop_map(Exit::Success), cause.prop_map(Exit::Failure)];
    prop_oneof![
        3 => (id.clone(), vec(pull_response(), 1..3))
            .prop_map(|(request_id, values)| ServerMessage::Chunk { request_id, values }),
        3 => (id, exit).prop_map(|(request_id, exit)| ServerMessage::Exit { request_id, exit }),
        1 => defect().prop_map(|defect| ServerMessage::Defect { defect }),
        1 => Just(ServerMessage::Pong),
    ]
}

pub(crate) fn v04_server() -> impl Strategy<Value = rpc::ServerMessage> {
    rpc_server(text_id().boxed(), tree())
}

pub(crate) fn next_server() -> impl Strategy<Value = rpc::ServerMessage> {
    rpc_server(number_id().boxed(), list())
}
