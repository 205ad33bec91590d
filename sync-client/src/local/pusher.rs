//! What follows from the outcome of a push. Pure; the sync task (`sync`) does it.
//!
//! Acknowledged or not, nothing here decides what is confirmed against the live pull: an event that the pull brings is
//! confirmed whatever its push was answered, so a lost answer needs no care beyond pushing again later.

use livestore_sync_protocol::SeqNum;

use crate::batch::PUSH_EVENTS_MAX;
use crate::error::PushError;

/// What the pushing side of sync remembers between pushes.
#[derive(Debug)]
pub(crate) struct Pusher {
    /// Events in the next batch. Smaller while the event that the backend rejects is being found.
    events_max: usize,
    /// Outcomes in a row that said that the log has less than we know.
    behind: u32,
}

/// What to do after a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AfterPush {
    /// The batch is in the log.
    Acknowledge,
    /// Push what is pending now.
    Again,
    /// The live pull will bring what the log has more.
    AwaitPull,
    /// Try again after a while.
    Later(String),
    /// The first event of the batch is refused for good.
    Rejected(String),
    /// The log is another one.
    BackendReset(Option<String>),
}

/// A log that went back is another log. A backend that answers from a stale head (the reference does,
/// when it starts) is not, so it has to say so a few times.
const BEHIND_MAX: u32 = 3;

impl Pusher {
    pub(crate) fn new() -> Self {
        Self { events_max: PUSH_EVENTS_MAX, behind: 0 }
    }

    pub(crate) fn events_max(&self) -> usize {
        self.events_max
    }

    /// Decides. `head` is the last confirmed event at this moment.
    pub(crate) fn decide(&mut self, sent: usize, head: SeqNum, outcome: Result<(), PushError>) -> AfterPush {
        let behind = std::mem::take(&mut self.behind);
        match outcome {
            Ok(()) => {
                self.events_max = (self.events_max * 2).min(PUSH_EVENTS_MAX);
                AfterPush::Acknowledge
            }
            Err(PushError::ServerAhead { minimum_expected, .. }) if minimum_expected > head => AfterPush::AwaitPull,
            // The refusal is of a batch that was made before the live pull brought the very events that it refuses
            // for. What is pending now has other numbers.
            Err(PushError::ServerAhead { minimum_expected, provided })
                if minimum_expected == head && provided != head =>
            {
                AfterPush::Again
            }
            Err(error @ PushError::ServerAhead { minimum_expected, .. }) if minimum_expected < head => {
                self.behind = behind + 1;
                if self.behind < BEHIND_MAX {
                    return AfterPush::Later(error.to_string());
                }
                self.behind = 0;
                AfterPush::BackendReset(None)
            }
            Err(PushError::BackendIdMismatch { expected, .. }) => AfterPush::BackendReset(Some(expected)),
            Err(PushError::Rejected { .. } | PushError::InvalidBatch(_)) if sent > 1 => {
                // One bad event spoils its batch, and the answer does not say which. Halves find it: each success
                // doubles the size again, so the good events before it go through on the way.
                self.events_max = sent / 2;
                AfterPush::Again
            }
            Err(PushError::Rejected { message }) => AfterPush::Rejected(message),
            Err(PushError::InvalidBatch(error)) => AfterPush::Rejected(error.to_string()),
            Err(error @ PushError::Offline { sent: true, .. }) => {
                // It was on its way, twice, and did not come through: a link or a server that cannot take it within
                // their limits may take less. Each success doubles the size again.
                self.events_max = (sent / 2).max(1);
                AfterPush::Later(error.to_string())
            }
            Err(
                error @ (PushError::ServerAhead { .. }
                | PushError::Offline { .. }
                | PushError::Failed { .. }
                | PushError::Stopped),
            ) => AfterPush::Later(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::OfflineReason;

    fn ahead(minimum_expected: i64, provided: i64) -> Result<(), PushError> {
        Err(PushError::ServerAhead {
            minimum_expected: SeqNum::new(minimum_expected).unwrap(),
            provided: SeqNum::new(provided).unwrap(),
        })
    }

    fn rejected() -> Result<(), PushError> {
        Err(PushError::Rejected { message: "no".into() })
    }

    #[test]
    fn outcomes() {
        let head = SeqNum::new(10).unwrap();
        for (outcome, expected) in [
            (Ok(()), AfterPush::Acknowledge),
            (ahead(12, 10), AfterPush::AwaitPull),
            (ahead(12, 8), AfterPush::AwaitPull),
            (ahead(10, 8), AfterPush::Again),
            (
                ahead(10, 10),
                AfterPush::Later("the server is ahead: its log ends at 10, the batch begins after 10".into()),
            ),
            (
                Err(PushError::Offline { sent: true, reason: OfflineReason::Silent }),
                AfterPush::Later("offline: the server does not answer".into()),
            ),
            (Err(PushError::Failed { message: "r".into() }), AfterPush::Later("the server failed: r".into())),
            (Err(PushError::Stopped), AfterPush::Later("the client has stopped".into())),
            (
                Err(PushError::BackendIdMismatch { expected: "b".into(), received: "a".into() }),
                AfterPush::BackendReset(Some("b".into())),
            ),
            (rejected(), AfterPush::Rejected("no".into())),
        ] {
            assert_eq!(Pusher::new().decide(1, head, outcome.clone()), expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_log_that_went_back_is_another_one() {
        let head = SeqNum::new(10).unwrap();
        let mut pusher = Pusher::new();
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), AfterPush::Later(_)));
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), AfterPush::Later(_)));
        assert_eq!(pusher.decide(1, head, ahead(3, 10)), AfterPush::BackendReset(None));
        // Unless something else is said in between.
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), AfterPush::Later(_)));
        assert_eq!(pusher.decide(1, head, Ok(())), AfterPush::Acknowledge);
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), AfterPush::Later(_)));
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), AfterPush::Later(_)));
    }

    #[test]
    fn a_batch_that_does_not_come_through_is_halved() {
        let mut pusher = Pusher::new();
        let lost = |sent| Err(PushError::Offline { sent, reason: OfflineReason::Silent });
        for (outcome, sent, events_max) in [
            (lost(false), 100, 100),
            (lost(true), 100, 50),
            (lost(true), 50, 25),
            (Ok(()), 25, 50),
            (lost(true), 3, 1),
            (lost(true), 1, 1),
            (Ok(()), 1, 2),
        ] {
            let _ = pusher.decide(sent, SeqNum::ROOT, outcome);
            assert_eq!(pusher.events_max(), events_max);
        }
    }

    #[test]
    fn the_rejected_event_is_found_by_halves() {
        let events = 100;
        for bad in 0..events {
            let (mut pusher, mut done, mut pushes) = (Pusher::new(), 0, 0);
            loop {
                let sent = pusher.events_max().min(events - done);
                let outcome = if (done..done + sent).contains(&bad) { rejected() } else { Ok(()) };
                pushes += 1;
                match pusher.decide(sent, SeqNum::ROOT, outcome) {
                    AfterPush::Acknowledge => done += sent,
                    AfterPush::Again => {}
                    AfterPush::Rejected(_) => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(done, bad);
            assert!(pushes <= 30, "{pushes} pushes to find {bad}");
        }
    }
}
