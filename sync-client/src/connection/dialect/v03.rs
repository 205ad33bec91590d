use livestore_sync_protocol::v03::{ClientMessage, Context, PullReq, PushReq, ServerMessage};
use livestore_sync_protocol::{Event, SeqNum};

use super::{Dialect, Failure, Heard};
use crate::connection::types::Page;

/// Servers remember ids beyond their connection, and tell pushes to everybody: ids must be unique.
fn id(dialect: &Dialect, wire: u64) -> String {
    format!("{}-{wire}", dialect.prefix)
}

/// `None` for an id that this client never gave.
fn wire(dialect: &Dialect, id: &str) -> Option<u64> {
    id.strip_prefix(&dialect.prefix)?.strip_prefix('-')?.parse().ok()
}

pub(super) fn pull(dialect: &Dialect, wire: u64, cursor: Option<SeqNum>) -> String {
    ClientMessage::Pull(PullReq { request_id: id(dialect, wire), cursor }).encode()
}

pub(super) fn push(dialect: &Dialect, wire: u64, batch: &[Event]) -> String {
    ClientMessage::Push(PushReq { request_id: id(dialect, wire), batch: batch.to_vec() }).encode()
}

pub(super) fn decode(dialect: &Dialect, frame: &str) -> Result<Vec<Heard>, String> {
    let message = ServerMessage::decode(frame).map_err(|error| error.message)?;
    Ok(match message {
        ServerMessage::Pull(answer) => {
            let page = Page { events: answer.batch, remaining: answer.remaining, backend_id: None };
            match answer.request_id.context {
                Context::Push => vec![Heard::Page { wire: None, page }],
                Context::Pull => match wire(dialect, &answer.request_id.request_id) {
                    Some(wire) if page.remaining == 0 => {
                        vec![Heard::Page { wire: Some(wire), page }, Heard::End { wire }]
                    }
                    Some(wire) => vec![Heard::Page { wire: Some(wire), page }],
                    None => vec![],
                },
            }
        }
        ServerMessage::PushAck(ack) => {
            wire(dialect, &ack.request_id).map(|wire| Heard::End { wire }).into_iter().collect()
        }
        ServerMessage::Error(refusal) => match wire(dialect, &refusal.request_id) {
            Some(wire) => vec![Heard::Failed { wire, failure: failure(refusal.message) }],
            None if refusal.request_id.is_empty() => vec![Heard::Defect { message: refusal.message }],
            None => vec![],
        },
        ServerMessage::Pong(_) => vec![Heard::Pong],
        ServerMessage::AdminResetRoom(_) | ServerMessage::AdminInfo(_) => vec![],
    })
}

/// 0.3 has texts instead of types.
fn failure(message: String) -> Failure {
    match numbers(&message) {
        Some((provided, minimum_expected)) => Failure::ServerAhead { minimum_expected, provided },
        None => Failure::Rejected { message },
    }
}

fn numbers(message: &str) -> Option<(SeqNum, SeqNum)> {
    let (_, rest) = message.split_once("Invalid parent event number. Received e")?;
    let (provided, rest) = rest.split_once(" but expected e")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let number = |text: &str| SeqNum::new(text.parse().ok()?).ok();
    Some((number(provided)?, number(&rest[..end])?))
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn a_stale_parent_is_told_by_its_text() {
        let at = |value| SeqNum::new(value).unwrap();
        for (text, expected) in [
            ("Invalid parent event number. Received e3 but expected e7", Some((3, 7))),
            ("Error: Invalid parent event number. Received e0 but expected e12 (store)", Some((0, 12))),
            ("Invalid parent event number. Received e but expected e7", None),
            ("you may not", None),
        ] {
            let expected = expected.map(|(provided, head)| (at(provided), at(head)));
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    #[test]
    fn answers_to_other_clients_are_left_out() {
        let dialect = Dialect::new(Kind::V03, "s".into(), 7);
        let answer = |id: &str| format!(r#"{{"_tag":"WSMessage.PushAck","requestId":"{id}"}}"#);
        assert_eq!(decode(&dialect, &answer("x-1")), Ok(vec![]));
        assert_eq!(decode(&dialect, &answer(&id(&dialect, 1))), Ok(vec![Heard::End { wire: 1 }]));
    }
}
