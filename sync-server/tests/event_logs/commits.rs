//! Stores share commits: what waits for the writer is made durable at once. Commits are counted in
//! the write-ahead log itself, where the last frame of each is marked.

use std::path::Path;

use livestore_sync_server::event_log::{EventLog, Head, SqliteFile, Synchronous};
use rusqlite::{Connection, TransactionBehavior};
use tempfile::TempDir;

use super::sqlite::{CREATED_AT, batch, clients, store};

/// The commits in a write-ahead log (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
fn commits(folder: &Path) -> usize {
    const HEADER_BYTES: usize = 32;
    const FRAME_HEADER_BYTES: usize = 24;
    let wal = std::fs::read(folder.join("livestore-sync.db-wal")).expect("there is a write-ahead log");
    let number = |at: usize| u32::from_be_bytes(wal[at..at + 4].try_into().expect("four bytes"));
    let (page_bytes, salts) = (number(8) as usize, &wal[16..24]);
    (HEADER_BYTES..wal.len())
        .step_by(FRAME_HEADER_BYTES + page_bytes)
        // Frames with other salts are left from before the log was last reset.
        .take_while(|frame| wal[frame + 8..frame + 16] == *salts)
        .filter(|frame| number(frame + 4) != 0)
        .count()
}

#[tokio::test]
async fn stores_share_commits() {
    const STORES: usize = 100;
    let folder = TempDir::new().expect("a folder");
    let file = SqliteFile::open(folder.path(), Synchronous::Full).expect("opens");
    let mut logs = Vec::new();
    for id in 0..STORES {
        logs.push(store(&file, &id.to_string()).await);
    }

    // While another connection has the file locked, all appends come to wait for the writer.
    let mut other = Connection::open(folder.path().join("livestore-sync.db")).expect("opens");
    let held = other.transaction_with_behavior(TransactionBehavior::Immediate).expect("locks");
    let before = commits(folder.path());
    let root = Head::EMPTY;
    let mut appends: Vec<_> = logs.iter().map(|log| Box::pin(log.append(root, vec![batch("a", 0, 10)]))).collect();
    for append in &mut appends {
        let waits = std::future::poll_fn(|context| std::task::Poll::Ready(append.as_mut().poll(context).is_pending()));
        assert!(waits.await, "an append is done while the file is locked");
    }
    drop(held);
    for append in appends {
        append.await.expect("appends");
    }

    // The writer may have taken the first few before the others came.
    let shared = commits(folder.path()) - before;
    assert!((1..=2).contains(&shared), "{shared} commits for {STORES} appends");
    for log in &logs {
        assert_eq!(clients(log).await.len(), 10);
    }
}

#[tokio::test]
async fn an_append_alone_is_a_commit() {
    let folder = TempDir::new().expect("a folder");
    let file = SqliteFile::open(folder.path(), Synchronous::Full).expect("opens");
    let log = file.store("s", CREATED_AT.into(), 1).await.expect("opens");
    for number in 0..5 {
        let before = commits(folder.path());
        let head = log.head().await.expect("a head");
        log.append(head, vec![batch("a", number, number + 1)]).await.expect("appends");
        assert_eq!(commits(folder.path()), before + 1, "what is acknowledged is in the log");
    }
}
