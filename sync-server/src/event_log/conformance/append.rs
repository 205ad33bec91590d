//! What an append promises.

use std::sync::Arc;

use livestore_sync_protocol::limits::BATCH_EVENTS_MAX;
use livestore_sync_protocol::{Args, Event, SeqNum};

use super::super::{AppendError, EventLog, Head, LogError};
use super::sample::{
    CREATED_AT, all_at_once, append, args, assert_holds, batch, chain, event, head_of, pulled, run, seq, sized,
};
use crate::Batch;

/// An empty log stands at the root, has an identity that stays, and can be read.
pub async fn a_new_log_is_empty(log: &impl EventLog) {
    assert_holds(log, &[]).await;
    let backend_id = log.backend_id().await.expect("the log has an identity");
    assert!(!backend_id.is_empty());
    append(log, &[run(0, 1)]).await.expect("appends");
    assert_eq!(log.backend_id().await.expect("the log has an identity"), backend_id);
}

/// Names, ids and arguments come back as they went in, whatever is in them.
pub async fn every_byte_comes_back(log: &impl EventLog) {
    let texts =
        ["", "it's", "\"", "\\", "a\0b", "\u{1}\u{1f}\u{7f}", "🚀ü\u{2028}", "); DROP TABLE x; --", "?1 :a @b $c"];
    let json = [
        "null",
        "{}",
        "[]",
        "0",
        "-0.0",
        "1e400",
        "1E-7",
        "12345678901234567890123",
        "9007199254740993",
        "\"\"",
        r#""\u0000\u0041\ud800\/""#,
        "\"🚀\"",
        r#"{"b":1,"a":2,"b":3}"#,
        "[ 1,\n\t2 ]",
        r#"{"a":null,"":[[[]]]}"#,
        "\"it's ? and $1\"",
    ];
    let mut events = Vec::new();
    for text in texts {
        let number = events.len() as i64 + 1;
        events.push(Event {
            name: text.into(),
            client_id: text.into(),
            session_id: text.into(),
            ..event(number - 1, number)
        });
    }
    for json in json {
        let number = events.len() as i64 + 1;
        events.push(Event { args: args(json), ..event(number - 1, number) });
    }
    let number = events.len() as i64 + 1;
    events.push(Event { args: Args::default(), ..event(number - 1, number) });
    let batches = [batch(events)];
    append(log, &batches).await.expect("appends");
    assert_holds(log, &batches).await;
}

/// Every event has the time of the push that it came with.
pub async fn each_batch_keeps_its_time(log: &impl EventLog) {
    let timed = |events: Vec<Event>, time: &str| Arc::new(Batch::new(events.into(), time.into()));
    let first = timed(chain(0, 1..=2), "2026-11-21T00:14:31.259Z");
    // Clocks are set back; the log does not care.
    let second = timed(chain(2, 3..=3), "1999-12-31T23:59:59.999Z");
    let third = timed(chain(3, 4..=5), "2026-11-21T00:14:31.260Z");
    append(log, &[Arc::clone(&first), Arc::clone(&second)]).await.expect("appends");
    append(log, &[Arc::clone(&third)]).await.expect("appends");
    assert_holds(log, &[first, second, third]).await;
}

/// One append takes several batches, and all of them or none.
pub async fn batches_are_stored_together(log: &impl EventLog) {
    let batches = [run(0, 3), run(3, 4), run(4, 30)];
    append(log, &batches).await.expect("appends");
    assert_holds(log, &batches).await;
    let broken = [run(30, 31), run(31, 32), run(3, 4)];
    assert_refused(append(log, &broken).await);
    assert_holds(log, &batches).await;
}

/// An append at another head than the log's is [`AppendError::HeadMoved`].
pub async fn a_stale_head_changes_nothing(log: &impl EventLog) {
    let stored = [run(0, 5)];
    let ahead = Head::new(seq(1), 0);
    assert_moved(log.append(ahead, vec![run(1, 2)]).await);
    append(log, &stored).await.expect("appends");
    for head in [0, 4, 6, 100] {
        let stale = Head::new(seq(head), 0);
        assert_moved(log.append(stale, vec![run(head, head + 1)]).await);
        // Also where the numbers would be free.
        assert_moved(log.append(stale, vec![run(200, 201)]).await);
    }
    assert_holds(log, &stored).await;
}

/// A number that is there already, in the log or in the append, refuses the append as a whole, and
/// does no harm beyond. Databases differ in when they notice, so it is tried at several places.
pub async fn a_repeated_number_stores_nothing(log: &impl EventLog) {
    let mut stored = vec![run(0, 10)];
    append(log, &stored).await.expect("appends");
    for at in [1, 13, 14, 15, 99, 500] {
        let numbers = || (11..=11 + at).chain(std::iter::once(11 + at / 2));
        assert_refused(append(log, &[batch(chain(10, numbers()))]).await);
        assert_refused(append(log, &[run(10, 11 + at), batch(chain(11 + at, [11]))]).await);
        assert_refused(append(log, &[batch(chain(10, (11..=11 + at).chain([10])))]).await);
        assert_holds(log, &stored).await;
    }
    stored.push(run(10, 12));
    append(log, &stored[1..]).await.expect("the log is usable");
    assert_holds(log, &stored).await;
}

