use livestore_sync_protocol::Args;

use super::super::pace::{HURRIED, WAITING_BYTES_MAX};
use super::super::{Admitted, Pushed};
use super::*;

/// The clock of these tests goes on by a millisecond at each look.
const LONG: Duration = Duration::from_secs(3_600);

/// A store with a large audience, which has just been published the event 1.
async fn resting() -> Fixture<()> {
    let f = fixture();
    *f.store.publisher().rest.lock().expect("usable") = LONG;
    f.push("first", run(0, 1)).await.expect("it fits");
    assert_eq!(f.published(), [(1, 1, by("first"))], "nobody has to wait after a time without pushes");
    f
}

impl Fixture<()> {
    fn acknowledged(&self) -> Vec<String> {
        self.store.publisher().acknowledged.lock().expect("usable").clone()
    }

    async fn admit(&self, request_id: &str, events: Vec<Event>) -> Admitted {
        let push = Push { batch: events.into() };
        let (origin, refusals) = (Some(origin(request_id)), Arc::default());
        let admitted = self.store.admit(push, Some(BACKEND_ID), origin, &refusals, context(), now_ms());
        admitted.await.expect("it is well formed")
    }
}

#[tokio::test]
async fn what_is_committed_while_publications_rest_shares_the_next() {
    let f = resting().await;
    let mut waits = Vec::new();
    for (number, id) in [(1, "a"), (2, "b"), (3, "c")] {
        let completed = f.store.complete(f.admit(id, run(number, number + 1)).await).await;
        assert_eq!(*completed.result.as_ref().expect("it fits"), Pushed::Committed);
        waits.push(completed.publish_in.is_some_and(|wait| wait < LONG && wait > LONG / 2));
    }
    assert_eq!(waits, [true, false, false], "one comes for all");
    assert_eq!(f.acknowledged(), ["a", "b", "c"]);
    assert_eq!(f.published().len(), 1);
    f.store.publish_awaited().await;
    assert_eq!(f.published()[1..], [(2, 4, None)]);
    f.store.publish_awaited().await;
    assert_eq!(f.published().len(), 2, "once");
}

#[tokio::test]
async fn a_push_that_waits_in_vain_lets_the_next_ones_go_at_once() {
    let f = resting().await;
    f.push("alone", run(1, 2)).await.expect("it fits");
    f.store.publish_awaited().await;
    assert_eq!(f.published()[1..], [(2, 2, None)]);
    for number in 2..2 + i64::from(HURRIED) {
        f.push("next", run(number, number + 1)).await.expect("it fits");
        assert_eq!(f.published().last(), Some(&(number + 1, number + 1, by("next"))));
    }
    let published = f.published().len();
    f.push("waits", run(2 + i64::from(HURRIED), 3 + i64::from(HURRIED))).await.expect("it fits");
    assert_eq!(f.published().len(), published);
}

/// A pull would get it twice or not at all.
#[tokio::test]
async fn who_looks_where_the_log_stands_finds_all_of_it_published() {
    let f = resting().await;
    f.push("a", run(1, 2)).await.expect("it fits");
    assert_eq!(f.store.current_head().await.expect("reads").seq_num, seq(2));
    assert_eq!(f.published()[1..], [(2, 2, None)]);
}

/// A client that is refused waits for what it lost to.
#[tokio::test]
async fn what_a_push_lost_to_is_published_before_it_is_refused() {
    let f = resting().await;
    f.push("winner", run(1, 2)).await.expect("it fits");
    let lost = f.push("loser", run(1, 3)).await;
    assert!(matches!(lost, Err(PushError::ServerAhead { .. })), "{lost:?}");
    assert_eq!(f.published()[1..], [(2, 2, None)]);
}

#[tokio::test]
async fn what_others_append_is_published_behind_what_waits() {
    let f = resting().await;
    f.push("a", run(1, 2)).await.expect("it fits");
    f.append_elsewhere(run(2, 3)).await;
    f.push("b", run(3, 4)).await.expect("it fits");
    f.store.publish_awaited().await;
    let numbers: Vec<_> = f.published().iter().map(|(first, last, _)| (*first, *last)).collect();
    assert_eq!(numbers, [(1, 1), (2, 2), (3, 3), (4, 4)]);
}

#[tokio::test]
async fn what_waits_has_a_limit() {
    let of = |parent, bytes| {
        let mut event = event(parent, parent + 1);
        event.args = Args::from_json(format!("\"{}\"", "x".repeat(bytes))).expect("JSON");
        event
    };
    // Beside its args an event has a name, a client and a session of one byte each, and args have quotes.
    let half = WAITING_BYTES_MAX / 2 - 5;
    for (second, waits) in [(half, true), (half + 1, false)] {
        let f = resting().await;
        f.push("a", vec![of(1, half)]).await.expect("it fits");
        f.push("b", vec![of(2, second)]).await.expect("it fits");
        assert_eq!(f.published().len(), if waits { 1 } else { 2 }, "{second}");
        assert_eq!(f.acknowledged(), ["a", "b"]);
    }
}
