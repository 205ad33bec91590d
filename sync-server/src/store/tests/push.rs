use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use livestore_sync_protocol::limits::BATCH_EVENTS_MAX;
use livestore_sync_protocol::{Args, Event, ItemFormat, SeqNum};
use tokio::sync::Notify;

use super::super::Pushed::{self, Committed, Repeated};
use super::{BACKEND_ID, by, context, event, fixture, now_ms, origin, run, seq, settle, with_hooks};
use crate::error::{HistoryLost, HookError, InvalidBatch, LogError};
use crate::event_log::{Fault, Operation};
use crate::failure::Failure;
use crate::hooks::{HookContext, HookFns, Hooks, Pull, Push};
use crate::platform::paused::Paused;
use crate::{PullError, PushError};

#[tokio::test]
async fn acknowledged_means_committed() {
    let f = fixture();
    f.hold_appends();
    let pushing = f.start_push("a", run(0, 3)).await;
    assert!(!pushing.is_finished() && f.published().is_empty(), "the log has not answered");
    f.let_through(1);
    assert_eq!(pushing.await.expect("no panic").expect("it fits"), Committed);
    assert_eq!((f.stored().await, f.published()), (vec![1, 2, 3], vec![(1, 3, by("a"))]));
}

#[tokio::test]
async fn a_batch_must_start_at_the_head() {
    let f = fixture();
    f.push("a", run(0, 3)).await.expect("it fits");
    for (parent, last) in [(0, 1), (2, 5)] {
        let mut events = run(parent, last);
        events[0].name = "another".into();
        let error = f.push("b", events).await.expect_err("it does not fit");
        let PushError::ServerAhead { head, provided } = error else { panic!("{error}") };
        assert_eq!((head, provided), (seq(3), seq(parent)));
    }
    assert_eq!((f.stored().await.len(), f.published().len()), (3, 1));
}

#[tokio::test]
async fn a_parent_beyond_the_head_means_that_history_was_lost() {
    let f = fixture();
    f.push("a", run(0, 3)).await.expect("it fits");
    // Together with one that fits, and alone.
    f.hold_appends();
    let first = f.start_push("first", run(3, 4)).await;
    let fitting = f.start_push("fits", run(4, 5)).await;
    let beside = f.start_push("beside", run(9, 10)).await;
    f.let_through(usize::MAX >> 4);
    for pushing in [first, fitting] {
        assert_eq!(pushing.await.expect("no panic").expect("it fits"), Committed);
    }
    let alone = f.push("b", run(100, 101)).await;
    for (result, at) in [(beside.await.expect("no panic"), 9), (alone, 100)] {
        let Err(PushError::HistoryLost(lost)) = result else { panic!("{result:?}") };
        let expected = HistoryLost { backend_id: BACKEND_ID.into(), head: seq(5), position: seq(at) };
        assert_eq!(lost, expected);
    }
    assert_eq!((f.stored().await.len(), f.published().len()), (5, 3));
}

/// A client may push on before it has an answer. If the first of its pushes is refused, the others follow what is
/// not there, and nothing was lost.
#[tokio::test]
async fn pushes_on_top_of_a_refused_one_are_only_late() {
    let f =
        with_hooks(HookFns::new().on_push(async |push: Push, _| {
            if push.batch[0].name == "bad" { Err(HookError::new("no")) } else { Ok(()) }
        }));
    f.push("other", run(0, 3)).await.expect("it fits");
    let refusals = Arc::default();
    let admit = async |events: Vec<Event>| {
        let push = Push { batch: events.into() };
        f.store.admit(push, Some(BACKEND_ID), None, &refusals, context(), now_ms()).await
    };
    // Three at once, of which the first has lost a race: the others reach beyond the head.
    let mut late = run(2, 6);
    late[0].name = "mine".into();
    let mut admitted = Vec::new();
    for events in [late, run(6, 8), run(8, 9)] {
        admitted.push(admit(events).await.expect("admitted"));
    }
    for (admitted, parent) in admitted.into_iter().zip([2, 6, 8]) {
        let result = f.store.complete(admitted).await.result;
        assert!(
            matches!(result, Err(PushError::ServerAhead { head, provided }) if (head, provided) == (seq(3), seq(parent))),
            "{result:?}"
        );
    }
    // What a client builds on that it never pushed is still found out.
    let lost = f.store.complete(admit(run(20, 21)).await.expect("admitted")).await.result;
    assert!(matches!(lost, Err(PushError::HistoryLost(_))), "{lost:?}");
}

