//! How much fits into a push. The crate's only place for that: batches that an app pushes are cut here, and the offline
//! store takes from here how many pending events go into its next push.
//!
//! Two limits, because two things can go wrong. What is over [`PUSH_BYTES_MAX`] no server takes in one push. An event
//! that is just below it can be pushed, but the reference then cannot serve it: it puts the log's id, page information
//! and a date beside it, finds the page too large, and fails every pull from there on. So events that this crate makes
//! itself have to stay below [`NEW_EVENT_BYTES_MAX`].

use std::io;

use livestore_sync_protocol::{Event, SeqNum, limits};

/// Events in one push of this client, as the published clients have it (`MAX_PUSH_EVENTS_PER_REQUEST` of sync-cf).
/// Servers may take more; this project's takes [`limits::BATCH_EVENTS_MAX`].
pub const PUSH_EVENTS_MAX: usize = limits::CHUNK_EVENTS_MAX;

/// Size in bytes of the events of one push as a JSON array, as the published clients have it.
pub const PUSH_BYTES_MAX: usize = limits::CHUNK_BYTES_MAX;

/// Size in bytes of one event that is committed or appended, as JSON. It leaves room for all that may travel beside it:
/// the store's id and the payload in the push, the log's id and page information in the pull, and in both a date and
/// numbers that grow when the event is rebased.
pub const NEW_EVENT_BYTES_MAX: usize = limits::CHUNK_BYTES_MAX
    - limits::STORE_ID_BYTES_MAX
    - limits::PAYLOAD_BYTES_MAX
    - limits::CHUNK_ENVELOPE_BYTES_MAX
    - GROWTH_BYTES_MAX;

/// Two numbers of 16 digits instead of one, and a date with its members.
const GROWTH_BYTES_MAX: usize = 256;

/// The brackets around a batch.
const BRACKETS: usize = 2;

/// Why a batch cannot be pushed to any server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBatch {
    /// An event does not follow the one before it.
    #[error("event {seq_num} has the parent {parent}, but the event before it is {previous}")]
    Chain {
        /// The event.
        seq_num: SeqNum,
        /// Its parent.
        parent: SeqNum,
        /// The event before it in the batch.
        previous: SeqNum,
    },
    /// An event's number is not above its parent's: there is none above it, or it was given so.
    #[error("event {seq_num} is not above its parent {parent}")]
    Order {
        /// The event.
        seq_num: SeqNum,
        /// Its parent.
        parent: SeqNum,
    },
    /// An event's number is further above its parent's than servers take
    /// ([`GAP_MAX`](livestore_sync_protocol::limits::GAP_MAX)): numbers end, and one event near the end would be the log's
    /// last.
    #[error("event {seq_num} is too far above its parent {parent}, the limit is {max}", max = limits::GAP_MAX)]
    Gap {
        /// The event.
        seq_num: SeqNum,
        /// Its parent.
        parent: SeqNum,
    },
    /// An event does not fit into a push, or is larger than a new event may be.
    #[error("event {seq_num} has {bytes} bytes, the limit is {max}")]
    TooLarge {
        /// The event.
        seq_num: SeqNum,
        /// Its size in bytes as JSON.
        bytes: usize,
        /// The limit in bytes.
        max: usize,
    },
}

/// Cuts a batch into batches that fit into a push each: of at most [`PUSH_EVENTS_MAX`] events and
/// [`PUSH_BYTES_MAX`] bytes.
///
/// # Errors
///
/// [`InvalidBatch`] if the events are no chain, or one is too large for a push.
pub fn chunks(events: Vec<Event>) -> Result<Vec<Vec<Event>>, InvalidBatch> {
    check(&events)?;
    let mut chunks = Vec::new();
    let mut rest = events.into_iter();
    while !rest.as_slice().is_empty() {
        let count = fitting(rest.as_slice());
        chunks.push(rest.by_ref().take(count).collect());
    }
    Ok(chunks)
}

