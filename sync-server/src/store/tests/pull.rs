use std::sync::{Arc, Mutex};

use livestore_sync_protocol::{Chunk, Cursor, ItemFormat};
use tokio::sync::Semaphore;

use super::{BACKEND_ID, Fixture, by, context, event, fixture, run, seq, settle, with_hooks};
use crate::PullError;
use crate::budget::{Budget, Held};
use crate::error::{HistoryLost, HookError};
use crate::event_log::{Fault, Operation};
use crate::hooks::{HookFns, Hooks, Pull};
use crate::store::PullSink;

/// What a puller gets: first and last event of each chunk and what remains; zeros for the empty one.
#[derive(Default)]
pub(super) struct Sink {
    chunks: Mutex<Vec<(i64, i64, u64)>>,
    /// How often it was told that it has everything.
    caught_up: Mutex<usize>,
    /// Chunks that it takes; all, where there is none.
    permits: Option<Semaphore>,
    gone_after: Option<usize>,
    /// How many failures in a row it puts up with.
    patience: u32,
    /// As which in a row it was told of each failure.
    failures: Mutex<Vec<u32>>,
    /// Whether pages are not kept for it where it has to wait.
    hurried: bool,
}

impl Sink {
    /// It takes so many chunks, and those that it is allowed later.
    fn slow(chunks: usize) -> Arc<Self> {
        Arc::new(Self { permits: Some(Semaphore::new(chunks)), ..Self::default() })
    }

    fn allow(&self, chunks: usize) {
        self.permits.as_ref().expect("it is slow").add_permits(chunks);
    }

    fn chunks(&self) -> Vec<(i64, i64, u64)> {
        self.chunks.lock().expect("usable").clone()
    }

    fn times_caught_up(&self) -> usize {
        *self.caught_up.lock().expect("usable")
    }
}

impl PullSink for Sink {
    async fn ready(&self) -> Result<(), PullError> {
        if let Some(permits) = &self.permits {
            // Given back at once: a chunk takes it.
            let _ = permits.acquire().await.expect("open");
        }
        if self.gone_after == Some(self.chunks().len()) { Err(PullError::Gone) } else { Ok(()) }
    }

    async fn ready_soon(&self) -> Result<bool, PullError> {
        if self.hurried && self.permits.as_ref().is_some_and(|permits| permits.available_permits() == 0) {
            return Ok(false);
        }
        self.ready().await.map(|()| true)
    }

    async fn hold(&self, bytes: u64) -> Result<Held, PullError> {
        Ok(Budget::process(bytes).take_anyway(bytes))
    }

    async fn send(&self, chunk: Option<(&Chunk, Held)>, remaining: u64, backend_id: &str) -> Result<(), PullError> {
        assert_eq!(backend_id, BACKEND_ID);
        if let Some(permits) = &self.permits {
            permits.try_acquire().expect("it was ready").forget();
        }
        let (first, last) = chunk.map_or((0, 0), |(chunk, _)| (chunk.first.get(), chunk.last.get()));
        self.chunks.lock().expect("usable").push((first, last, remaining));
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn failed(&self, error: PullError, failures: u32) -> Result<(), PullError> {
        self.failures.lock().expect("usable").push(failures);
        if failures > self.patience { Err(error) } else { Ok(()) }
    }

    fn caught_up(&self) {
        *self.caught_up.lock().expect("usable") += 1;
    }
}

impl PullSink for &Sink {
    async fn ready(&self) -> Result<(), PullError> {
        PullSink::ready(*self).await
    }

    async fn ready_soon(&self) -> Result<bool, PullError> {
        PullSink::ready_soon(*self).await
    }

    async fn hold(&self, bytes: u64) -> Result<Held, PullError> {
        PullSink::hold(*self, bytes).await
    }

    async fn send(&self, chunk: Option<(&Chunk, Held)>, remaining: u64, backend_id: &str) -> Result<(), PullError> {
        PullSink::send(*self, chunk, remaining, backend_id).await
    }

    async fn failed(&self, error: PullError, failures: u32) -> Result<(), PullError> {
        PullSink::failed(*self, error, failures).await
    }

    fn caught_up(&self) {
        PullSink::caught_up(*self);
    }
}

fn after(number: i64) -> Option<Cursor> {
    Some(Cursor { backend_id: Some(BACKEND_ID.into()), seq_num: seq(number) })
}

impl<H: Hooks> Fixture<H> {
    async fn pull(&self, cursor: Option<Cursor>, live: bool, sink: &Sink) -> Result<u64, PullError> {
        self.store.pull(Pull { cursor, live }, ItemFormat::Rpc, context(), sink).await
    }