#[tokio::test]
async fn a_log_that_was_put_back_while_it_is_served_is_noticed() {
    let f = fixture();
    f.push("a", run(0, 10)).await.expect("it fits");
    f.log.truncate(seq(5));
    let result = f.push("b", run(10, 11)).await;
    assert!(matches!(result, Err(PushError::HistoryLost(_))), "{result:?}");
    assert_eq!(f.store.publisher().lost(), [(5, 10)]);
    // Told once, and what comes then is published.
    f.push("c", run(5, 7)).await.expect("it fits");
    assert_eq!(f.store.publisher().lost(), [(5, 10)]);
    assert_eq!(f.published().last(), Some(&(6, 7, by("c"))));
}

#[tokio::test]
async fn what_can_never_fit_does_not_reach_the_log() {
    let f = fixture();
    let mut broken = run(0, 2);
    broken.push(event(1, 3));
    let error = f.push("a", broken).await.expect_err("it is broken");
    assert!(matches!(error, PushError::InvalidBatch(InvalidBatch::BrokenChain { .. })), "{error}");
    let one = || Push { batch: run(0, 1).into() };
    let admitted = f.store.admit(one(), Some("another"), None, &Arc::default(), context(), now_ms()).await;
    assert!(matches!(admitted, Err(PushError::BackendIdMismatch(_))));
    assert!(f.appends().is_empty());
    let unknown =
        f.store.admit(one(), None, None, &Arc::default(), context(), now_ms()).await.expect("0.3 knows no ids");
    f.store.complete(unknown).await.result.expect("it fits");
}

#[tokio::test]
async fn a_batch_that_is_there_is_acknowledged_again_and_not_published() {
    let f = fixture();
    f.push("a", run(0, 5)).await.expect("it fits");
    for (parent, last) in [(0, 5), (0, 1), (2, 4), (4, 5)] {
        assert_eq!(f.push("b", run(parent, last)).await.expect("it is there"), Repeated);
    }
    assert_eq!((f.stored().await.len(), f.published()), (5, vec![(1, 5, by("a"))]));
}

#[tokio::test]
async fn a_batch_that_differs_from_what_is_there_is_refused() {
    let f = fixture();
    f.push("a", vec![event(0, 1), event(1, 2), event(2, 10)]).await.expect("it fits");
    let other = |change: fn(&mut Event)| {
        let mut events = run(0, 2);
        change(&mut events[1]);
        events
    };
    for (what, events) in [
        ("name", other(|event| event.name.push('x'))),
        ("args", other(|event| event.args = Args::from_json("1".into()).expect("JSON"))),
        ("client", other(|event| event.client_id.push('x'))),
        ("session", other(|event| event.session_id.push('x'))),
        ("a number in a gap", vec![event(1, 2), event(2, 3)]),
        ("more than is there", vec![event(2, 10), event(10, 11), event(11, 12)]),
        ("less than is there", vec![event(0, 2)]),
    ] {
        let result = f.push("b", events).await;
        assert!(matches!(result, Err(PushError::ServerAhead { .. })), "{what}: {result:?}");
    }
    assert_eq!(f.stored().await, [1, 2, 10]);
}

#[tokio::test]
async fn pushes_that_arrive_during_an_append_share_the_next() {
    let f = fixture();
    f.hold_appends();
    let mut pushing = Vec::new();
    for (request_id, parent, last) in [("a", 0, 1), ("b", 1, 3), ("c", 3, 4), ("stale", 1, 2), ("d", 4, 5)] {
        pushing.push(f.start_push(request_id, run(parent, last)).await);
    }
    f.let_through(2);
    let mut results = Vec::new();
    for pushing in pushing {
        results.push(pushing.await.expect("no panic").expect("the stale one is there by then"));
    }
    assert_eq!(results, [Committed, Committed, Committed, Repeated, Committed]);
    assert_eq!(f.appends(), [1, 3]);
    let published = [(1, 1, by("a")), (2, 3, by("b")), (4, 4, by("c")), (5, 5, by("d"))];
    assert_eq!(f.published(), published, "each batch by itself, in the order of the log");
}

