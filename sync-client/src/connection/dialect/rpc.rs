//! Frames of 0.4: requests with ids, over a WebSocket or http. Called by [`Dialect`].

use livestore_sync_protocol::rpc::{
    self, Cause, ClientMessage, Exit, PingPayload, PullPayload, PushPayload, Request, Rpc, SyncError, Transport,
};
use livestore_sync_protocol::{Cursor, Event, PageInfo, PullResponse, RequestId, SeqNum};
use serde_json::Value;

use super::{Dialect, Failure, Protocol, ServerMessage};
use crate::page::Page;

fn id(request: u64) -> RequestId {
    RequestId::Text(request.to_string())
}

/// `None` for an id that this client never gave.
fn number(id: &RequestId) -> Option<u64> {
    match id {
        RequestId::Text(text) => text.parse().ok(),
        RequestId::Number(_) => None,
    }
}

fn transport(dialect: &Dialect) -> Transport {
    if dialect.protocol == Protocol::V04Http { Transport::Http } else { Transport::Ws }
}

fn encode(request: u64, rpc: Rpc) -> String {
    let request = Request { id: id(request), rpc, headers: Vec::new(), trace_id: None, span_id: None, sampled: None };
    ClientMessage::Request(request).encode()
}

pub(super) fn pull(dialect: &Dialect, request: u64, cursor: Option<(&str, SeqNum)>, live: bool) -> String {
    let payload = PullPayload {
        store_id: dialect.store_id.clone(),
        payload: dialect.payload.clone(),
        live: (dialect.protocol == Protocol::V04Ws).then_some(live),
        cursor: cursor.map(|(backend_id, seq_num)| Cursor { backend_id: Some(backend_id.to_owned()), seq_num }),
        rpc_context: None,
    };
    encode(request, Rpc::Pull(transport(dialect), payload))
}

pub(super) fn push(dialect: &Dialect, request: u64, batch: &[Event], backend_id: Option<&str>) -> String {
    let payload = PushPayload {
        store_id: dialect.store_id.clone(),
        payload: dialect.payload.clone(),
        batch: batch.to_vec(),
        backend_id: backend_id.map(str::to_owned),
    };
    encode(request, Rpc::Push(transport(dialect), payload))
}

pub(super) fn http_ping(dialect: &Dialect, request: u64) -> String {
    let payload = PingPayload { store_id: dialect.store_id.clone(), payload: dialect.payload.clone() };
    encode(request, Rpc::Ping(Transport::Http, payload))
}

pub(super) fn ack(request: u64) -> String {
    ClientMessage::Ack { request_id: id(request) }.encode()
}

pub(super) fn interrupt(request: u64) -> String {
    ClientMessage::Interrupt { request_id: id(request) }.encode()
}

pub(super) fn decode(frame: &str) -> Result<Vec<ServerMessage>, String> {
    Ok(rpc::ServerMessage::decode(frame)?.into_iter().filter_map(meaning).collect())
}

/// `None` for what concerns no request of this client.
fn meaning(message: rpc::ServerMessage) -> Option<ServerMessage> {
    Some(match message {
        rpc::ServerMessage::Chunk { request_id, values } => {
            ServerMessage::Page { request: Some(number(&request_id)?), page: page(values)? }
        }
        rpc::ServerMessage::Exit { request_id, exit } => {
            let request = number(&request_id)?;
            match exit {
                Exit::Success(_) => ServerMessage::End { request },
                Exit::Failure(cause) => ServerMessage::Failed { request, failure: failure(&cause) },
            }
        }
        rpc::ServerMessage::Defect { defect } => ServerMessage::Defect { message: words(&defect) },
        rpc::ServerMessage::Pong => ServerMessage::Pong,
    })
}

/// One chunk is acknowledged as one, so its values become one page.
fn page(values: Vec<PullResponse>) -> Option<Page> {
    let mut values = values.into_iter();
    let mut whole = values.next()?;
    for value in values {
        whole.batch.extend(value.batch);
        whole.page_info = value.page_info;
    }
    let remaining = match whole.page_info {
        PageInfo::NoMore => 0,
        PageInfo::MoreKnown { remaining } => remaining,
        PageInfo::MoreUnknown => 1,
    };
    Some(Page { events: whole.batch, remaining, backend_id: Some(whole.backend_id) })
}

/// The cause that tells most: a typed error before a defect before an interruption.
fn failure(cause: &Cause) -> Failure {
    match cause {
        Cause::Fail { error } => match error.clone() {
            SyncError::ServerAhead { minimum_expected_num, provided_num } => {
                Failure::ServerAhead { minimum_expected: minimum_expected_num, provided: provided_num }
            }
            SyncError::BackendIdMismatch { expected, received } => Failure::BackendIdMismatch { expected, received },
            SyncError::Unknown { cause, note, .. } => {
                let message = note.unwrap_or_else(|| words(&cause));
                // How the server of this repository names a database that cannot be reached; others do not tell.
                let its_own = cause.get("name").and_then(|name| name.as_str()) == Some("EventLogError");
                if its_own { Failure::Failed { message } } else { Failure::Rejected { message } }
            }
        },
        Cause::Die { defect } => Failure::Rejected { message: words(defect) },
        Cause::Interrupt { .. } | Cause::Empty => Failure::Interrupted,
        Cause::Sequential { left, right } | Cause::Parallel { left, right } => {
            let (left, right) = (failure(left), failure(right));
            if rank(&right) > rank(&left) { right } else { left }
        }
    }
}

fn rank(failure: &Failure) -> u8 {
    match failure {
        Failure::Interrupted => 0,
        Failure::Rejected { .. } | Failure::Failed { .. } => 1,
        Failure::ServerAhead { .. } | Failure::BackendIdMismatch { .. } => 2,
    }
}

/// What a defect says to people: an error's message, a text itself, else its JSON.
fn words(defect: &Value) -> String {
    let text = defect.get("message").unwrap_or(defect);
    text.as_str().map_or_else(|| text.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(message: &str) -> Box<Cause> {
        Box::new(Cause::Fail { error: SyncError::unknown("Error", message) })
    }

    #[test]
    fn the_cause_that_tells_most_is_told() {
        let interrupt = || Box::new(Cause::interrupted(livestore_sync_protocol::Generation::V04));
        let ahead = Box::new(Cause::Fail {
            error: SyncError::ServerAhead { minimum_expected_num: SeqNum::MAX, provided_num: SeqNum::ROOT },
        });
        let rejected = |message: &str| Failure::Rejected { message: message.into() };
        for (cause, expected) in [
            (*interrupt(), Failure::Interrupted),
            (Cause::Sequential { left: fail("no"), right: interrupt() }, rejected("no")),
            (Cause::Parallel { left: interrupt(), right: fail("no") }, rejected("no")),
            (
                Cause::Parallel { left: fail("no"), right: ahead },
                Failure::ServerAhead { minimum_expected: SeqNum::MAX, provided: SeqNum::ROOT },
            ),
            (Cause::Die { defect: Value::String("oops".into()) }, rejected("oops")),
        ] {
            assert_eq!(failure(&cause), expected, "{cause:?}");
        }
    }

    #[test]
    fn answers_to_ids_of_others_are_left_out() {
        let frame = r#"{"_tag":"Exit","requestId":7,"exit":{"_tag":"Success","value":null}}"#;
        assert_eq!(decode(frame), Ok(vec![]));
        let own = decode(r#"{"_tag":"Exit","requestId":"7","exit":{"_tag":"Success","value":{}}}"#);
        assert_eq!(own, Ok(vec![ServerMessage::End { request: 7 }]));
    }
}
