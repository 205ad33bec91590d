//! Batches as servers take them.

use std::io;

use livestore_sync_protocol::{Event, limits};

use crate::InvalidBatch;

/// Events in one push, as the published clients have it (`MAX_PUSH_EVENTS_PER_REQUEST` of sync-cf).
pub const PUSH_EVENTS_MAX: usize = limits::CHUNK_EVENTS_MAX;

/// Size of the events of one push as a JSON array, as the published clients have it.
pub const PUSH_BYTES_MAX: usize = limits::CHUNK_BYTES_MAX;

/// Cuts a batch into batches that fit into a push each: of at most [`PUSH_EVENTS_MAX`] events and
/// [`PUSH_BYTES_MAX`] bytes.
///
/// # Errors
///
/// [`InvalidBatch`] if the events are no chain, or one is too large for a push.
pub fn chunks(events: Vec<Event>) -> Result<Vec<Vec<Event>>, InvalidBatch> {
    let mut chunks = Vec::new();
    let mut chunk: Vec<Event> = Vec::new();
    // The brackets.
    let mut size = 2;
    let mut previous = events.first().map(|event| event.parent_seq_num);
    for event in events {
        let (seq_num, parent) = (event.seq_num, event.parent_seq_num);
        if let Some(previous) = previous.filter(|previous| *previous != parent) {
            return Err(InvalidBatch::Chain { seq_num, parent, previous });
        }
        if seq_num <= parent {
            return Err(InvalidBatch::Order { seq_num, parent });
        }
        previous = Some(seq_num);
        let bytes = bytes(&event);
        if bytes + 2 > PUSH_BYTES_MAX {
            return Err(InvalidBatch::TooLarge { seq_num, bytes });
        }
        if chunk.len() == PUSH_EVENTS_MAX || size + bytes + 1 > PUSH_BYTES_MAX + usize::from(chunk.is_empty()) {
            chunks.push(std::mem::take(&mut chunk));
            size = 2;
        }
        // A comma before all but the first.
        size += bytes + usize::from(!chunk.is_empty());
        chunk.push(event);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// An event's size as JSON.
fn bytes(event: &Event) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    serde_json::to_writer(&mut count, event).expect("events have a JSON form");
    count.0
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::{Args, SeqNum};

    use super::*;

    fn at(value: i64) -> SeqNum {
        SeqNum::new(value).unwrap()
    }

    fn event(seq_num: i64, parent: i64, args_bytes: usize) -> Event {
        Event {
            name: "n".into(),
            args: Args::from_json(format!("\"{}\"", "x".repeat(args_bytes))).unwrap(),
            seq_num: at(seq_num),
            parent_seq_num: at(parent),
            client_id: "c".into(),
            session_id: "s".into(),
        }
    }

    fn sizes(events: Vec<Event>) -> Vec<usize> {
        chunks(events).unwrap().iter().map(Vec::len).collect()
    }

    #[test]
    fn chunks_have_at_most_100_events() {
        let events = |count| (1..=count).map(|n| event(n, n - 1, 1)).collect();
        assert_eq!(sizes(events(0)), Vec::<usize>::new());
        assert_eq!(sizes(events(100)), [100]);
        assert_eq!(sizes(events(101)), [100, 1]);
        assert_eq!(sizes(events(250)), [100, 100, 50]);
    }

    #[test]
    fn chunks_have_at_most_900_000_bytes() {
        // Two events, brackets and a comma that fill a push to the byte.
        let empty = bytes(&event(1, 0, 0));
        let rest = PUSH_BYTES_MAX - 3 - 2 * empty;
        let pair = |more| vec![event(1, 0, rest / 2), event(2, 1, rest - rest / 2 + more)];
        assert_eq!(serde_json::to_string(&pair(0)).unwrap().len(), PUSH_BYTES_MAX);
        assert_eq!(sizes(pair(0)), [2]);
        assert_eq!(sizes(pair(1)), [1, 1]);
    }

    #[test]
    fn an_event_may_fill_a_push() {
        let room = PUSH_BYTES_MAX - 2 - bytes(&event(1, 0, 0));
        assert_eq!(sizes(vec![event(1, 0, room)]), [1]);
        let error = chunks(vec![event(1, 0, room + 1)]).unwrap_err();
        assert_eq!(error, InvalidBatch::TooLarge { seq_num: at(1), bytes: PUSH_BYTES_MAX - 1 });
    }

    #[test]
    fn what_is_no_chain_is_refused() {
        let broken = InvalidBatch::Chain { seq_num: at(9), parent: at(8), previous: at(7) };
        assert_eq!(chunks(vec![event(7, 3, 1), event(9, 8, 1)]), Err(broken));
        let descending = InvalidBatch::Order { seq_num: at(3), parent: at(3) };
        assert_eq!(chunks(vec![event(3, 3, 1)]), Err(descending));
        // Numbers may be left out.
        assert_eq!(sizes(vec![event(7, 3, 1), event(9, 7, 1)]), [2]);
    }
}
