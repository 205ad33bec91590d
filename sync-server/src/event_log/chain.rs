//! Whether events that were read are one chain: numbers ascend, and each event's parent is the event before.
//! Asked by logs while they read, which costs nothing; pure. What is pushed is judged in `admission`.
//!
//! Nothing else is ever stored, so a break means that the database has lost or changed something that it does not
//! notice itself. Clients that were given what is left would go on with another history than the others.

use livestore_sync_protocol::SeqNum;

/// Events that do not follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is damaged: event {seq_num} has the parent {parent}, but follows event {previous}")]
pub(crate) struct Break {
    seq_num: SeqNum,
    parent: SeqNum,
    previous: SeqNum,
}

impl Break {
    /// Whether it is what an event that is not there leaves. The reference 0.3.1 may leave some out: it
    /// acknowledges before it stores.
    pub(crate) fn may_be_a_hole(&self) -> bool {
        self.previous < self.parent && self.parent < self.seq_num
    }
}

/// How far a chain is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    previous: SeqNum,
    /// Whether `previous` is an event, or the start. A cursor may lie between two.
    is_event: bool,
}

impl Chain {
    /// From this event on, or from the start.
    pub(crate) fn after(event: SeqNum) -> Self {
        Self { previous: event, is_event: true }
    }

    /// From a client's cursor on, which need not be the number of an event.
    pub(crate) fn above(cursor: SeqNum) -> Self {
        Self { previous: cursor.max(SeqNum::ROOT), is_event: cursor <= SeqNum::ROOT }
    }

    /// The next event.
    ///
    /// # Errors
    ///
    /// [`Break`], where it does not follow. The next one is then judged by this one.
    pub(crate) fn next(&mut self, seq_num: SeqNum, parent: SeqNum) -> Result<(), Break> {
        let Self { previous, is_event } = std::mem::replace(self, Self::after(seq_num));
        let follows = if is_event { parent == previous } else { parent <= previous };
        if follows && seq_num > previous { Ok(()) } else { Err(Break { seq_num, parent, previous }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(number: i64) -> SeqNum {
        SeqNum::new(number).expect("safe")
    }

    fn holds(mut chain: Chain, events: &[(i64, i64)]) -> Result<(), bool> {
        events.iter().try_for_each(|(number, parent)| {
            chain.next(seq(*number), seq(*parent)).map_err(|broken| broken.may_be_a_hole())
        })
    }

    #[test]
    fn each_parent_is_the_event_before() {
        for (events, expected) in [
            (&[(1, 0), (2, 1), (100, 2), (101, 100)][..], Ok(())),
            (&[(1, 0), (3, 2)], Err(true)),
            (&[(2, 1)], Err(true)),
            (&[(1, 0), (3, 0)], Err(false)),
            (&[(1, 0), (1, 0)], Err(false)),
            (&[(1, 0), (3, 3)], Err(false)),
            (&[(5, 0), (4, 5)], Err(false)),
        ] {
            assert_eq!(holds(Chain::after(SeqNum::ROOT), events), expected, "{events:?}");
        }
    }

    #[test]
    fn a_cursor_may_lie_between_two_events() {
        assert_eq!(holds(Chain::above(seq(50)), &[(100, 3), (101, 100)]), Ok(()));
        assert_eq!(holds(Chain::above(seq(3)), &[(100, 3)]), Ok(()));
        assert_eq!(holds(Chain::above(seq(2)), &[(100, 3)]), Err(true));
        assert_eq!(holds(Chain::above(seq(-7)), &[(1, 0)]), Ok(()));
        assert_eq!(holds(Chain::above(seq(0)), &[(2, 1)]), Err(true));
    }
}
