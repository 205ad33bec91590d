//! Frames of 0.3: messages without types for errors, and pages that are no answers. Called by [`Dialect`].

use livestore_sync_protocol::v03::{self, ClientMessage, Context, PullReq, PushReq, Reason};
use livestore_sync_protocol::{Event, SeqNum};

use super::{Dialect, Failure, ServerMessage};
use crate::page::Page;

/// Ids must be unique among all clients, not only on this connection: servers remember them beyond it, and send the
/// events of a push to all other clients under the pusher's id.
fn id(dialect: &Dialect, request: u64) -> String {
    format!("{}-{request}", dialect.prefix)
}

/// `None` for an id that this client never gave.
fn number(dialect: &Dialect, id: &str) -> Option<u64> {
    id.strip_prefix(&dialect.prefix)?.strip_prefix('-')?.parse().ok()
}

pub(super) fn pull(dialect: &Dialect, request: u64, cursor: Option<SeqNum>) -> String {
    ClientMessage::Pull(PullReq { request_id: id(dialect, request), cursor }).encode()
}

pub(super) fn push(dialect: &Dialect, request: u64, batch: &[Event]) -> String {
    ClientMessage::Push(PushReq { request_id: id(dialect, request), batch: batch.to_vec() }).encode()
}

pub(super) fn decode(dialect: &Dialect, frame: &str) -> Result<Vec<ServerMessage>, String> {
    let message = v03::ServerMessage::decode(frame).map_err(|error| error.message)?;
    Ok(match message {
        v03::ServerMessage::Pull(answer) => {
            let page = Page { events: answer.batch, remaining: answer.remaining, backend_id: None };
            match answer.request_id.context {
                Context::Push => vec![ServerMessage::Page { request: None, page }],
                Context::Pull => match number(dialect, &answer.request_id.request_id) {
                    Some(request) if page.remaining == 0 => {
                        vec![ServerMessage::Page { request: Some(request), page }, ServerMessage::End { request }]
                    }
                    Some(request) => vec![ServerMessage::Page { request: Some(request), page }],
                    None => vec![],
                },
            }
        }
        v03::ServerMessage::PushAck(ack) => {
            number(dialect, &ack.request_id).map(|request| ServerMessage::End { request }).into_iter().collect()
        }
        v03::ServerMessage::Error(refusal) => match number(dialect, &refusal.request_id) {
            Some(request) => vec![ServerMessage::Failed { request, failure: failure(refusal.message) }],
            None if refusal.request_id.is_empty() => vec![ServerMessage::Defect { message: refusal.message }],
            None => vec![],
        },
        v03::ServerMessage::Pong(_) => vec![ServerMessage::Pong],
        v03::ServerMessage::AdminResetRoom(_) | v03::ServerMessage::AdminInfo(_) => vec![],
    })
}

/// 0.3 has texts instead of types.
fn failure(message: String) -> Failure {
    match Reason::from_message(&message) {
        Reason::ServerAhead { minimum_expected_num, provided_num } => {
            Failure::ServerAhead { minimum_expected: minimum_expected_num, provided: provided_num }
        }
        Reason::BackendIdMismatch { expected, received } => Failure::BackendIdMismatch { expected, received },
        Reason::Failed => Failure::Failed { message },
        _ => Failure::Rejected { message },
    }
}

#[cfg(test)]
mod tests {
    use super::super::Protocol;
    use super::*;

    #[test]
    fn what_a_refusal_means_is_told_by_its_words() {
        let at = |value| SeqNum::new(value).unwrap();
        for (reason, expected) in [
            (
                Reason::ServerAhead { minimum_expected_num: at(7), provided_num: at(3) },
                Failure::ServerAhead { minimum_expected: at(7), provided: at(3) },
            ),
            (
                Reason::BackendIdMismatch { expected: "b".into(), received: "a".into() },
                Failure::BackendIdMismatch { expected: "b".into(), received: "a".into() },
            ),
            (Reason::Failed, Failure::Failed { message: Reason::Failed.to_string() }),
            (Reason::Other("no".into()), Failure::Rejected { message: "no".into() }),
        ] {
            assert_eq!(failure(reason.to_string()), expected);
        }
    }

    #[test]
    fn answers_to_other_clients_are_left_out() {
        let dialect = Dialect::new(Protocol::V03, "s".into(), 7);
        let answer = |id: &str| format!(r#"{{"_tag":"WSMessage.PushAck","requestId":"{id}"}}"#);
        assert_eq!(decode(&dialect, &answer("x-1")), Ok(vec![]));
        assert_eq!(decode(&dialect, &answer(&id(&dialect, 1))), Ok(vec![ServerMessage::End { request: 1 }]));
    }
}
