//! Events, batches and readings for the suite.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use livestore_sync_protocol::{Args, Chunk, Event, ItemFormat, PulledEvent, SeqNum};

use super::super::{AppendError, EventLog, Head};
use crate::Batch;

pub(super) const CREATED_AT: &str = "2026-11-21T00:14:31.259Z";

pub(super) const FORMATS: [ItemFormat; 2] = [ItemFormat::V03, ItemFormat::Rpc];

pub(super) fn seq(number: i64) -> SeqNum {
    SeqNum::new(number).expect("a safe integer")
}

pub(super) fn event(parent: i64, number: i64) -> Event {
    Event {
        name: "todoCreated".into(),
        args: args(&format!(r#"{{"n":{number}}}"#)),
        seq_num: seq(number),
        parent_seq_num: seq(parent),
        client_id: "client".into(),
        session_id: "session".into(),
    }
}

pub(super) fn args(json: &str) -> Args {
    Args::from_json(json.into()).expect("JSON")
}

/// Events with these numbers, each the child of the one before.
pub(super) fn chain(parent: i64, numbers: impl IntoIterator<Item = i64>) -> Vec<Event> {
    let mut parent = parent;
    numbers.into_iter().map(|number| event(std::mem::replace(&mut parent, number), number)).collect()
}

pub(super) fn batch(events: Vec<Event>) -> Arc<Batch> {
    Arc::new(Batch::new(events.into(), CREATED_AT.into()))
}

/// The events `parent + 1 ..= last`.
pub(super) fn run(parent: i64, last: i64) -> Arc<Batch> {
    batch(chain(parent, parent + 1..=last))
}

/// An event whose rendered item is about so large.
pub(super) fn sized(number: i64, bytes: usize) -> Event {
    Event { args: args(&format!("\"{}\"", "x".repeat(bytes))), ..event(number - 1, number) }
}

/// An event whose `args` have about so many bytes, of which each is escaped where its JSON is put into another.
pub(super) fn sized_of_quotes(number: i64, bytes: usize) -> Event {
    Event { args: args(&format!("\"{}\"", "\\\"".repeat(bytes / 2))), ..event(number - 1, number) }
}

pub(super) async fn head_of(log: &impl EventLog) -> Head {
    log.head().await.expect("the log says where it stands")
}

/// Appends at the head.
pub(super) async fn append(log: &impl EventLog, batches: &[Arc<Batch>]) -> Result<(), AppendError> {
    log.append(head_of(log).await, batches.to_vec()).await
}

/// What a puller gets of these batches: their items, separated by commas.
pub(super) fn items(batches: &[Arc<Batch>], format: ItemFormat) -> String {
    let mut items = Vec::new();
    for row in batches.iter().flat_map(|batch| batch.rows()) {
        let mut item = String::new();
        row.render(format, &mut item);
        items.push(item);
    }
    items.join(",")
}

pub(super) fn pulled(batches: &[Arc<Batch>]) -> Vec<PulledEvent> {
    let with_time = |batch: &Arc<Batch>| {
        let created_at = Some(batch.created_at().to_owned());
        let pulled = move |event: &Event| PulledEvent { event: event.clone(), created_at: created_at.clone() };
        batch.events().iter().map(pulled).collect::<Vec<_>>()
    };
    batches.iter().flat_map(with_time).collect()
}

/// All chunks above a cursor, page by page.
pub(super) async fn chunks(log: &impl EventLog, after: SeqNum, format: ItemFormat) -> Vec<Chunk> {
    let mut after = after;
    let mut chunks: Vec<Chunk> = Vec::new();
    loop {
        let page = log.read(after, format).await.expect("the log can be read");
        if let Some(last) = page.chunks.last() {
            after = last.last;
        }
        chunks.extend(page.chunks);
        if !page.more {
            return chunks;
        }
    }
}

pub(super) fn join(chunks: &[Chunk]) -> String {
    chunks.iter().map(|chunk| &*chunk.items).collect::<Vec<_>>().join(",")
}

/// The log holds exactly these batches, whichever way one looks.
pub(super) async fn assert_holds(log: &impl EventLog, batches: &[Arc<Batch>]) {
    let expected = pulled(batches);
    let head = expected.last().map_or(SeqNum::ROOT, |last| last.event.seq_num);
    let gaps = head.get().unsigned_abs() - expected.len() as u64;
    assert_eq!(head_of(log).await, Head::new(head, gaps));
    assert_eq!(log.count(SeqNum::ROOT).await.expect("counts"), expected.len() as u64);
    let limit = u32::try_from(expected.len() + 1).expect("few events");
    assert_eq!(log.events(SeqNum::ROOT, SeqNum::MAX, limit).await.expect("reads"), expected);
    for format in FORMATS {
        assert_eq!(join(&chunks(log, SeqNum::ROOT, format).await), items(batches, format));
    }
}

/// Runs futures at once, in this task.
pub(super) async fn all_at_once<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        for (future, output) in running.iter_mut().filter(|(_, output)| output.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *output = Some(value);
            }
        }
        if running.iter().all(|(_, output)| output.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}
