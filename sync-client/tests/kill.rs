//! A process with a store is killed again and again: what was committed is there, once.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::stream;
use livestore_sync_client::local::{Backend, LocalStore, OpenError, Options, PageStream, PushBatch};
use livestore_sync_client::{ConnectionState, NewEvent, OfflineReason, Page, PullError, PushError};
use livestore_sync_protocol::{Args, Cursor, Event, PulledEvent, SeqNum};
use rusqlite::{OptionalExtension, TransactionBehavior, params};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

const RUNS: usize = 60;
const FOLDER: &str = "LIVESTORE_KILL_TEST_FOLDER";
const RUN: &str = "LIVESTORE_KILL_TEST_RUN";

/// A log in a file, which outlives the processes that push to it.
#[derive(Clone)]
struct FileBackend {
    path: PathBuf,
    connection: watch::Sender<ConnectionState>,
}

impl FileBackend {
    fn new(folder: &Path, is_online: bool) -> Self {
        let offline = ConnectionState::Offline { reason: OfflineReason::Lost { message: "told to".into() } };
        let connection = watch::Sender::new(if is_online { ConnectionState::Connected } else { offline });
        let backend = Self { path: folder.join("server.db"), connection };
        let sql = "CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, name, args, client, session)";
        backend.open().unwrap().execute_batch(sql).unwrap();
        backend
    }

    fn open(&self) -> rusqlite::Result<rusqlite::Connection> {
        let connection = rusqlite::Connection::open(&self.path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF")?;
        Ok(connection)
    }

    /// Appends if the log's head is the first parent. Returns the head otherwise.
    fn append(&self, parent: Option<i64>, events: &[Event]) -> rusqlite::Result<Result<(), i64>> {
        let mut connection = self.open()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let head: i64 = transaction.query_row("SELECT COALESCE(MAX(seq), 0) FROM log", [], |row| row.get(0))?;
        if parent.is_some_and(|parent| parent != head) {
            return Ok(Err(head));
        }
        for (seq, event) in (head + 1..).zip(events) {
            let args = event.args.as_json();
            let row = params![seq, event.name, args, event.client_id, event.session_id];
            transaction.execute("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5)", row)?;
        }
        transaction.commit()?;
        Ok(Ok(()))
    }

    fn read(&self, above: SeqNum) -> rusqlite::Result<Vec<PulledEvent>> {
        let connection = self.open()?;
        let mut select = connection.prepare("SELECT * FROM log WHERE seq > ?1 ORDER BY seq LIMIT 100")?;
        let rows = select.query_map([above.get()], |row| {
            let seq: i64 = row.get(0)?;
            let event = Event {
                name: row.get(1)?,
                args: Args::from_json(row.get(2)?).unwrap(),
                seq_num: SeqNum::new(seq).unwrap(),
                parent_seq_num: SeqNum::new(seq - 1).unwrap(),
                client_id: row.get(3)?,
                session_id: row.get(4)?,
            };
            Ok(PulledEvent { event, created_at: None })
        })?;
        rows.collect()
    }

    fn texts(&self) -> Vec<String> {
        let connection = self.open().unwrap();
        let mut select = connection.prepare("SELECT args ->> 'text' FROM log ORDER BY seq").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }
}

impl Backend for FileBackend {
    async fn push(&self, batch: PushBatch) -> Result<(), PushError> {
        if *self.connection.borrow() != ConnectionState::Connected {
            return Err(PushError::Offline { sent: false, reason: OfflineReason::Silent });
        }
        let provided = batch.events[0].parent_seq_num;
        match self.append(Some(provided.get()), &batch.events) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(head)) => Err(PushError::ServerAhead { minimum_expected: SeqNum::new(head).unwrap(), provided }),
            Err(error) => Err(PushError::Failed { message: error.to_string() }),
        }
    }

    fn live_pull(&self, cursor: Cursor) -> PageStream {
        Box::pin(stream::unfold((self.clone(), cursor.seq_num), async |(backend, above)| {
            loop {
                if *backend.connection.borrow() != ConnectionState::Connected {
                    return Some((Err(PullError::Offline { reason: OfflineReason::Silent }), (backend, above)));
                }
                match backend.read(above) {
                    Ok(events) if events.is_empty() => tokio::time::sleep(Duration::from_millis(2)).await,
                    Ok(events) => {
                        let above = events.last().unwrap().event.seq_num;
                        return Some((Ok(Page::new(events, 0, Some("file".into()))), (backend, above)));
                    }
                    Err(error) => {
                        let error = PullError::Rejected { message: error.to_string() };
                        return Some((Err(error), (backend, above)));
                    }
                }
            }
        }))
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.connection.subscribe()
    }
}

fn options() -> Options {
    Options::new()
        .retry_after(Duration::from_millis(2), Duration::from_millis(20))
        .tables(1, "CREATE TABLE items (place INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        .materialiser("add", |tx, event| {
            tx.execute("INSERT INTO items (text) VALUES (?1 ->> 'text')", [event.args.as_json()])?;
            Ok(())
        })
}

