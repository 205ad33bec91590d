//! What must hold once everything is at rest.

use std::collections::HashMap;

use livestore_sync_protocol::rpc::{Exit, ServerMessage};
use livestore_sync_protocol::{PulledEvent, RequestId, SeqNum};
use tokio::sync::mpsc;

use super::client::{Connected, SeenPull, State, Violation};
use super::world::Offered;

pub(crate) fn all<'a>(
    log: &[PulledEvent],
    offered: &[Offered],
    open: impl Iterator<Item = &'a Connected>,
    ended: &[Connected],
    in_doubt: bool,
) -> Result<(), Violation> {
    one_chain(log)?;
    each_batch_once(log, offered)?;
    for connected in ended {
        connected.pulls.iter().try_for_each(|pull| prefix(log, pull))?;
        run(log, &connected.unasked)?;
    }
    for connected in open {
        for pull in &connected.pulls {
            prefix(log, pull)?;
            complete(log, pull)?;
        }
        run(log, &connected.unasked)?;
        let unanswered = connected.waiting.iter().find(|(_, waiting)| {
            // A refusal is lost with a 0.3 client's connection. An acknowledgement never is.
            let stored = log.iter().any(|pulled| pulled.event == offered[waiting.batch].events[0]);
            !waiting.may_be_lost || (stored && !in_doubt)
        });
        if let Some((id, waiting)) = unanswered {
            return Err(format!("the push {id} of batch {} is never answered", waiting.batch));
        }
    }
    Ok(())
}

fn one_chain(log: &[PulledEvent]) -> Result<(), Violation> {
    let mut head = SeqNum::ROOT;
    for PulledEvent { event, .. } in log {
        if event.parent_seq_num != head || event.seq_num <= head {
            return Err(format!("{} follows {head} and has the parent {}", event.seq_num, event.parent_seq_num));
        }
        head = event.seq_num;
    }
    Ok(())
}

/// What was acknowledged is there, and nothing is there twice or in part.
fn each_batch_once(log: &[PulledEvent], offered: &[Offered]) -> Result<(), Violation> {
    let mut stored: HashMap<&str, Vec<usize>> = HashMap::new();
    for (index, pulled) in log.iter().enumerate() {
        stored.entry(pulled.event.args.as_json()).or_default().push(index);
    }
    let mut found = 0;
    for (number, batch) in offered.iter().enumerate() {
        let places: Vec<_> = batch.events.iter().map(|event| stored.get(event.args.as_json())).collect();
        let stored = places.iter().flatten().count();
        if places.iter().flatten().any(|places| places.len() > 1) {
            return Err(format!("batch {number} is there twice"));
        }
        if stored == 0 && !batch.acknowledged {
            continue;
        }
        if stored != batch.events.len() {
            return Err(format!("of batch {number} {stored} of {} events are there", batch.events.len()));
        }
        if batch.rejected {
            return Err(format!("batch {number} is there, which was rejected"));
        }
        let equal = places.iter().flatten().zip(&batch.events).all(|(places, event)| log[places[0]].event == *event);
        if !equal {
            return Err(format!("batch {number} was changed"));
        }
        found += stored;
    }
    if found != log.len() { Err("there are events that nobody pushed".into()) } else { Ok(()) }
}

fn above(log: &[PulledEvent], cursor: SeqNum) -> &[PulledEvent] {
    &log[log.partition_point(|pulled| pulled.event.seq_num <= cursor)..]
}

fn prefix(log: &[PulledEvent], pull: &SeenPull) -> Result<(), Violation> {
    let expected = above(log, pull.cursor);
    if expected.starts_with(&pull.seen) {
        return Ok(());
    }
    let at = pull.seen.iter().zip(expected).take_while(|(seen, expected)| seen == expected).count();
    let number = |events: &[PulledEvent]| events.get(at).map(|pulled| pulled.event.seq_num.get());
    Err(format!("a pull from {} saw {:?} in the place of {:?}", pull.cursor, number(&pull.seen), number(expected)))
}

fn complete(log: &[PulledEvent], pull: &SeenPull) -> Result<(), Violation> {
    let all = above(log, pull.cursor).len();
    match pull.state {
        State::Running if !pull.live => Err("a pull never ends".into()),
        State::Running if pull.seen.len() < all => {
            Err(format!("a live pull from {} is at {} for ever", pull.cursor, pull.last()))
        }
        State::Ended if pull.last() < pull.known => {
            Err(format!("a pull ended at {}, but {} was known", pull.last(), pull.known))
        }
        State::Running | State::Ended | State::Over => Ok(()),
    }
}

/// A 0.3 client that never pulled got a part of the log without a hole.
fn run(log: &[PulledEvent], unasked: &[PulledEvent]) -> Result<(), Violation> {
    let Some(first) = unasked.first() else { return Ok(()) };
    let start = log.partition_point(|pulled| pulled.event.seq_num < first.event.seq_num);
    if log[start..].starts_with(unasked) { Ok(()) } else { Err("a broadcast is out of order".into()) }
}

/// An answer to a body with a push and a pull: each is answered once, and the pull saw the log from its start.
pub(crate) fn exchange(
    log: &[PulledEvent],
    offered: &mut Offered,
    known: SeqNum,
    frames: &mut mpsc::UnboundedReceiver<Vec<u8>>,
) -> Result<(), Violation> {
    let (mut seen, mut answers) = (Vec::new(), Vec::new());
    while let Ok(frame) = frames.try_recv() {
        let frame = String::from_utf8(frame).map_err(|error| error.to_string())?;
        for message in ServerMessage::decode(frame.trim_end())? {
            match message {
                ServerMessage::Chunk { values, .. } => seen.extend(values.into_iter().flat_map(|value| value.batch)),
                ServerMessage::Exit { request_id, exit } => answers.push((request_id, exit)),
                other => return Err(format!("unexpected in a body: {other:?}")),
            }
        }
    }
    let ids: Vec<_> = answers.iter().map(|(id, _)| id.clone()).collect();
    if ids != [RequestId::Number(1), RequestId::Number(2)] {
        return Err(format!("a body with a push and a pull is answered to {ids:?}"));
    }
    offered.acknowledged |= matches!(answers[0].1, Exit::Success(_));
    if !log.starts_with(&seen) {
        return Err("a pull over http saw something else than the log".into());
    }
    let last = seen.last().map_or(SeqNum::ROOT, |pulled| pulled.event.seq_num);
    if matches!(answers[1].1, Exit::Success(_)) && last < known {
        return Err(format!("a pull over http ended at {last}, but {known} was known"));
    }
    Ok(())
}