#[tokio::test]
async fn one_append_takes_so_many_events_and_no_more() {
    let f = fixture();
    f.hold_appends();
    let batch = BATCH_EVENTS_MAX as i64;
    let mut pushing = Vec::new();
    for (parent, last) in [(0, 1), (1, batch + 1), (batch + 1, 2 * batch + 1), (2 * batch + 1, 2 * batch + 2)] {
        pushing.push(f.start_push("a", run(parent, last)).await);
    }
    f.let_through(3);
    for pushing in pushing {
        pushing.await.expect("no panic").expect("it fits");
    }
    assert_eq!(f.appends(), [1, 2, 1]);
}

/// However many pushes come, nobody waits for more than the commit that is under way.
#[tokio::test]
async fn a_push_does_not_commit_those_that_come_after_it() {
    let f = fixture();
    f.hold_appends();
    let first = f.start_push("a", run(0, 1)).await;
    let store = Arc::clone(&f.store);
    let looking = tokio::spawn(async move { store.current_head().await });
    let second = f.start_push("b", run(1, 2)).await;
    f.let_through(1);
    settle().await;
    assert!(first.is_finished() && looking.is_finished() && !second.is_finished());
    assert_eq!(f.appends(), [1, 1]);
    f.let_through(1);
    second.await.expect("no panic").expect("it fits");
}

#[tokio::test]
async fn a_push_whose_caller_went_away_is_committed_with_the_next() {
    let f = fixture();
    let push = Push { batch: run(0, 1).into() };
    drop(
        f.store.admit(push, None, Some(origin("gone")), &Arc::default(), context(), now_ms()).await.expect("admitted"),
    );
    f.push("a", run(1, 2)).await.expect("it fits behind the other");
    assert_eq!(f.published(), [(1, 1, by("gone")), (2, 2, by("a"))]);
}

#[tokio::test]
async fn a_commit_that_is_cut_off_is_looked_up() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.hold_appends();
    let cut_off = f.start_push("b", run(1, 2)).await;
    let behind = f.start_push("c", run(2, 3)).await;
    // As if the append went through all the same.
    f.append_elsewhere(run(1, 2)).await;
    cut_off.abort();
    assert!(cut_off.await.expect_err("it was aborted").is_cancelled());
    f.let_through(10);
    assert_eq!(behind.await.expect("no panic").expect("it fits"), Committed);
    assert_eq!(f.published(), [(1, 1, by("a")), (2, 2, None), (3, 3, by("c"))]);
}

#[tokio::test]
async fn another_writers_events_are_published_before_the_answer() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.append_elsewhere(run(1, 3)).await;
    let error = f.push("b", vec![event(1, 2), event(2, 50)]).await.expect_err("somebody was faster");
    assert!(matches!(error, PushError::ServerAhead { head, .. } if head == seq(3)), "{error}");
    assert_eq!(f.published(), [(1, 1, by("a")), (2, 3, None)]);
    f.push("b", run(3, 4)).await.expect("it fits");
    assert_eq!(f.published().len(), 3);
}

#[tokio::test]
async fn a_pusher_that_knows_another_writers_events_is_believed() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.append_elsewhere(run(1, 3)).await;
    assert_eq!(f.push("b", run(3, 4)).await.expect("it fits the log"), Committed);
    assert_eq!(f.published(), [(1, 1, by("a")), (2, 3, None), (4, 4, by("b"))]);
}

#[tokio::test]
async fn an_append_whose_answer_is_lost_is_looked_up_and_published() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.faults.fail(Operation::Append, Fault::LostAfter);
    assert_eq!(f.push("b", run(1, 3)).await.expect("the log has it"), Repeated);
    assert_eq!(f.published(), [(1, 1, by("a")), (2, 3, None)]);
    f.push("c", run(3, 4)).await.expect("it fits");
    assert_eq!(f.published().len(), 3, "and nothing is published twice");
}

