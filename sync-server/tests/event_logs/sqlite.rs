//! What is particular to the SQLite file.

use std::path::Path;
use std::sync::Arc;

use livestore_sync_server::Batch;
use livestore_sync_server::event_log::{
    AppendError, EventLog, Head, LogError, OpenError, SqliteFile, SqliteLog, StoreError, Synchronous, conformance,
};
use livestore_sync_server::protocol::{Args, Event, SeqNum};
use tempfile::TempDir;

pub(crate) const CREATED_AT: &str = "2026-11-21T00:14:31.259Z";

/// Opens the file, which may still be in use: a writer thread closes it some time after its last owner is dropped.
pub(crate) async fn open(folder: &Path) -> SqliteFile {
    loop {
        match SqliteFile::open(folder, Synchronous::Off) {
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            file => return file.expect("the file can be opened"),
        }
    }
}

pub(crate) async fn store(file: &SqliteFile, id: &str) -> SqliteLog {
    file.store(id, CREATED_AT.into(), u32::MAX).await.expect("the store can be opened")
}

pub(crate) fn seq(number: i64) -> SeqNum {
    SeqNum::new(number).expect("a safe integer")
}

pub(crate) fn batch(client: &str, parent: i64, last: i64) -> Arc<Batch> {
    let event = |number| Event {
        name: "todoCreated".into(),
        args: Args::default(),
        seq_num: seq(number),
        parent_seq_num: seq(number - 1),
        client_id: client.into(),
        session_id: "session".into(),
    };
    Arc::new(Batch::new((parent + 1..=last).map(event).collect(), CREATED_AT.into()))
}

/// One event that leaves out the numbers between.
pub(crate) fn jump(client: &str, parent: i64, number: i64) -> Arc<Batch> {
    let mut event = batch(client, parent, parent + 1).events()[0].clone();
    event.seq_num = seq(number);
    Arc::new(Batch::new([event].into(), CREATED_AT.into()))
}

pub(crate) async fn append(log: &SqliteLog, batch: Arc<Batch>) -> Result<(), AppendError> {
    log.append(log.head().await.expect("a head"), vec![batch]).await
}

pub(crate) async fn clients(log: &SqliteLog) -> Vec<String> {
    let events = log.events(SeqNum::ROOT, SeqNum::MAX, u32::MAX).await.expect("reads");
    events.into_iter().map(|pulled| pulled.event.client_id).collect()
}

#[tokio::test]
async fn sqlite_conforms() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    conformance::all(async |name| store(&file, name).await, super::EVENT_BYTES_MAX).await;
}

#[tokio::test]
async fn two_handles_race_fairly() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    conformance::racing_appends_have_one_winner(&store(&file, "s").await, &store(&file, "s").await).await;
}

#[tokio::test]
async fn a_file_that_is_opened_again_has_everything() {
    let folder = TempDir::new().expect("a folder");
    let (backend_id, head) = {
        let log = store(&open(folder.path()).await, "s").await;
        append(&log, batch("a", 0, 3)).await.expect("appends");
        append(&log, jump("a", 3, 100)).await.expect("appends");
        (log.backend_id().await.expect("an id"), log.head().await.expect("a head"))
    };
    let file = open(folder.path()).await;
    let log = store(&file, "s").await;
    assert_eq!(log.backend_id().await.expect("an id"), backend_id);
    assert_eq!(log.head().await.expect("a head"), head);
    assert_eq!(clients(&log).await, ["a"; 4]);
    let other = store(&file, "another").await;
    assert_ne!(other.backend_id().await.expect("an id"), backend_id);
}

#[tokio::test]
async fn a_folder_is_served_once() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    let again = SqliteFile::open(folder.path(), Synchronous::Full).map(drop);
    assert!(matches!(again, Err(OpenError::InUse { .. })), "{again:?}");
    // A log keeps the folder too.
    let log = store(&file, "s").await;
    drop(file);
    assert!(matches!(SqliteFile::open(folder.path(), Synchronous::Full), Err(OpenError::InUse { .. })));
    append(&log, batch("a", 0, 1)).await.expect("appends");
    drop(log);
    open(folder.path()).await;
}