/// As much as the engine puts into one append: two batches of the largest size.
pub async fn a_commits_worth_of_events_is_stored(log: &impl EventLog) {
    let half = BATCH_EVENTS_MAX as i64;
    let batches = [run(0, half), run(half, 2 * half)];
    append(log, &batches).await.expect("appends");
    assert_holds(log, &batches).await;
}

/// More than any database takes at once, in one commit all the same, together with what it does to the
/// gaps.
pub async fn a_commit_of_megabytes_is_stored_with_its_gaps(log: &impl EventLog) {
    let batches = [run(0, 1), large(1), batch(chain(12, [20, 21]))];
    append(log, &batches).await.expect("appends");
    assert_holds(log, &batches).await;
    let escapes = Event { args: args(&format!("\"{}\"", "\\\"".repeat(400_000))), ..event(21, 22) };
    let next = batch(vec![escapes]);
    append(log, &[Arc::clone(&next)]).await.expect("appends");
    assert_holds(log, &[&batches[..], &[next]].concat()).await;
}

/// The same where the head is another: nothing of it is stored.
pub async fn a_stale_head_changes_nothing_of_a_large_commit(log: &impl EventLog) {
    let stored = [run(0, 5)];
    append(log, &stored).await.expect("appends");
    for head in [0, 3, 16, 100] {
        let stale = Head::new(seq(head), 0);
        assert_moved(log.append(stale, vec![large(head), batch(chain(head + 11, [head + 20]))]).await);
        assert_holds(log, &stored).await;
    }
}

/// Eleven events of 500 kB.
fn large(parent: i64) -> Arc<Batch> {
    batch((parent + 1..=parent + 11).map(|number| sized(number, 500_000)).collect())
}

/// Numbers may be left out; the head knows how many were, over any number of appends.
pub async fn gaps_are_counted(log: &impl EventLog) {
    let mut stored = Vec::new();
    for (numbers, gaps) in [
        (vec![1, 2], 0),
        (vec![100], 97),
        (vec![101, 102], 97),
        (vec![104, 110], 97 + 1 + 5),
        (vec![1_000, 1_001, 2_000], 97 + 1 + 5 + 889 + 998),
    ] {
        let (parent, head) = (head_of(log).await.seq_num.get(), numbers[numbers.len() - 1]);
        let next = batch(chain(parent, numbers));
        append(log, &[Arc::clone(&next)]).await.expect("appends");
        stored.push(next);
        assert_eq!(head_of(log).await, Head::new(seq(head), gaps));
        assert_holds(log, &stored).await;
    }
}

/// Numbers go beyond 32 bits, up to 2^53 - 1.
pub async fn numbers_reach_the_largest_safe_integer(log: &impl EventLog) {
    let max = SeqNum::MAX.get();
    let numbers = [(1 << 31) - 1, 1 << 31, (1 << 32) + 1, (1 << 52) + 1, max - 1, max];
    let batches = [batch(chain(0, numbers))];
    append(log, &batches).await.expect("appends");
    assert_holds(log, &batches).await;
    for (index, number) in numbers.into_iter().enumerate() {
        let above = log.events(seq(number), SeqNum::MAX, 100).await.expect("reads");
        assert_eq!(above, pulled(&batches)[index + 1..]);
        assert_eq!(log.count(seq(number)).await.expect("counts"), above.len() as u64);
    }
}

/// Of appends that race on one head one wins, and the log holds that one. `other` is the same log,
/// through another handle where the backend has such.
pub async fn racing_appends_have_one_winner(log: &impl EventLog, other: &impl EventLog) {
    const RACERS: i64 = 10;
    let mut stored = Vec::new();
    for round in 0..5 {
        let head = head_of(log).await;
        let racer = |number: i64| {
            let head = head.seq_num.get();
            let mine = Event { client_id: format!("racer {number}"), ..event(head, head + 1) };
            batch(std::iter::once(mine).chain(chain(head + 1, [head + 2 + round])).collect())
        };
        let race = async |number: i64| {
            let batch = racer(number);
            let result = match number % 2 {
                0 => log.append(head, vec![Arc::clone(&batch)]).await,
                _ => other.append(head, vec![Arc::clone(&batch)]).await,
            };
            (batch, result)
        };
        let mut won = Vec::new();
        for (batch, result) in all_at_once((0..RACERS).map(race).collect()).await {
            match result {
                Ok(()) => won.push(batch),
                Err(error) => assert_moved(Err(error)),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        stored.append(&mut won);
        assert_holds(log, &stored).await;
        assert_holds(other, &stored).await;
    }
    assert!(stored.iter().all(|batch| batch.created_at() == CREATED_AT));
}

fn assert_moved(result: Result<(), AppendError>) {
    assert!(matches!(result, Err(AppendError::HeadMoved)), "{result:?}");
}

fn assert_refused(result: Result<(), AppendError>) {
    assert!(matches!(&result, Err(AppendError::Log(LogError::NothingStored(_)))), "{result:?}");
}