#[tokio::test]
async fn an_append_that_is_lost_is_an_error_and_may_be_repeated() {
    for fault in [Fault::LostBefore, Fault::Refused] {
        let f = fixture();
        f.faults.fail(Operation::Append, fault);
        let error = f.push("a", run(0, 2)).await.expect_err("nothing is stored");
        let PushError::Log(error) = error else { panic!("{error}") };
        assert_eq!(matches!(error, LogError::NothingStored(_)), fault == Fault::Refused);
        assert_eq!((f.stored().await, f.published()), (vec![], vec![]));
        assert_eq!(f.push("a", run(0, 2)).await.expect("it fits"), Committed);
        assert_eq!(f.published(), [(1, 2, by("a"))]);
    }
}

/// A database may do what it was asked after it was given up: D1 does not answer, and stores the batch a second later.
#[tokio::test]
async fn an_append_that_is_done_late_is_seen_without_another_push() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.faults.fail(Operation::Append, Fault::LostBefore);
    f.push("b", run(1, 3)).await.expect_err("nobody knows");
    assert_eq!(f.store.current_head().await.expect("reads").seq_num, seq(1), "not yet");
    f.append_elsewhere(run(1, 3)).await;
    assert_eq!(f.store.current_head().await.expect("reads").seq_num, seq(3), "a puller must not hear that it has all");
    assert_eq!(f.published(), [(1, 1, by("a")), (2, 3, None)]);
    assert_eq!(f.store.known_head(), Some(seq(3)), "it is settled");
}

#[tokio::test(start_paused = true)]
async fn live_pulls_get_what_an_append_does_late() {
    let f = fixture();
    f.faults.fail(Operation::Append, Fault::LostBefore);
    f.push("a", run(0, 2)).await.expect_err("nobody knows");
    let store = Arc::clone(&f.store);
    let settling = tokio::spawn(async move { store.settle(&Paused).await });
    tokio::time::sleep(Duration::from_millis(3_500)).await;
    assert_eq!((f.published(), f.store.known_head()), (vec![], None));
    f.append_elsewhere(run(0, 2)).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(f.published(), [(1, 2, None)]);
    settling.await.expect("it ends");
    f.store.settle(&Paused).await;
    assert_eq!(f.store.known_head(), Some(seq(2)));
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_settled_by_time_or_by_the_next_push() {
    for push in [false, true] {
        let f = fixture();
        f.faults.fail(Operation::Append, Fault::LostBefore);
        f.push("a", run(0, 2)).await.expect_err("nobody knows");
        if push {
            f.push("b", run(0, 1)).await.expect("it fits");
            assert_eq!(f.store.known_head(), Some(seq(1)));
        } else {
            f.store.settle(&Paused).await;
            f.store.current_head().await.expect("reads");
            assert_eq!(f.store.known_head(), Some(SeqNum::ROOT));
        }
    }
}

#[tokio::test]
async fn what_could_not_be_looked_up_is_published_later() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.faults.fail(Operation::Append, Fault::LostAfter);
    f.faults.fail(Operation::Head, Fault::Refused);
    let error = f.push("b", run(1, 3)).await.expect_err("nobody knows");
    assert!(matches!(&error, PushError::Log(LogError::UnknownOutcome(_))), "{error}");
    f.faults.fail(Operation::Events, Fault::Refused);
    f.push("c", run(3, 4)).await.expect_err("still nobody knows");
    assert_eq!(f.published().len(), 1);
    f.push("c", run(3, 4)).await.expect("it fits");
    assert_eq!(f.published(), [(1, 1, by("a")), (2, 3, None), (4, 4, by("c"))]);
    assert_eq!(f.push("b", run(1, 3)).await.expect("it is there"), Repeated);
}

#[tokio::test]
async fn events_that_are_found_keep_their_times() {
    let f = fixture();
    f.push("a", run(0, 1)).await.expect("it fits");
    f.append_elsewhere(run(1, 2)).await;
    f.faults.succeed(Operation::Append);
    f.faults.fail(Operation::Append, Fault::LostAfter);
    f.push("stale", vec![event(1, 9)]).await.expect_err("somebody was faster");
    f.push("b", run(2, 4)).await.expect("the log has it");
    assert_eq!(f.published(), [(1, 1, by("a")), (2, 2, None), (3, 4, None)], "two times, two batches");
}

