//! The events of one push.

use std::sync::Arc;

use livestore_sync_protocol::{Event, EventRow, PulledEvent, SeqNum};

/// The events of one push, with the time at which the server took them.
#[derive(Debug)]
pub struct Batch {
    events: Arc<[Event]>,
    created_at: String,
    bytes: usize,
}

impl Batch {
    /// `events` holds at least one event, ascending; `created_at` as [`crate::iso_timestamp`] writes it.
    #[must_use]
    pub fn new(events: Arc<[Event]>, created_at: String) -> Self {
        debug_assert!(!events.is_empty(), "an empty push is answered before it gets here");
        let bytes = events.iter().map(bytes).sum();
        Self { events, created_at, bytes }
    }

    /// Groups events that were read from a log into the pushes that they came with, as far as their
    /// times tell.
    #[must_use]
    pub fn from_log(events: &[PulledEvent]) -> Vec<Self> {
        events
            .chunk_by(|left, right| left.created_at == right.created_at)
            .map(|push| {
                let events = push.iter().map(|pulled| pulled.event.clone()).collect();
                Self::new(events, push[0].created_at.clone().unwrap_or_default())
            })
            .collect()
    }

    /// The events, ascending, at least one.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// When the server took them.
    #[must_use]
    pub fn created_at(&self) -> &str {
        &self.created_at
    }

    /// Size of what an event log stores of it, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The rows that event logs store.
    pub fn rows(&self) -> impl Iterator<Item = EventRow<'_>> {
        self.events.iter().map(|event| EventRow::new(event, &self.created_at))
    }

    /// The parent of the first event.
    #[must_use]
    pub fn parent(&self) -> SeqNum {
        self.events[0].parent_seq_num
    }

    /// The last event's number.
    #[must_use]
    pub fn last(&self) -> SeqNum {
        self.events[self.events.len() - 1].seq_num
    }

    /// How many sequence numbers the batch leaves without an event.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        self.events.iter().map(|event| event.seq_num.get().abs_diff(event.parent_seq_num.get()) - 1).sum()
    }
}

/// What an event takes in memory beside its texts, about.
const EVENT_BYTES: usize = 256;

/// What these events make the server hold, about.
pub(crate) fn held_bytes(events: &[Event]) -> u64 {
    events.iter().map(|event| EVENT_BYTES + bytes(event)).sum::<usize>() as u64
}

fn bytes(event: &Event) -> usize {
    event.name.len() + event.args.as_stored().map_or(0, str::len) + event.client_id.len() + event.session_id.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_gaps() {
        let at = |number| SeqNum::new(number).expect("safe");
        let event = |(parent, seq)| Event {
            name: "n".into(),
            args: livestore_sync_protocol::Args::default(),
            seq_num: at(seq),
            parent_seq_num: at(parent),
            client_id: "c".into(),
            session_id: "s".into(),
        };
        for (numbers, gaps) in [([(0, 1), (1, 2)], 0), ([(0, 100), (100, 102)], 100)] {
            assert_eq!(Batch::new(numbers.map(event).into(), String::new()).gaps(), gaps);
        }
    }
}