    /// Pulls from the start in a task of its own, which has come as far as it can when this returns.
    async fn start_pull(&self, live: bool, sink: &Arc<Sink>) -> tokio::task::JoinHandle<Result<u64, PullError>> {
        let (store, sink) = (Arc::clone(&self.store), Arc::clone(sink));
        let pull = Pull { cursor: None, live };
        let pulling = tokio::spawn(async move { store.pull(pull, ItemFormat::Rpc, context(), &*sink).await });
        settle().await;
        pulling
    }
}

#[tokio::test]
async fn what_remains_is_exact() {
    let f = fixture();
    f.append_elsewhere(run(0, 250)).await;
    // It is a subtraction: the log is not counted.
    f.faults.fail(Operation::Count, Fault::Refused);
    for (cursor, expected) in [
        (None, vec![(1, 100, 150), (101, 200, 50), (201, 250, 0)]),
        (after(0), vec![(1, 100, 150), (101, 200, 50), (201, 250, 0)]),
        (after(100), vec![(101, 200, 50), (201, 250, 0)]),
        (after(149), vec![(150, 249, 1), (250, 250, 0)]),
        (after(249), vec![(250, 250, 0)]),
        (after(250), vec![(0, 0, 0)]),
        (after(-5), vec![(1, 100, 150), (101, 200, 50), (201, 250, 0)]),
    ] {
        let sink = Sink::default();
        let events = f.pull(cursor.clone(), false, &sink).await.expect("pulls");
        assert_eq!(sink.chunks(), expected, "{cursor:?}");
        let sent: i64 = expected.iter().filter(|chunk| chunk.1 > 0).map(|(first, last, _)| last - first + 1).sum();
        assert_eq!((events, sink.times_caught_up()), (sent.unsigned_abs(), 1), "{cursor:?}");
    }
}

#[tokio::test]
async fn what_remains_is_exact_in_a_log_with_gaps() {
    let f = fixture();
    f.append_elsewhere((1..=250).map(|number| event((number - 1) * 10, number * 10)).collect()).await;
    for (cursor, expected) in [
        (None, vec![(10, 1_000, 150), (1_010, 2_000, 50), (2_010, 2_500, 0)]),
        (after(995), vec![(1_000, 1_990, 51), (2_000, 2_500, 0)]),
        (after(2_499), vec![(2_500, 2_500, 0)]),
        (after(2_500), vec![(0, 0, 0)]),
    ] {
        let sink = Sink::default();
        f.pull(cursor.clone(), false, &sink).await.expect("pulls");
        assert_eq!(sink.chunks(), expected, "{cursor:?}");
    }
    f.faults.fail(Operation::Count, Fault::Refused);
    let sink = Sink::default();
    let error = f.pull(None, false, &sink).await.expect_err("it has to be counted");
    assert!(matches!(error, PullError::Log(_)), "{error}");
    assert_eq!(sink.times_caught_up(), 0);
}

#[tokio::test]
async fn a_pull_that_is_not_live_ends_where_the_log_stood() {
    let f = fixture();
    f.append_elsewhere(run(0, 250)).await;
    let sink = Sink::slow(1);
    let pulling = f.start_pull(false, &sink).await;
    f.push("a", run(250, 5_000)).await.expect("it fits");
    sink.allow(100);
    let events = pulling.await.expect("no panic").expect("pulls");
    let last = sink.chunks().last().expect("some").1;
    assert!((250..350).contains(&last), "the chunk that has 250 is the last, not that at {last}");
    assert_eq!((events, sink.times_caught_up()), (last.unsigned_abs(), 1));
}

#[tokio::test]
async fn a_live_pull_follows_the_log_before_it_is_live() {
    let f = fixture();
    f.append_elsewhere(run(0, 250)).await;
    let sink = Sink::slow(0);
    let pulling = f.start_pull(true, &sink).await;
    let mut head = 250;
    for _ in 0..20 {
        f.push("a", run(head, head + 130)).await.expect("it fits");
        head += 130;
        sink.allow(1);
        settle().await;
    }
    sink.allow(1_000);
    assert_eq!(pulling.await.expect("no panic").expect("pulls"), head.unsigned_abs());
    let mut expected = 0;
    for (first, last, remaining) in sink.chunks() {
        assert_eq!(first, expected + 1);
        assert!(remaining <= (head - last).unsigned_abs());
        expected = last;
    }
    assert_eq!((expected, sink.times_caught_up()), (head, 1));
}

/// A page is not kept for who takes its time, and what is read again comes once.
#[tokio::test]
async fn a_page_that_has_to_wait_is_read_again() {
    let f = fixture();
    f.append_elsewhere(run(0, 450)).await;
    let sink = Arc::new(Sink { permits: Some(Semaphore::new(0)), hurried: true, ..Sink::default() });
    let pulling = f.start_pull(false, &sink).await;
    for sent in 0..5 {
        settle().await;
        assert_eq!(sink.chunks().len(), sent);
        sink.allow(1);
    }
    assert_eq!(pulling.await.expect("no panic").expect("pulls"), 450);
    let expected = [(1, 100, 350), (101, 200, 250), (201, 300, 150), (301, 400, 50), (401, 450, 0)];
    assert_eq!(sink.chunks(), expected);
}

#[tokio::test]
async fn a_pull_that_waits_for_a_commit_gets_what_it_commits() {
    let f = fixture();
    f.hold_appends();
    let pushing = f.start_push("a", run(0, 3)).await;
    let sink = Arc::new(Sink::default());
    let pulling = f.start_pull(true, &sink).await;
    assert_eq!((sink.chunks(), sink.times_caught_up()), (vec![], 0));
    f.let_through(1);
    pushing.await.expect("no panic").expect("it fits");
    pulling.await.expect("no panic").expect("pulls");
    assert_eq!((sink.chunks(), sink.times_caught_up()), (vec![(1, 3, 0)], 1));
}

#[tokio::test]
async fn a_pull_tells_the_others_what_another_writer_appended() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.append_elsewhere(run(1, 5)).await;
    let sink = Sink::default();
    f.pull(None, true, &sink).await.expect("pulls");
    assert_eq!((sink.chunks(), sink.times_caught_up()), (vec![(1, 5, 0)], 1));
    // Whoever was live before has them too now, so what comes next goes to all alike.
    assert_eq!(f.published()[1..], [(2, 5, None)]);
    f.push("b", run(5, 6)).await.expect("it fits");
    assert_eq!(f.published()[2..], [(6, 6, by("b"))]);
}

