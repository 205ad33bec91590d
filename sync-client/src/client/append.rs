//! Events after whatever is there: [`SyncClient::append`].
//!
//! A push has to name the event that it follows, so a client that does not read the log cannot push. Appending turns
//! this round: it guesses, and where the guess is wrong the server's refusal says where the log ends. What follows from
//! an answer is decided by [`Append`], which is pure; this file's async part only pushes and waits.

use livestore_sync_protocol::{Event, SeqNum};
use tokio::sync::Mutex;

use super::SyncClient;
use crate::backoff::Backoff;
use crate::batch::{self, InvalidBatch};
use crate::connection::Timing;
use crate::error::{AppendError, PushError};
use crate::event::{Author, NewEvent, renumber};

/// How often in a row a server may refuse without naming a head above all that it has named.
///
/// A refusal that names a higher head means that somebody else's push was taken, so the log grows and trying again is
/// right for as long as it takes. One that does not comes from a server that contradicts itself. The reference does so
/// for a moment while it starts, which a few attempts with pauses outlast.
const STALLS_MAX: u32 = 8;

/// What a client's appends share.
#[derive(Debug)]
pub(super) struct Appender {
    author: Author,
    timing: Timing,
    /// Where the log ended when last heard: where the next append begins to guess. Locked for as long as an append
    /// runs: of two at once each would make the other's guess wrong, and when an answer is lost, equal events of one
    /// author are told apart by their places only, which have to be their own.
    head: Mutex<SeqNum>,
}

impl Appender {
    pub(super) fn new(author: Author, timing: Timing) -> Self {
        Self { author, timing, head: Mutex::new(SeqNum::ROOT) }
    }

    pub(super) fn client_id(&self) -> &str {
        &self.author.client_id
    }

    pub(super) fn session_id(&self) -> &str {
        &self.author.session_id
    }
}

impl SyncClient {
    /// Appends events to the log, after whatever is there: in their order and without a gap between those that travel
    /// in one push, but others' events may come between two pushes (of at most [`crate::PUSH_EVENTS_MAX`] events).
    /// Gives them as they are in the log, with their numbers and their author:
    /// [`client_id`](crate::Builder::client_id), and a session of this client's own.
    ///
    /// It guesses where the log ends, and where the guess is wrong the server's refusal corrects it, so no pull is
    /// needed. When others push at the same time it tries again for as long as their pushes succeed; put a timeout
    /// around it if that may take too long. Clones of a client append one after the other.
    ///
    /// # Errors
    ///
    /// [`AppendError`] says how many events are stored, and why the next ones are not: the server refuses them, it
    /// could not be reached, or one is too large ([`crate::NEW_EVENT_BYTES_MAX`]; nothing is stored then). An answer
    /// that is lost is no error by itself: the events are sent again, and recognised if they are there. If that answer
    /// is lost, too, `in_doubt` says how many events may be in the log.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up what was not sent yet. Of what was sent, the first push may be stored or not, and
    /// nothing tells which. An app that must know keeps its events in a `LocalStore`.
    pub async fn append(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Vec<Event>, AppendError> {
        let author = &self.appender.author;
        let mut head = SeqNum::ROOT;
        let mut unnumbered = Vec::new();
        for event in events {
            let event = event.by(author, head);
            batch::check_new(&event).map_err(AppendError::invalid)?;
            head = event.seq_num;
            unnumbered.push(event);
        }
        self.append_events(unnumbered).await
    }

    /// The same for events that have an author already, as those of another store. They get new numbers.
    ///
    /// An event is recognised by its author, name and arguments, together with its place in the log. So a server may
    /// take events for ones that it has, and acknowledge them without storing them again, where equal ones of the same
    /// author are at the place that was guessed: when another process appends them at the same moment, or when the log
    /// begins with them, as it does when a copy is made twice.
    ///
    /// # Errors
    ///
    /// As [`SyncClient::append`]; an event may be as large as a push ([`crate::PUSH_BYTES_MAX`]).
    ///
    /// # Cancel safety
    ///
    /// As [`SyncClient::append`].
    pub async fn append_events(&self, events: Vec<Event>) -> Result<Vec<Event>, AppendError> {
        let mut head = self.appender.head.lock().await;
        let mut append = Append::new(events, *head)?;
        let timing = self.appender.timing;
        let seed = getrandom::u64().expect("the system has random numbers");
        let mut backoff = Backoff::new(timing.backoff_min, timing.backoff_max, seed);
        while let Some(part) = append.next_part() {
            // Its numbers are new ones, after whatever head the server has named.
            let outcome = match batch::check(&part) {
                Ok(()) => self.push_part(part, None).await,
                Err(error) => Err(error.into()),
            };
            let step = append.answered(outcome);
            // Kept whatever happens, also when this future is dropped: it is where the next append begins.
            *head = append.head;
            match step? {
                Step::Go => backoff.reset(),
                Step::Pause => tokio::time::sleep(backoff.next()).await,
            }
        }
        Ok(append.events)
    }
}

impl AppendError {
    fn invalid(error: InvalidBatch) -> Self {
        Self { stored: 0, in_doubt: 0, source: error.into() }
    }
}

/// One append under way.
#[derive(Debug)]
struct Append {
    /// The first `stored` ones as they are in the log. The others get their numbers when their turn comes.
    events: Vec<Event>,
    stored: usize,
    /// How many events the push under way has.
    sent: usize,
    /// Where the log is believed to end.
    head: SeqNum,
    /// The highest head that the server has named.
    highest: SeqNum,
    stalls: u32,
}

/// What to do before the next part.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Go,
    Pause,
}

