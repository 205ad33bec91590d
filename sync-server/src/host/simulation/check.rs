//! What must hold once everything is at rest.

use std::collections::HashMap;

use livestore_sync_server::protocol::{PulledEvent, SeqNum};

use crate::client::{Connected, SeenPull, State, Violation};
use crate::world::Offered;

pub(crate) fn all<'a>(
    log: &[PulledEvent],
    offered: &[Offered],
    open: impl Iterator<Item = &'a Connected>,
    ended: &[Connected],
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
        if let Some((id, waiting)) = connected.waiting.first_key_value() {
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