#[tokio::test]
async fn a_pull_ends_with_its_client() {
    let f = fixture();
    f.append_elsewhere(run(0, 250)).await;
    let sink = Sink { gone_after: Some(1), ..Sink::default() };
    let error = f.pull(None, true, &sink).await.expect_err("it is gone");
    assert!(matches!(error, PullError::Gone), "{error}");
    assert_eq!((sink.chunks().len(), sink.times_caught_up()), (1, 0));
}

#[tokio::test]
async fn a_pull_that_is_dropped_is_not_live() {
    let f = fixture();
    f.append_elsewhere(run(0, 250)).await;
    let sink = Sink::slow(1);
    let pulling = f.start_pull(true, &sink).await;
    pulling.abort();
    assert!(pulling.await.expect_err("it was aborted").is_cancelled());
    f.push("a", run(250, 251)).await.expect("nobody holds the lock");
    assert_eq!((sink.chunks(), sink.times_caught_up()), (vec![(1, 100, 150)], 0));
}

#[tokio::test]
async fn a_log_that_fails_fails_the_pull_and_not_the_store() {
    for operation in [Operation::BackendId, Operation::Head, Operation::Read] {
        let f = fixture();
        f.append_elsewhere(run(0, 3)).await;
        f.faults.fail(operation, Fault::Refused);
        let sink = Sink::default();
        let error = f.pull(None, true, &sink).await.expect_err("the log fails");
        assert!(matches!(error, PullError::Log(_)), "{operation:?}: {error}");
        assert_eq!((sink.chunks(), sink.times_caught_up()), (vec![], 0));
        assert_eq!(f.pull(None, true, &sink).await.expect("pulls"), 3);
    }
}

