//! May this batch enter the log? Pure decisions.

use livestore_sync_protocol::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX, GAP_MAX};
use livestore_sync_protocol::{Event, EventRow, SeqNum};

use crate::error::InvalidBatch;

/// Checks what does not depend on the log: limits, the chain, ascending numbers. Gaps between
/// numbers are legal (LiveStore's own tests push number 100 onto an empty log) up to [`GAP_MAX`]. Only a batch whose
/// parent is the head enters, so that is how far the head can move.
///
/// # Errors
///
/// [`InvalidBatch`] for the first fault.
pub(crate) fn check_batch(batch: &[Event]) -> Result<(), InvalidBatch> {
    if batch.len() > BATCH_EVENTS_MAX {
        return Err(InvalidBatch::TooManyEvents { events: batch.len() });
    }
    let mut previous = None;
    for event in batch {
        let (seq_num, parent) = (event.seq_num, event.parent_seq_num);
        if let Some(expected) = previous.filter(|previous| *previous != parent) {
            return Err(InvalidBatch::BrokenChain { seq_num, parent, expected });
        }
        if seq_num <= parent || parent < SeqNum::ROOT {
            return Err(InvalidBatch::NotAscending { seq_num, parent });
        }
        if seq_num.get().abs_diff(parent.get()) > GAP_MAX {
            return Err(InvalidBatch::GapTooLarge { seq_num, parent });
        }
        let bytes = encoded_bytes(event);
        if bytes > EVENT_BYTES_MAX {
            return Err(InvalidBatch::EventTooLarge { seq_num, bytes });
        }
        previous = Some(seq_num);
    }
    Ok(())
}

/// The event's size on the wire, exact near the limit and a lower figure far below it.
fn encoded_bytes(event: &Event) -> usize {
    // A byte of text takes up to six when escaped.
    const ESCAPED_BYTES_MAX: usize = 6;
    const MEMBERS_BYTES_MAX: usize = 256;
    let text = event.name.len() + event.client_id.len() + event.session_id.len();
    let args = event.args.as_json().len();
    if text * ESCAPED_BYTES_MAX + args + MEMBERS_BYTES_MAX <= EVENT_BYTES_MAX {
        return text + args;
    }
    let mut encoded = String::new();
    EventRow::new(event, "").render_event(&mut encoded);
    encoded.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use livestore_sync_protocol::Args;

    fn event(parent: i64, seq: i64) -> Event {
        Event {
            name: "n".into(),
            args: Args::default(),
            seq_num: SeqNum::new(seq).expect("safe"),
            parent_seq_num: SeqNum::new(parent).expect("safe"),
            client_id: "c".into(),
            session_id: "s".into(),
        }
    }

    fn seq(value: i64) -> SeqNum {
        SeqNum::new(value).expect("safe")
    }

    #[test]
    fn the_chain_must_hold() {
        for (batch, expected) in [
            (vec![event(0, 1)], Ok(())),
            (vec![event(0, 1), event(1, 2)], Ok(())),
            (vec![event(0, 100), event(100, 205)], Ok(())),
            (
                vec![event(0, 1), event(2, 3)],
                Err(InvalidBatch::BrokenChain { seq_num: seq(3), parent: seq(2), expected: seq(1) }),
            ),
            (
                vec![event(0, 1), event(0, 1)],
                Err(InvalidBatch::BrokenChain { seq_num: seq(1), parent: seq(0), expected: seq(1) }),
            ),
            (vec![event(0, 2), event(2, 1)], Err(InvalidBatch::NotAscending { seq_num: seq(1), parent: seq(2) })),
            (vec![event(1, 1)], Err(InvalidBatch::NotAscending { seq_num: seq(1), parent: seq(1) })),
            (vec![event(-2, -1)], Err(InvalidBatch::NotAscending { seq_num: seq(-1), parent: seq(-2) })),
        ] {
            assert_eq!(check_batch(&batch), expected, "{batch:?}");
        }
    }

    #[test]
    fn the_gap_limit_holds() {
        let max = i64::try_from(GAP_MAX).expect("fits");
        let refused = |seq_num, parent| Err(InvalidBatch::GapTooLarge { seq_num: seq(seq_num), parent: seq(parent) });
        for (batch, expected) in [
            (vec![event(0, max)], Ok(())),
            (vec![event(0, max + 1)], refused(max + 1, 0)),
            (vec![event(7, 7 + max), event(7 + max, 7 + 2 * max)], Ok(())),
            (vec![event(7, 8), event(8, 9 + max)], refused(9 + max, 8)),
            (vec![event(0, SeqNum::MAX.get())], refused(SeqNum::MAX.get(), 0)),
            (vec![event(SeqNum::MAX.get() - 1, SeqNum::MAX.get())], Ok(())),
        ] {
            assert_eq!(check_batch(&batch), expected, "{batch:?}");
        }
    }

    #[test]
    fn the_event_limit_holds_to_the_byte() {
        let sized = |bytes: usize| {
            let mut event = event(0, 1);
            let mut empty = String::new();
            EventRow::new(&event, "").render_event(&mut empty);
            let args = format!("\"{}\"", "x".repeat(bytes - (empty.len() - "null".len()) - 2));
            event.args = Args::from_json(args).expect("JSON");
            event
        };
        assert_eq!(check_batch(&[sized(EVENT_BYTES_MAX)]), Ok(()));
        assert_eq!(
            check_batch(&[sized(EVENT_BYTES_MAX + 1)]),
            Err(InvalidBatch::EventTooLarge { seq_num: seq(1), bytes: EVENT_BYTES_MAX + 1 })
        );
        let mut escaped = event(0, 1);
        escaped.name = "\u{1}".repeat(EVENT_BYTES_MAX / 6);
        assert!(matches!(check_batch(&[escaped]), Err(InvalidBatch::EventTooLarge { .. })));
    }

    #[test]
    fn the_batch_limit_holds() {
        let batch = |events: usize| (0..events as i64).map(|n| event(n, n + 1)).collect::<Vec<_>>();
        assert_eq!(check_batch(&batch(BATCH_EVENTS_MAX)), Ok(()));
        let events = BATCH_EVENTS_MAX + 1;
        assert_eq!(check_batch(&batch(events)), Err(InvalidBatch::TooManyEvents { events }));
    }
}