/// How many events from the start fit into one push. At least one, if there is one: an event that is alone too large
/// gets its answer from the server.
pub(crate) fn fitting<'a>(events: impl IntoIterator<Item = &'a Event>) -> usize {
    let mut size = BRACKETS;
    let mut count = 0;
    for event in events.into_iter().take(PUSH_EVENTS_MAX) {
        // A comma before all but the first.
        size += bytes(event) + usize::from(count > 0);
        if size > PUSH_BYTES_MAX && count > 0 {
            break;
        }
        count += 1;
    }
    count
}

/// Refuses an event that is to be committed or appended, if some server could not serve it, or if there is no number
/// left for it.
pub(crate) fn check_new(event: &Event) -> Result<(), InvalidBatch> {
    check_number(event)?;
    check_size(event, NEW_EVENT_BYTES_MAX)
}

fn check_number(event: &Event) -> Result<(), InvalidBatch> {
    let (seq_num, parent) = (event.seq_num, event.parent_seq_num);
    if seq_num <= parent {
        return Err(InvalidBatch::Order { seq_num, parent });
    }
    if seq_num.get().abs_diff(parent.get()) > limits::GAP_MAX {
        return Err(InvalidBatch::Gap { seq_num, parent });
    }
    Ok(())
}

/// Refuses what no server takes, however it is cut.
pub(crate) fn check(events: &[Event]) -> Result<(), InvalidBatch> {
    let mut previous = events.first().map(|event| event.parent_seq_num);
    for event in events {
        let (seq_num, parent) = (event.seq_num, event.parent_seq_num);
        if let Some(previous) = previous.filter(|previous| *previous != parent) {
            return Err(InvalidBatch::Chain { seq_num, parent, previous });
        }
        check_number(event)?;
        check_size(event, PUSH_BYTES_MAX - BRACKETS)?;
        previous = Some(seq_num);
    }
    Ok(())
}

fn check_size(event: &Event, max: usize) -> Result<(), InvalidBatch> {
    let bytes = bytes(event);
    if bytes > max { Err(InvalidBatch::TooLarge { seq_num: event.seq_num, bytes, max }) } else { Ok(()) }
}

/// An event's size as JSON. It is counted, not built: an event may have most of a megabyte.
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
    use livestore_sync_protocol::Args;

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
        assert_eq!(
            error,
            InvalidBatch::TooLarge { seq_num: at(1), bytes: PUSH_BYTES_MAX - 1, max: PUSH_BYTES_MAX - 2 }
        );
    }

    #[test]
    fn the_first_event_always_goes() {
        let large = event(1, 0, PUSH_BYTES_MAX);
        assert_eq!(fitting([&large]), 1);
        assert_eq!(fitting([&large, &event(2, 1, 1)]), 1);
        assert_eq!(fitting([]), 0);
    }

    #[test]
    fn new_events_leave_room_for_what_travels_beside_them() {
        let room = NEW_EVENT_BYTES_MAX - bytes(&event(1, 0, 0));
        assert_eq!(check_new(&event(1, 0, room)), Ok(()));
        let error = InvalidBatch::TooLarge { seq_num: at(1), bytes: NEW_EVENT_BYTES_MAX + 1, max: NEW_EVENT_BYTES_MAX };
        assert_eq!(check_new(&event(1, 0, room + 1)), Err(error));
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

    #[test]
    fn gaps_are_bounded() {
        let max = i64::try_from(limits::GAP_MAX).unwrap();
        assert_eq!(sizes(vec![event(7 + max, 7, 1), event(7 + 2 * max, 7 + max, 1)]), [2]);
        let gap = InvalidBatch::Gap { seq_num: at(8 + max), parent: at(7) };
        assert_eq!(chunks(vec![event(8 + max, 7, 1)]), Err(gap));
        let gap = InvalidBatch::Gap { seq_num: at(9 + max), parent: at(8) };
        assert_eq!(chunks(vec![event(8, 7, 1), event(9 + max, 8, 1)]), Err(gap));
    }

    #[test]
    fn new_events_need_a_number() {
        let last = SeqNum::MAX.get();
        assert_eq!(check_new(&event(last, last - 1, 1)), Ok(()));
        let none = InvalidBatch::Order { seq_num: SeqNum::MAX, parent: SeqNum::MAX };
        assert_eq!(check_new(&event(last, last, 1)), Err(none));
    }
}