impl Append {
    fn new(mut events: Vec<Event>, head: SeqNum) -> Result<Self, AppendError> {
        renumber(&mut events, head);
        batch::check(&events).map_err(AppendError::invalid)?;
        Ok(Self { events, stored: 0, sent: 0, head, highest: head, stalls: 0 })
    }

    /// What to push next; `None` when everything is stored.
    fn next_part(&mut self) -> Option<Vec<Event>> {
        let rest = &mut self.events[self.stored..];
        if rest.is_empty() {
            return None;
        }
        let window = rest.len().min(batch::PUSH_EVENTS_MAX);
        let rest = &mut rest[..window];
        renumber(rest, self.head);
        // One push at a time, so that it is known what is stored when one fails.
        self.sent = batch::fitting(&*rest);
        Some(rest[..self.sent].to_vec())
    }

    fn answered(&mut self, outcome: Result<(), PushError>) -> Result<Step, AppendError> {
        match outcome {
            Ok(()) => {
                self.stored += self.sent;
                self.head = self.events[self.stored - 1].seq_num;
                self.highest = self.highest.max(self.head);
                self.stalls = 0;
                Ok(Step::Go)
            }
            // The connection has made sure that this is not the answer to the second sending of a batch that the log
            // has: after a refusal nothing of the part is stored, and it may get other numbers.
            Err(PushError::ServerAhead { minimum_expected, .. }) if minimum_expected > self.highest => {
                (self.head, self.highest, self.stalls) = (minimum_expected, minimum_expected, 0);
                Ok(Step::Go)
            }
            Err(PushError::ServerAhead { minimum_expected, .. }) if self.stalls < STALLS_MAX => {
                self.head = minimum_expected;
                self.stalls += 1;
                Ok(Step::Pause)
            }
            Err(source) => {
                let in_doubt = if matches!(source, PushError::Offline { sent: true, .. }) { self.sent } else { 0 };
                Err(AppendError { stored: self.stored, in_doubt, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::Args;

    use super::*;
    use crate::state::OfflineReason;

    fn at(value: i64) -> SeqNum {
        SeqNum::new(value).unwrap()
    }

    fn append(count: usize, head: i64) -> Append {
        let author = Author { client_id: "c".into(), session_id: "s".into() };
        let event = NewEvent::with_args("n", Args::default());
        Append::new(vec![event.by(&author, SeqNum::ROOT); count], at(head)).unwrap()
    }

    fn ahead(minimum_expected: i64, provided: i64) -> Result<(), PushError> {
        Err(PushError::ServerAhead { minimum_expected: at(minimum_expected), provided: at(provided) })
    }

    /// The numbers of the next part.
    fn next(append: &mut Append) -> Vec<i64> {
        append.next_part().unwrap_or_default().iter().map(|event| event.seq_num.get()).collect()
    }

    #[test]
    fn parts_follow_each_other() {
        let mut append = append(250, 7);
        for (from, to) in [(8, 107), (108, 207), (208, 257)] {
            assert_eq!(next(&mut append), (from..=to).collect::<Vec<_>>());
            assert_eq!(append.answered(Ok(())), Ok(Step::Go));
        }
        assert_eq!(next(&mut append), [0; 0]);
        assert_eq!((append.head, append.stored), (at(257), 250));
        assert_eq!(append.events[249].parent_seq_num, at(256));
    }

    #[test]
    fn a_refusal_moves_what_is_not_stored_behind_the_head() {
        let mut append = append(101, 0);
        assert_eq!(next(&mut append).len(), 100);
        assert_eq!(append.answered(ahead(40, 0)), Ok(Step::Go));
        assert_eq!(next(&mut append), (41..=140).collect::<Vec<_>>());
        assert_eq!(append.answered(Ok(())), Ok(Step::Go));
        assert_eq!(next(&mut append), [141]);
        assert_eq!(append.answered(ahead(150, 140)), Ok(Step::Go));
        assert_eq!(next(&mut append), [151]);
        append.answered(Ok(())).unwrap();
        let numbers: Vec<_> = append.events.iter().map(|event| event.seq_num.get()).collect();
        assert_eq!(numbers, (41..=140).chain([151]).collect::<Vec<_>>());
    }

    #[test]
    fn others_may_be_faster_any_number_of_times() {
        let mut append = append(1, 0);
        for head in 1..10_000 {
            next(&mut append);
            assert_eq!(append.answered(ahead(head, head - 1)), Ok(Step::Go));
        }
        assert_eq!(next(&mut append), [10_000]);
    }

    #[test]
    fn a_server_that_contradicts_itself_is_asked_a_few_times_with_pauses() {
        let mut append = append(1, 0);
        // It names 9, and then refuses what follows 9, or goes back and forth.
        next(&mut append);
        assert_eq!(append.answered(ahead(9, 0)), Ok(Step::Go));
        for stall in 0..STALLS_MAX {
            next(&mut append);
            let named = if stall % 2 == 0 { 9 } else { 3 };
            assert_eq!(append.answered(ahead(named, 9)), Ok(Step::Pause));
            assert_eq!(next(&mut append), [named + 1]);
        }
        let error = append.answered(ahead(9, 9)).unwrap_err();
        assert_eq!((error.stored, error.in_doubt), (0, 0));
        assert!(matches!(error.source, PushError::ServerAhead { .. }));
    }

    #[test]
    fn an_error_says_what_is_stored_and_what_may_be() {
        for (error, in_doubt) in [
            (PushError::Rejected { message: "no".into() }, 0),
            (PushError::Offline { sent: false, reason: OfflineReason::Silent }, 0),
            (PushError::Offline { sent: true, reason: OfflineReason::Silent }, 50),
            (PushError::Stopped, 0),
        ] {
            let mut append = append(150, 0);
            next(&mut append);
            append.answered(Ok(())).unwrap();
            next(&mut append);
            let expected = AppendError { stored: 100, in_doubt, source: error.clone() };
            assert_eq!(append.answered(Err(error)), Err(expected));
            assert_eq!(append.head, at(100), "where the next append begins");
        }
    }

    #[test]
    fn what_no_push_can_hold_is_refused_before_anything_is_sent() {
        let author = Author { client_id: "c".into(), session_id: "s".into() };
        let args = Args::from_json(format!("\"{}\"", "x".repeat(batch::PUSH_BYTES_MAX))).unwrap();
        let events = vec![NewEvent::with_args("n", args).by(&author, SeqNum::ROOT)];
        let error = Append::new(events, SeqNum::ROOT).unwrap_err();
        assert!(matches!(error.source, PushError::InvalidBatch(InvalidBatch::TooLarge { .. })), "{error}");
    }
}
