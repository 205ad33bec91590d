//! Pure: what follows from the outcome of a push.

use std::time::Duration;

use livestore_sync_protocol::SeqNum;

use super::limits::BATCH_EVENTS_MAX;
use crate::PushError;

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
pub(crate) enum Next {
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
        Self { events_max: BATCH_EVENTS_MAX, behind: 0 }
    }

    pub(crate) fn events_max(&self) -> usize {
        self.events_max
    }

    /// Decides. `head` is the last confirmed event at this moment.
    pub(crate) fn decide(&mut self, sent: usize, head: SeqNum, outcome: Result<(), PushError>) -> Next {
        let behind = std::mem::take(&mut self.behind);
        match outcome {
            Ok(()) => {
                self.events_max = (self.events_max * 2).min(BATCH_EVENTS_MAX);
                Next::Acknowledge
            }
            Err(PushError::ServerAhead { minimum_expected, .. }) if minimum_expected > head => Next::AwaitPull,
            // The pull was faster than the answer.
            Err(PushError::ServerAhead { minimum_expected, provided })
                if minimum_expected == head && provided != head =>
            {
                Next::Again
            }
            Err(error @ PushError::ServerAhead { minimum_expected, .. }) if minimum_expected < head => {
                self.behind = behind + 1;
                if self.behind < BEHIND_MAX {
                    return Next::Later(error.to_string());
                }
                self.behind = 0;
                Next::BackendReset(None)
            }
            Err(PushError::BackendIdMismatch { expected, .. }) => Next::BackendReset(Some(expected)),
            Err(PushError::Rejected { .. } | PushError::InvalidBatch(_)) if sent > 1 => {
                // One bad event spoils its batch: halves find it, and let those before it through.
                self.events_max = sent / 2;
                Next::Again
            }
            Err(PushError::Rejected { message }) => Next::Rejected(message),
            Err(PushError::InvalidBatch(error)) => Next::Rejected(error.to_string()),
            Err(
                error @ (PushError::ServerAhead { .. }
                | PushError::Offline { .. }
                | PushError::Failed { .. }
                | PushError::Stopped),
            ) => Next::Later(error.to_string()),
        }
    }
}

/// How long to wait after so many failures in a row. Clients differ by a quarter, so that
/// not all come back at once.
pub(crate) fn pause((first, longest): (Duration, Duration), failures: u32, client_id: &str) -> Duration {
    let base = first.saturating_mul(1 << failures.min(16)).min(longest);
    let spread = client_id.bytes().fold(failures, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte))) % 256;
    base - base / 4 * spread / 256
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OfflineReason;

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
            (Ok(()), Next::Acknowledge),
            (ahead(12, 10), Next::AwaitPull),
            (ahead(12, 8), Next::AwaitPull),
            (ahead(10, 8), Next::Again),
            (ahead(10, 10), Next::Later("the server is ahead: its log ends at 10, the batch begins after 10".into())),
            (
                Err(PushError::Offline { sent: true, reason: OfflineReason::Silent }),
                Next::Later("offline: the server does not answer".into()),
            ),
            (Err(PushError::Failed { message: "r".into() }), Next::Later("the server failed: r".into())),
            (Err(PushError::Stopped), Next::Later("the client has stopped".into())),
            (
                Err(PushError::BackendIdMismatch { expected: "b".into(), received: "a".into() }),
                Next::BackendReset(Some("b".into())),
            ),
            (rejected(), Next::Rejected("no".into())),
        ] {
            assert_eq!(Pusher::new().decide(1, head, outcome.clone()), expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_log_that_went_back_is_another_one() {
        let head = SeqNum::new(10).unwrap();
        let mut pusher = Pusher::new();
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), Next::Later(_)));
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), Next::Later(_)));
        assert_eq!(pusher.decide(1, head, ahead(3, 10)), Next::BackendReset(None));
        // Unless something else is said in between.
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), Next::Later(_)));
        assert_eq!(pusher.decide(1, head, Ok(())), Next::Acknowledge);
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), Next::Later(_)));
        assert!(matches!(pusher.decide(1, head, ahead(3, 10)), Next::Later(_)));
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
                    Next::Acknowledge => done += sent,
                    Next::Again => {}
                    Next::Rejected(_) => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(done, bad);
            assert!(pushes <= 30, "{pushes} pushes to find {bad}");
        }
    }

    #[test]
    fn pauses_grow_to_a_limit_and_differ() {
        let limits = (Duration::from_millis(500), Duration::from_secs(30));
        for failures in 0..40 {
            let pause = pause(limits, failures, "client");
            assert!(pause >= Duration::from_millis(375) && pause <= Duration::from_secs(30), "{pause:?}");
        }
        assert!(pause(limits, 10, "client") > Duration::from_secs(20));
        assert_ne!(pause(limits, 3, "client-a"), pause(limits, 3, "client-b"));
    }
}
