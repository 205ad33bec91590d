//! What reads promise.

use std::sync::Arc;

use livestore_sync_protocol::limits::{CHUNK_BYTES_GOOD, CHUNK_EVENTS_MAX, EVENT_BYTES_MAX};
use livestore_sync_protocol::{Chunk, ItemFormat, SeqNum};

use super::super::{EventLog, PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use super::sample::{
    FORMATS, all_at_once, append, assert_holds, batch, chain, chunks, head_of, items, join, pulled, run, seq, sized,
    sized_of_quotes,
};

/// A cursor is exclusive, and need not be an event's number.
pub async fn reads_start_above_the_cursor(log: &impl EventLog) {
    let batches = [batch(chain(0, [10, 20, 21]))];
    append(log, &batches).await.expect("appends");
    let max = SeqNum::MAX.get();
    for (after, expected) in [(-max, 3), (-1, 3), (0, 3), (9, 3), (10, 2), (15, 2), (20, 1), (21, 0), (22, 0), (max, 0)]
    {
        for format in FORMATS {
            let chunks = chunks(log, seq(after), format).await;
            let events: usize = chunks.iter().map(|chunk| chunk.events).sum();
            assert_eq!(events, expected, "above {after}");
            assert!(items(&batches, format).ends_with(&join(&chunks)), "above {after}");
        }
    }
}

/// A page has at most [`PAGE_EVENTS_MAX`] events and says whether more may follow.
pub async fn pages_add_up_to_the_log(log: &impl EventLog) {
    let page_max = i64::from(PAGE_EVENTS_MAX);
    let mut stored = Vec::new();
    for (parent, last) in [(0, page_max - 1), (page_max - 1, page_max), (page_max, page_max + 1), (page_max + 1, 2_500)]
    {
        stored.push(run(parent, last));
        append(log, &stored[stored.len() - 1..]).await.expect("appends");
        assert_holds(log, &stored).await;
        let mut after = SeqNum::ROOT;
        loop {
            let page = log.read(after, ItemFormat::Rpc).await.expect("reads");
            let events: usize = page.chunks.iter().map(|chunk| chunk.events).sum();
            assert!(events <= PAGE_EVENTS_MAX as usize, "{events} events in a page");
            let left = log.count(after).await.expect("counts");
            assert!(page.more || events as u64 == left, "{events} events above {after}, {left} are there");
            assert!(events > 0 || left == 0, "an empty page above {after}, {left} are there");
            check_numbers(&page.chunks, after);
            match page.chunks.last() {
                Some(chunk) => after = chunk.last,
                None => break,
            }
        }
        assert_eq!(after, seq(last));
    }
}

/// A page ends once it has [`PAGE_BYTES_MAX`] bytes.
pub async fn pages_end_by_bytes(log: &impl EventLog) {
    const EVENT_BYTES: usize = 300_000;
    let batches = [batch((1..=20).map(|number| sized(number, EVENT_BYTES)).collect())];
    append(log, &batches).await.expect("appends");
    let mut after = SeqNum::ROOT;
    loop {
        let page = log.read(after, ItemFormat::V03).await.expect("reads");
        let bytes: usize = page.chunks.iter().map(|chunk| chunk.items.len()).sum();
        assert!(bytes < PAGE_BYTES_MAX + 2 * EVENT_BYTES, "{bytes} bytes in a page");
        let Some(last) = page.chunks.last() else { break };
        after = last.last;
    }
    assert_holds(log, &batches).await;
}

/// A page has at least one event, even one that no page should hold. `event_bytes` is as much as
/// the backend can hold; beyond [`PAGE_BYTES_MAX`] is best.
pub async fn a_page_has_an_event_larger_than_itself(log: &impl EventLog, event_bytes: usize) {
    let [plain, quotes] = [sized(2, event_bytes), sized_of_quotes(3, event_bytes)];
    let batches = [run(0, 1), batch(vec![plain]), batch(vec![quotes]), run(3, 4), batch(vec![sized(5, event_bytes)])];
    append(log, &batches[..4]).await.expect("appends");
    append(log, &batches[4..]).await.expect("appends one alone");
    for large in [2, 3, 5] {
        let page = log.read(seq(large - 1), ItemFormat::Rpc).await.expect("reads");
        assert_eq!((page.chunks[0].first, page.chunks[0].last), (seq(large), seq(large)), "it travels alone");
    }
    assert_holds(log, &batches).await;
}

/// Chunks are what the wire allows, at either limit, and tell what they hold.
pub async fn chunks_keep_the_limits_of_the_wire(log: &impl EventLog) {
    let mut events = chain(0, 1..=250);
    events.extend((251..=256).map(|number| sized(number, 400_000)));
    events.extend([sized(257, EVENT_BYTES_MAX - 500)]);
    events.extend(chain(257, 258..=360));
    let batches = [batch(events)];
    append(log, &batches).await.expect("appends");
    for format in FORMATS {
        let chunks = chunks(log, SeqNum::ROOT, format).await;
        check_numbers(&chunks, SeqNum::ROOT);
        for chunk in &chunks {
            assert!(chunk.events <= CHUNK_EVENTS_MAX, "{} events in a chunk", chunk.events);
            assert!(chunk.items.len() <= CHUNK_BYTES_GOOD || chunk.events == 1, "{} bytes", chunk.items.len());
        }
    }
    assert_holds(log, &batches).await;
}

/// Chunks tell the truth about what they hold; gapless logs only.
fn check_numbers(chunks: &[Chunk], after: SeqNum) {
    let mut after = after.get();
    for chunk in chunks {
        assert_eq!((chunk.first.get(), chunk.last.get()), (after + 1, after + chunk.events as i64));
        after = chunk.last.get();
    }
}

/// Values are read above one number, up to another, and no more than asked for.
pub async fn events_keep_to_their_range(log: &impl EventLog) {
    let batches = [run(0, 4), batch(chain(4, [10, 11]))];
    append(log, &batches).await.expect("appends");
    let all = pulled(&batches);
    for (after, last, limit, expected) in [
        (0, 11, 100, 0..6),
        (0, 10, 100, 0..5),
        (0, 9, 100, 0..4),
        (3, 10, 100, 3..5),
        (4, 9, 100, 4..4),
        (5, 100, 100, 4..6),
        (0, 11, 2, 0..2),
        (2, 11, 3, 2..5),
        (0, 11, 0, 0..0),
        (11, 100, 100, 6..6),
        (4, 2, 100, 4..4),
        (-5, -1, 100, 0..0),
    ] {
        let events = log.events(seq(after), seq(last), limit).await.expect("reads");
        assert_eq!(events, all[expected], "above {after} up to {last}, at most {limit}");
    }
}

/// Events are counted, not numbers.
pub async fn counts_what_is_above(log: &impl EventLog) {
    append(log, &[run(0, 3), batch(chain(3, [100, 200]))]).await.expect("appends");
    for (after, expected) in [(-1, 5), (0, 5), (2, 3), (3, 2), (50, 2), (100, 1), (200, 0), (300, 0)] {
        assert_eq!(log.count(seq(after)).await.expect("counts"), expected, "above {after}");
    }
}

/// A read sees the log before an append or after it.
pub async fn reads_during_an_append_see_all_or_nothing(log: &impl EventLog) {
    const EVENTS: i64 = 50;
    let mut stored = Vec::new();
    for round in 0..10 {
        let head = round * EVENTS;
        let (middle, last) = (head + EVENTS / 2, head + EVENTS);
        let batches = [run(head, middle), run(middle, last)];
        let expected = head_of(log).await;
        let step = async |number: usize| {
            if number == 1 {
                log.append(expected, batches.to_vec()).await.expect("appends");
            }
            let head = head_of(log).await;
            (head.seq_num, log.events(SeqNum::ROOT, SeqNum::MAX, u32::MAX).await.expect("reads").len() as i64)
        };
        for (seen, events) in all_at_once((0..3).map(step).collect()).await {
            assert!(seen == seq(head) || seen == seq(last), "half an append: the head is {seen}");
            assert!(events == head || events == last, "half an append: {events} events");
        }
        stored.extend(batches.iter().map(Arc::clone));
    }
    assert_holds(log, &stored).await;
}
