//! What the suite of logs cannot ask, because it has one log of each: a store exists from its first event. Before,
//! nothing of it is kept, and its backend id is the same whenever it is opened.

use std::sync::Arc;

use livestore_sync_server::Batch;
use livestore_sync_server::event_log::{AppendError, EventLog, Head};
use livestore_sync_server::protocol::{Args, Event, ItemFormat, SeqNum};
use livestore_sync_server::worker::WorkerLog;

pub(crate) const NAMES: [&str; 2] = ["a_store_begins_with_its_first_event", "a_store_that_others_begin_is_found"];

/// Runs a function of this module. `open` opens the log of one store again and again; `kept` counts what there is of it.
pub(crate) async fn run(name: &str, open: impl AsyncFn() -> WorkerLog, kept: impl AsyncFn() -> u64) {
    match name {
        "a_store_begins_with_its_first_event" => a_store_begins_with_its_first_event(open, kept).await,
        "a_store_that_others_begin_is_found" => a_store_that_others_begin_is_found(open).await,
        unknown => panic!("there is no {unknown}"),
    }
}

fn batch(parent: i64, number: i64) -> Vec<Arc<Batch>> {
    let at = |number| SeqNum::new(number).expect("safe");
    let event = Event {
        name: "n".into(),
        args: Args::default(),
        seq_num: at(number),
        parent_seq_num: at(parent),
        client_id: "c".into(),
        session_id: "s".into(),
    };
    vec![Arc::new(Batch::new([event].into(), "2026-11-28T00:00:00.000Z".into()))]
}

async fn a_store_begins_with_its_first_event(open: impl AsyncFn() -> WorkerLog, kept: impl AsyncFn() -> u64) {
    let log = open().await;
    let id = log.backend_id().await.expect("an id");
    assert_eq!(log.head().await.expect("reads"), Head::EMPTY);
    assert_eq!(log.head().await.expect("looks again"), Head::EMPTY);
    assert!(log.read(SeqNum::ROOT, ItemFormat::Rpc).await.expect("reads").chunks.is_empty());
    assert!(log.events(SeqNum::ROOT, SeqNum::MAX, 10).await.expect("reads").is_empty());
    assert_eq!(log.count(SeqNum::ROOT).await.expect("reads"), 0);
    let stale = log.append(Head::new(SeqNum::new(7).expect("safe"), 0), batch(7, 8)).await;
    assert!(matches!(stale, Err(AppendError::HeadMoved)), "{stale:?}");
    assert_eq!((open().await.backend_id().await.expect("an id"), kept().await), (Arc::clone(&id), 0), "before");
    log.append(Head::EMPTY, batch(0, 3)).await.expect("appends");
    assert!(kept().await > 0);
    let expected = Head::new(SeqNum::new(3).expect("safe"), 2);
    for log in [log, open().await] {
        assert_eq!(
            (log.backend_id().await.expect("an id"), log.head().await.expect("reads")),
            (Arc::clone(&id), expected)
        );
    }
}

async fn a_store_that_others_begin_is_found(open: impl AsyncFn() -> WorkerLog) {
    let (first, second, third) = (open().await, open().await, open().await);
    assert_eq!(second.head().await.expect("reads"), Head::EMPTY);
    first.append(Head::EMPTY, batch(0, 1)).await.expect("appends");
    let late = third.append(Head::EMPTY, batch(0, 1)).await;
    assert!(matches!(late, Err(AppendError::HeadMoved)), "{late:?}");
    let head = Head::new(SeqNum::new(1).expect("safe"), 0);
    assert_eq!(second.head().await.expect("reads"), head);
    second.append(head, batch(1, 2)).await.expect("appends");
    assert_eq!(first.count(SeqNum::ROOT).await.expect("reads"), 2);
}