#[tokio::test]
async fn stores_whose_ids_look_alike_are_apart() {
    let folder = TempDir::new().expect("a folder");
    let ids = ["a-b", "a_b", "A_b", "a b", "ä_b", "\"a\"b", ""];
    for _ in 0..2 {
        let file = open(folder.path()).await;
        for id in ids {
            let log = store(&file, id).await;
            let head = log.head().await.expect("a head").seq_num.get();
            append(&log, batch(id, head, head + 1)).await.expect("appends");
        }
    }
    let file = open(folder.path()).await;
    for id in ids {
        assert_eq!(clients(&store(&file, id).await).await, [id; 2]);
    }
}

#[tokio::test]
async fn a_file_holds_so_many_stores_and_no_more() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    let open = |id: &'static str, max| file.store(id, CREATED_AT.into(), max);
    assert!(matches!(open("a", 0).await, Err(StoreError::TooManyStores(0))));
    append(&open("a", 2).await.expect("the first of two"), batch("a", 0, 1)).await.expect("appends");
    append(&open("b", 2).await.expect("the second of two"), batch("b", 0, 1)).await.expect("appends");
    assert!(matches!(open("c", 2).await, Err(StoreError::TooManyStores(2))));
    open("a", 2).await.expect("it is there already");
    open("c", 3).await.expect("the third of three");
    open("a", 1).await.expect("a lower limit later does not lock anybody out");
}

#[tokio::test]
async fn a_file_of_a_newer_release_is_refused() {
    let folder = TempDir::new().expect("a folder");
    drop(store(&open(folder.path()).await, "s").await);
    let path = folder.path().join("livestore-sync.db");
    let set_version = |version: i64| {
        let connection = rusqlite::Connection::open(&path).expect("opens");
        connection.pragma_update(None, "user_version", version).expect("sets the version");
    };
    let known = rusqlite::Connection::open(&path)
        .and_then(|connection| connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0)))
        .expect("reads the version");
    // Once the last owner has let go.
    drop(open(folder.path()).await);
    set_version(known + 1);
    let error = loop {
        match SqliteFile::open(folder.path(), Synchronous::Full) {
            Err(OpenError::InUse { .. }) => tokio::task::yield_now().await,
            result => break result.map(drop).expect_err("it is too new"),
        }
    };
    assert!(matches!(error, OpenError::NewerSchema { found, .. } if found == known + 1), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("schema version {}", known + 1)), "{text}");
    // It is left as it was, for the release that can read it.
    let connection = rusqlite::Connection::open(&path).expect("opens");
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("reads");
    assert_eq!(version, known + 1);
    drop(connection);
    set_version(known);
    open(folder.path()).await;
}

#[tokio::test]
async fn a_file_that_is_none_is_refused() {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("livestore-sync.db"), vec![b'x'; 10_000]).expect("writes");
    let error = SqliteFile::open(folder.path(), Synchronous::Full).map(drop).expect_err("it is no database");
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
}

#[tokio::test]
async fn an_append_that_fails_does_not_spoil_its_neighbours() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    let (good, bad) = (store(&file, "good").await, store(&file, "bad").await);
    append(&bad, batch("b", 0, 5)).await.expect("appends");
    let root = Head::EMPTY;
    let at = Head::new(seq(5), 0);
    let (stale, repeated, fine) = tokio::join!(
        bad.append(root, vec![batch("b", 0, 1)]),
        bad.append(at, vec![batch("b", 5, 9), batch("b", 5, 6)]),
        good.append(root, vec![batch("g", 0, 2)]),
    );
    assert!(matches!(stale, Err(AppendError::HeadMoved)), "{stale:?}");
    let Err(AppendError::Log(LogError::NothingStored(source))) = &repeated else { panic!("{repeated:?}") };
    let source = source.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    assert_eq!(source, Some(rusqlite::ErrorCode::ConstraintViolation), "{repeated:?}");
    fine.expect("appends");
    assert_eq!((clients(&good).await.len(), clients(&bad).await.len()), (2, 5));
}