#[tokio::test]
async fn what_a_hook_rejects_is_not_stored() {
    let results: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&results);
    let hooks = HookFns::new()
        .on_push(async |push: Push, _context| match push.batch.len() {
            2 => Err(HookError::new("no pairs")),
            3 => panic!("the app has a bug"),
            _ => Ok(()),
        })
        .on_push_res(move |push: Push, result: Result<(), PushError>, _context| {
            let result = result.map_err(|error| error.to_string());
            seen.lock().expect("usable").push(format!("{} {result:?}", push.batch.len()));
            async {}
        });
    let f = with_hooks(hooks);
    let error = f.push("a", run(0, 2)).await.expect_err("the hook says no");
    assert!(matches!(&error, PushError::Rejected(text) if text.to_string() == "no pairs"), "{error}");
    let error = f.push("b", run(0, 3)).await.expect_err("the hook panics");
    assert!(matches!(error, PushError::Failed(Failure::Panicked)), "{error}");
    f.push("c", run(0, 1)).await.expect("the store is usable");
    f.push("d", run(5, 9)).await.expect_err("it does not fit");
    assert_eq!((f.stored().await, f.published()), (vec![1], vec![(1, 1, by("c"))]));
    let lost = "the log backend ends at 1, and the client is at 5: events were lost";
    let panicked = "3 Err(\"the server failed on this request\")".to_owned();
    let expected = ["2 Err(\"no pairs\")".to_owned(), panicked, "1 Ok(())".to_owned(), format!("4 Err({lost:?})")];
    assert_eq!(*results.lock().expect("usable"), expected);
}

/// Waits until it is told, for whoever pushes one event, and after each push and pull.
#[derive(Default)]
struct Slow {
    go_on: Notify,
    waiting: AtomicUsize,
}

impl Slow {
    async fn wait(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.go_on.notified().await;
    }
}

impl Hooks for Slow {
    async fn on_push(&self, push: Push, _context: HookContext) -> Result<(), HookError> {
        if push.batch.len() == 1 {
            self.wait().await;
        }
        Ok(())
    }

    async fn on_push_res(&self, _push: Push, _result: Result<(), PushError>, _context: HookContext) {
        self.wait().await;
    }

    async fn on_pull(&self, pull: Pull, _context: HookContext) -> Result<(), HookError> {
        if !pull.live {
            self.wait().await;
        }
        Ok(())
    }

    async fn on_pull_res(&self, _pull: Pull, _result: Result<u64, PullError>, _context: HookContext) {
        self.wait().await;
    }
}

#[tokio::test]
async fn a_slow_hook_delays_nobody_else() {
    let f = with_hooks(Slow::default());
    let slow = f.start_push("slow", run(0, 1)).await;
    for live in [true, false] {
        let store = Arc::clone(&f.store);
        tokio::spawn(async move {
            let sink = super::pull::Sink::default();
            store.pull(Pull { cursor: None, live }, ItemFormat::Rpc, context(), &sink).await
        });
    }
    settle().await;
    assert_eq!(f.store.hooks().app().waiting.load(Ordering::Relaxed), 3);
    // Two that wait for their last hook only.
    f.start_push("fast", run(0, 2)).await;
    f.start_push("faster", run(2, 4)).await;
    assert_eq!(f.published(), [(1, 2, by("fast")), (3, 4, by("faster"))]);
    f.store.hooks().app().go_on.notify_waiters();
    settle().await;
    f.store.hooks().app().go_on.notify_waiters();
    let pushed: Pushed = slow.await.expect("no panic").expect("it is there, by chance");
    assert_eq!(pushed, Repeated);
}

#[tokio::test]
async fn a_push_is_answered_before_its_hook_is_told() {
    let f = with_hooks(Slow::default());
    let batch = Push { batch: run(0, 2).into() };
    let admitted = f.store.admit(batch, None, None, &Arc::default(), context(), now_ms()).await.expect("admitted");
    let completed = f.store.complete(admitted).await;
    assert_eq!(*completed.result.as_ref().expect("it fits"), Committed);
    assert_eq!(f.store.hooks().app().waiting.load(Ordering::Relaxed), 0);
    let ended = f.store.ended(completed);
    let mut ended = std::pin::pin!(ended);
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(ended.as_mut().poll(cx).is_pending())).await);
    f.store.current_head().await.expect("the lock is free meanwhile");
}