fn add(text: String) -> NewEvent {
    NewEvent::new("add", serde_json::json!({ "text": text })).unwrap()
}

/// Not a test by itself: what the processes run that are killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_process() {
    let (Ok(folder), Ok(run)) = (std::env::var(FOLDER), std::env::var(RUN)) else { return };
    let run: usize = run.parse().unwrap();
    let folder = PathBuf::from(folder);
    let backend = FileBackend::new(&folder, !run.is_multiple_of(3));
    let store = LocalStore::open(folder.join("client.db"), backend, options()).await.unwrap();
    for n in 0.. {
        store.commit([add(format!("{run}-{n}-a")), add(format!("{run}-{n}-b"))]).await.unwrap();
        println!("\nack {run}-{n}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kills() {
    let folder = tempfile::tempdir().unwrap();
    let backend = FileBackend::new(folder.path(), true);
    let mut acknowledged = Vec::new();
    for run in 1..=RUNS {
        acknowledged.extend(run_and_kill(folder.path(), &backend, run).await);
        if run % 5 == 0 {
            check(folder.path(), &backend, &acknowledged).await;
        }
    }
    assert!(acknowledged.len() > 2 * RUNS, "only {} commits", acknowledged.len());
}

/// Returns what the process has acknowledged.
async fn run_and_kill(folder: &Path, backend: &FileBackend, run: usize) -> Vec<String> {
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["child_process", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(RUN, run.to_string())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    // Some are killed while they open, the others after some commits, at no particular moment of the next.
    let wanted = (run * 7) % 29;
    let impatience =
        if wanted == 0 || run.is_multiple_of(8) { Duration::from_millis(run as u64) } else { Duration::from_secs(30) };
    let reading = async {
        while acknowledged.len() < wanted {
            let Some(line) = lines.next_line().await.unwrap() else { panic!("the child ended by itself") };
            let Some(name) = line.strip_prefix("ack ") else { continue };
            acknowledged.push(name.to_owned());
            // Not where the timeout may leave an opening behind that succeeds when the process is gone.
            if acknowledged.len() == 3 && impatience > Duration::from_secs(1) {
                let backend = FileBackend::new(folder, true);
                let error = LocalStore::open(folder.join("client.db"), backend, options()).await.unwrap_err();
                assert!(matches!(error, OpenError::InUse { .. }), "{error}");
            }
            if acknowledged.len() % 5 == 1 {
                let event = add(format!("theirs {run}-{}", acknowledged.len()));
                let event = Event {
                    name: event.name,
                    args: event.args,
                    seq_num: SeqNum::ROOT,
                    parent_seq_num: SeqNum::ROOT,
                    client_id: "competitor".into(),
                    session_id: "s".into(),
                };
                backend.append(None, &[event]).unwrap().unwrap();
            }
        }
    };
    drop(tokio::time::timeout(impatience, reading).await);
    tokio::time::sleep(Duration::from_micros((run * 317 % 5_000) as u64)).await;
    child.kill().await.unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        acknowledged.extend(line.strip_prefix("ack ").map(str::to_owned));
    }
    acknowledged
}

async fn check(folder: &Path, backend: &FileBackend, acknowledged: &[String]) {
    let path = folder.join("client.db");
    let store = LocalStore::open(&path, FileBackend::new(folder, true), options()).await.unwrap();
    let before = items(&store).await;
    tokio::time::timeout(Duration::from_secs(60), store.flush()).await.unwrap().unwrap();
    let mut status = store.watch();
    let head = backend.texts().len();
    let caught_up = status.wait_for(|status| status.head.get() as usize == head);
    drop(tokio::time::timeout(Duration::from_secs(60), caught_up).await.unwrap().unwrap());
    let (log, items) = (backend.texts(), items(&store).await);
    assert_eq!(items, log, "the tables are what the log makes of them");
    let logged: HashSet<_> = log.iter().collect();
    assert_eq!(logged.len(), log.len(), "no event is there twice");
    for name in acknowledged {
        for half in ["a", "b"] {
            let text = format!("{name}-{half}");
            assert!(before.contains(&text) && logged.contains(&text), "{text} is lost");
        }
    }
    for text in log.iter().filter(|text| text.ends_with("-a")) {
        let other = format!("{}b", &text[..text.len() - 1]);
        assert!(logged.contains(&other), "{text} without {other}");
    }
    let integrity: Option<String> = store
        .query(|connection| connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).optional())
        .await
        .unwrap();
    assert_eq!(integrity.as_deref(), Some("ok"));
}

async fn items(store: &LocalStore) -> Vec<String> {
    store
        .query(|connection| {
            connection.prepare("SELECT text FROM items ORDER BY place")?.query_map([], |row| row.get(0))?.collect()
        })
        .await
        .unwrap()
}
