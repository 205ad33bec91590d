//! A store exists from its first event on, and what earlier versions have made is served as it stands.

use std::path::Path;

use livestore_sync_server::event_log::{EventLog, Head, LogError, StoreError};
use livestore_sync_server::protocol::{ItemFormat, SeqNum};
use rusqlite::Connection;
use tempfile::TempDir;

use super::sqlite::{CREATED_AT, append, batch, clients, jump, open, seq, store};

fn connect(folder: &Path) -> Connection {
    Connection::open(folder.join("livestore-sync.db")).expect("opens")
}

fn count(folder: &Path, table: &str) -> i64 {
    connect(folder).query_row(&format!("SELECT COUNT(*) FROM {table}"), [], |row| row.get(0)).expect("counts")
}

#[tokio::test]
async fn reading_a_store_leaves_nothing_behind() {
    let folder = TempDir::new().expect("a folder");
    let ids = ["a", "a-b", "A", "", "ü🚀", "x'; DROP TABLE stores; --"];
    let (mut tables, mut backend_ids) = (0, Vec::new());
    for round in 0..2 {
        let file = open(folder.path()).await;
        if round == 0 {
            tables = count(folder.path(), "sqlite_schema");
        }
        for (index, id) in ids.into_iter().enumerate() {
            // Whoever asks is told the same id, also after a restart.
            let (log, other) = (store(&file, id).await, store(&file, id).await);
            let backend_id = log.backend_id().await.expect("an id");
            assert_eq!(other.backend_id().await.expect("an id"), backend_id, "{id}");
            assert_eq!(backend_ids.get(index).unwrap_or(&backend_id), &backend_id, "{id}");
            backend_ids.push(backend_id);
            assert_eq!(log.head().await.expect("a head"), Head::EMPTY);
            assert_eq!(log.count(SeqNum::ROOT).await.expect("counts"), 0);
            assert!(log.read(SeqNum::ROOT, ItemFormat::Rpc).await.expect("reads").chunks.is_empty());
            assert_eq!(clients(&log).await.len(), 0);
            assert!(append(&log, batch("a", 5, 6)).await.is_err(), "not at the head");
        }
    }
    assert_eq!(count(folder.path(), "stores") + count(folder.path(), "livestore_stores"), 0);
    assert_eq!(count(folder.path(), "sqlite_schema"), tables);
    // Its first event changes nothing for those who know it, whichever handle writes it.
    let file = open(folder.path()).await;
    for (id, backend_id) in ids.into_iter().zip(&backend_ids) {
        let (log, reader) = (store(&file, id).await, store(&file, id).await);
        append(&log, batch("a", 0, 2)).await.expect("appends");
        assert_eq!(reader.head().await.expect("a head"), Head::new(seq(2), 0));
        append(&reader, batch("b", 2, 3)).await.expect("appends");
        assert_eq!(clients(&log).await, ["a", "a", "b"]);
        for log in [log, reader, store(&file, id).await] {
            assert_eq!(log.backend_id().await.expect("an id"), *backend_id);
        }
    }
    assert_eq!(count(folder.path(), "stores"), ids.len() as i64);
    let other = TempDir::new().expect("a folder");
    let elsewhere = store(&open(other.path()).await, "a").await.backend_id().await.expect("an id");
    assert_ne!(elsewhere, backend_ids[0], "another file, another log");
}

#[tokio::test]
async fn only_stores_with_events_count() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    let open = |id: &'static str| file.store(id, CREATED_AT.into(), 2);
    for id in ["junk1", "junk2", "junk3"] {
        open(id).await.expect("nothing is made");
    }
    let (a, b, c) = (open("a").await.expect("opens"), open("b").await.expect("opens"), open("c").await.expect("opens"));
    append(&a, batch("a", 0, 1)).await.expect("the first of two");
    append(&b, batch("b", 0, 1)).await.expect("the second of two");
    let error = append(&c, batch("c", 0, 1)).await.expect_err("a third");
    assert!(error.to_string().contains("2 stores"), "{error}");
    assert_eq!(c.head().await.expect("a head"), Head::EMPTY);
    assert!(matches!(open("d").await, Err(StoreError::TooManyStores(2))));
    append(&open("a").await.expect("it is there"), batch("a", 1, 2)).await.expect("it goes on");
}

/// A store that is new and one that is refused share a commit.
#[tokio::test]
async fn what_is_not_committed_is_not_there() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    let (a, b) = (store(&file, "a").await, store(&file, "b").await);
    let broken = vec![batch("a", 0, 2), batch("a", 0, 2)];
    let (failed, fine) = tokio::join!(a.append(Head::EMPTY, broken), b.append(Head::EMPTY, vec![batch("b", 0, 1)]));
    failed.expect_err("a number comes twice");
    fine.expect("appends");
    assert_eq!((clients(&a).await.len(), clients(&b).await.len()), (0, 1));
    append(&a, batch("a", 0, 1)).await.expect("appends");
    assert_eq!((clients(&a).await, clients(&b).await), (vec!["a".to_owned()], vec!["b".to_owned()]));
}