/// Whatever fails, and however often: what was sent is not sent again, and nothing is left out.
#[tokio::test]
async fn a_pull_goes_on_where_it_was_when_the_log_failed() {
    let operations =
        [Operation::BackendId, Operation::Head, Operation::Read, Operation::Count, Operation::Events, Operation::Read];
    for (nth, live) in [(0, true), (0, false), (1, true), (1, false), (2, true)] {
        for operation in operations {
            let f = fixture();
            // With a gap, so that what remains is counted.
            f.append_elsewhere([run(0, 150), vec![event(150, 160)], run(160, 300)].concat()).await;
            (0..nth).for_each(|_| f.faults.succeed(operation));
            f.faults.fail(operation, Fault::Refused);
            f.faults.fail(operation, Fault::Refused);
            let sink = Sink { patience: 2, ..Sink::default() };
            assert_eq!(f.pull(None, live, &sink).await.expect("pulls"), 291, "{operation:?} {nth}");
            let chunks = sink.chunks();
            let firsts: Vec<_> = chunks.iter().map(|(first, _, remaining)| (*first, *remaining)).collect();
            assert_eq!(firsts, [(1, 191), (101, 91), (210, 0)], "{operation:?} {nth}: {chunks:?}");
            assert_eq!(sink.times_caught_up(), 1);
            let failures = sink.failures.lock().expect("usable").clone();
            assert!([vec![], vec![1], vec![1, 2]].contains(&failures), "{operation:?} {nth}: {failures:?}");
        }
    }
    // What has worked in between counts for something.
    let f = fixture();
    f.append_elsewhere(run(0, 5_000)).await;
    f.faults.fail(Operation::Read, Fault::Refused);
    f.faults.succeed(Operation::Read);
    f.faults.fail(Operation::Read, Fault::Refused);
    let sink = Sink { patience: 1, ..Sink::default() };
    assert_eq!(f.pull(None, true, &sink).await.expect("pulls"), 5_000);
    assert_eq!(*sink.failures.lock().expect("usable"), [1, 1]);
}

#[tokio::test]
async fn hooks_hear_of_pulls() {
    let results: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&results);
    let hooks = HookFns::new()
        .on_pull(async |pull: Pull, _context| if pull.live { Err(HookError::new("not live")) } else { Ok(()) })
        .on_pull_res(move |pull: Pull, result: Result<u64, PullError>, _context| {
            let result = result.map_err(|error| error.to_string());
            seen.lock().expect("usable").push(format!("{} {result:?}", pull.live));
            async {}
        });
    let f = with_hooks(hooks);
    f.append_elsewhere(run(0, 250)).await;
    let sink = Sink::default();
    assert!(matches!(f.pull(None, true, &sink).await, Err(PullError::Rejected(_))));
    let other = Some(Cursor { backend_id: Some("other".into()), seq_num: seq(1) });
    assert!(matches!(f.pull(other, false, &sink).await, Err(PullError::BackendIdMismatch(_))));
    assert_eq!(sink.chunks(), []);
    f.pull(after(100), false, &sink).await.expect("pulls");
    let mismatch = "the store's backend id is backend, the client has other";
    let expected = ["true Err(\"not live\")".to_owned(), format!("false Err({mismatch:?})"), "false Ok(150)".into()];
    assert_eq!(*results.lock().expect("usable"), expected);
}

#[tokio::test]
async fn pulls_of_one_connection_continue_together() {
    let f = fixture();
    f.append_elsewhere(run(0, 250)).await;
    let (behind, complete) = (Sink::default(), Sink::default());
    f.store
        .continue_pulls(vec![(ItemFormat::V03, seq(120), &behind), (ItemFormat::V03, seq(250), &complete)])
        .await
        .expect("resumes");
    assert_eq!(behind.chunks(), [(121, 220, 30), (221, 250, 0)]);
    assert_eq!(complete.chunks(), [], "it has everything");
    assert_eq!(behind.times_caught_up() + complete.times_caught_up(), 1, "the connection is told once");
}

#[tokio::test]
async fn a_cursor_beyond_the_head_means_that_history_was_lost() {
    let f = fixture();
    f.append_elsewhere(run(0, 5)).await;
    let sink = Sink::default();
    for live in [false, true] {
        assert_eq!(f.pull(after(5), live, &sink).await.expect("it has everything"), 0);
        for position in [6, 1_000] {
            let error = f.pull(after(position), live, &sink).await.expect_err("it has more");
            let PullError::HistoryLost(lost) = error else { panic!("{error}") };
            let expected = HistoryLost { backend_id: BACKEND_ID.into(), head: seq(5), position: seq(position) };
            assert_eq!(lost, expected);
        }
    }
    assert_eq!(sink.times_caught_up(), 2);
    let continued = f.store.continue_pulls(vec![(ItemFormat::V03, seq(6), &sink), (ItemFormat::V03, seq(5), &sink)]);
    assert!(matches!(continued.await, Err(PullError::HistoryLost(_))));
    // An event that somebody else appended is looked for before anything is called lost.
    f.append_elsewhere(run(5, 6)).await;
    assert_eq!(f.pull(after(6), true, &sink).await.expect("it is there"), 0);
}