/// Gaps make a position another than its number.
#[tokio::test]
async fn positions_are_found_over_gaps() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    let log = store(&file, "s").await;
    let mut stored = Vec::new();
    let mut head = 0;
    for (gap, events) in [(0, 3), (96, 2), (1, 40), (1_000_000, 5), (0, 7), (3, 1)] {
        let mut head_now = log.head().await.expect("a head");
        if gap > 0 {
            log.append(head_now, vec![jump("s", head, head + 1 + gap)]).await.expect("appends");
            head += 1 + gap;
            stored.push(head);
            head_now = log.head().await.expect("a head");
        }
        log.append(head_now, vec![batch("s", head, head + events)]).await.expect("appends");
        stored.extend(head + 1..=head + events);
        head += events;
    }
    let gaps = head as u64 - stored.len() as u64;
    assert_eq!(log.head().await.expect("a head"), Head::new(seq(head), gaps));
    for after in stored.iter().flat_map(|number| [number - 1, *number, number + 1]).chain([-1, 0, 50, 500_000]) {
        let above: Vec<_> = stored.iter().copied().filter(|number| *number > after).collect();
        assert_eq!(log.count(seq(after)).await.expect("counts"), above.len() as u64, "above {after}");
        let events = log.events(seq(after), SeqNum::MAX, 3).await.expect("reads");
        let events: Vec<_> = events.iter().map(|pulled| pulled.event.seq_num.get()).collect();
        assert_eq!(events, above[..above.len().min(3)], "above {after}");
    }
}

#[tokio::test]
async fn damage_that_sqlite_does_not_see_is_not_served() {
    for damage in [
        "DELETE FROM events WHERE seqNum = 3",
        "UPDATE events SET parentSeqNum = 1 WHERE seqNum = 3",
        "UPDATE events SET seqNum = 1000 WHERE seqNum = 3",
        "DELETE FROM events WHERE seqNum = 1",
    ] {
        let folder = TempDir::new().expect("a folder");
        let file = open(folder.path()).await;
        let log = store(&file, "s").await;
        append(&log, batch("a", 0, 5)).await.expect("appends");
        connect(folder.path()).execute_batch(damage).expect("damages");
        for format in [ItemFormat::V03, ItemFormat::Rpc] {
            let error = log.read(SeqNum::ROOT, format).await.map(drop).expect_err(damage);
            assert!(matches!(&error, LogError::NothingStored(_)) && error.to_string().contains("damaged"), "{error}");
        }
        assert!(log.events(SeqNum::ROOT, SeqNum::MAX, 100).await.is_err(), "{damage}");
        let other = store(&file, "other").await;
        append(&other, batch("a", 0, 1)).await.expect("others go on");
        assert_eq!(clients(&other).await, ["a"]);
    }
}

/// To delete a store's row is to start it anew; its clients notice.
#[tokio::test]
async fn a_store_that_was_deleted_begins_anew() {
    let folder = TempDir::new().expect("a folder");
    let mut ids = Vec::new();
    for round in 0..3 {
        let file = open(folder.path()).await;
        let (log, other) = (store(&file, "s").await, store(&file, "other").await);
        ids.push(log.backend_id().await.expect("an id"));
        assert_eq!(log.head().await.expect("a head"), Head::EMPTY);
        append(&log, batch("a", 0, 3)).await.expect("appends");
        append(&other, batch("o", round, round + 1)).await.expect("appends");
        assert_eq!(log.backend_id().await.expect("an id"), ids[ids.len() - 1]);
        drop((log, other, file));
        drop(open(folder.path()).await);
        connect(folder.path()).execute("DELETE FROM stores WHERE store_id = 's'", []).expect("deletes");
        assert_eq!(count(folder.path(), "events"), round + 1, "those of the other store");
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert_eq!(clients(&store(&open(folder.path()).await, "other").await).await.len(), 3);
}

/// A file of version 1 has a table for each store that was ever asked for.
#[tokio::test]
async fn files_of_earlier_versions_are_served_as_they_stand() {
    let folder = TempDir::new().expect("a folder");
    {
        let old = connect(folder.path());
        old.pragma_update(None, "journal_mode", "WAL").expect("as it was");
        old.execute_batch(include_str!("../../migrations/0001_stores.sql")).expect("a registry");
        old.pragma_update(None, "user_version", 1).expect("a version");
        for id in ["used-1", "empty-1"] {
            let table = format!("eventlog_7_{}", id.replace('-', "_"));
            old.execute_batch(&format!(
                r#"CREATE TABLE "{table}" ("seqNum" integer primary key, "parentSeqNum" integer not null, "name" text not null, "args" text, "createdAt" text not null, "clientId" text not null, "sessionId" text not null) strict"#
            ))
            .expect("a table");
            old.execute(
                "INSERT INTO livestore_stores VALUES (?1, ?2, 'backend-' || ?1, '2026-11-21T00:00:00.000Z', 0)",
                (id, &table),
            )
            .expect("registers");
        }
        let insert =
            "INSERT INTO eventlog_7_used_1 VALUES (?1, ?1 - 1, 'n', NULL, '2026-11-21T00:14:31.259Z', 'old', 's')";
        for number in 1..=3 {
            old.execute(insert, [number]).expect("an event");
        }
    }
    let file = open(folder.path()).await;
    let (used, empty) = (store(&file, "used-1").await, store(&file, "empty-1").await);
    assert_eq!(&*used.backend_id().await.expect("an id"), "backend-used-1");
    assert_eq!(&*empty.backend_id().await.expect("an id"), "backend-empty-1", "its clients know it by that");
    append(&used, batch("new", 3, 5)).await.expect("appends");
    assert_eq!(clients(&used).await, ["old", "old", "old", "new", "new"]);
    assert_eq!(count(folder.path(), "eventlog_7_used_1"), 5, "where it was");
    assert!(matches!(file.store("third", CREATED_AT.into(), 1).await, Err(StoreError::TooManyStores(1))));
    file.store("third", CREATED_AT.into(), 2).await.expect("the empty one does not count");
    append(&empty, batch("new", 0, 2)).await.expect("appends");
    assert_eq!(count(folder.path(), "events"), 2);
    for _ in 0..2 {
        assert_eq!(&*store(&file, "empty-1").await.backend_id().await.expect("an id"), "backend-empty-1");
    }
    assert!(matches!(file.store("third", CREATED_AT.into(), 2).await, Err(StoreError::TooManyStores(2))));
}
