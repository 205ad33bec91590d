//! `backup` and `restore`, as they are typed. What they do under a running server is in the black-box suite.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use livestore_sync_server::Batch;
use livestore_sync_server::event_log::{EventLog, SqliteFile, Synchronous};
use livestore_sync_server::protocol::{Args, Event, SeqNum};
use tempfile::TempDir;

fn run(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livestore-sync"));
    command.args(arguments).current_dir(folder).env_remove("LIVESTORE_SYNC_DATA").output().expect("it runs")
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// A data folder with a store of so many events.
async fn write(folder: &Path, events: i64) {
    let seq = |number| SeqNum::new(number).expect("safe");
    let event = |number| Event {
        name: "todoCreated".into(),
        args: Args::default(),
        seq_num: seq(number),
        parent_seq_num: seq(number - 1),
        client_id: "client".into(),
        session_id: "session".into(),
    };
    let created_at = "2026-11-21T00:14:31.259Z";
    let file = SqliteFile::open(folder, Synchronous::Off).expect("opens");
    let log = file.store("s", created_at.into(), 1).await.expect("opens");
    let batch = Batch::new((1..=events).map(event).collect(), created_at.into());
    log.append(log.head().await.expect("a head"), vec![Arc::new(batch)]).await.expect("appends");
}

fn sql(file: &Path, statement: &str) {
    rusqlite::Connection::open(file).and_then(|file| file.execute_batch(statement)).expect("SQL");
}

#[tokio::test]
async fn a_copy_is_made_checked_and_put_back() {
    let folder = TempDir::new().expect("a folder");
    write(&folder.path().join("data"), 300).await;
    let made = run(&["backup", "copy.db"], folder.path());
    assert_eq!(code(&made), Some(0), "{}", text(&made));
    let again = run(&["backup", "copy.db"], folder.path());
    assert_eq!(code(&again), Some(2), "{}", text(&again));
    assert!(text(&again).contains("exists"), "{}", text(&again));
    let restored = run(&["restore", "copy.db", "--data", "other"], folder.path());
    assert_eq!(code(&restored), Some(0), "{}", text(&restored));
    let listed = run(&["inspect", "--json", "--path", "other", "verify"], folder.path());
    assert!(text(&listed).contains(r#""ok":true,"events":300,"head":300"#), "{}", text(&listed));
    // Over data that is there, too, which is kept.
    let replaced = loop {
        let run = run(&["restore", "copy.db"], folder.path());
        if !text(&run).contains("in use") {
            break run;
        }
    };
    assert_eq!(code(&replaced), Some(0), "{}", text(&replaced));
    assert!(text(&replaced).contains("replaced-1"), "{}", text(&replaced));
    assert!(folder.path().join("data/replaced-1/livestore-sync.db").exists());
}

#[tokio::test]
async fn a_copy_of_a_broken_chain_is_made_and_said_to_be_one() {
    let folder = TempDir::new().expect("a folder");
    write(&folder.path().join("data"), 300).await;
    sql(&folder.path().join("data/livestore-sync.db"), "DELETE FROM events WHERE seqNum = 7");
    for arguments in [&["backup", "copy.db"][..], &["restore", "copy.db", "--data", "other"]] {
        let made = run(arguments, folder.path());
        assert_eq!(code(&made), Some(1), "{}", text(&made));
        assert!(text(&made).contains("event 8"), "{}", text(&made));
    }
}

#[test]
fn what_is_no_data_is_refused() {
    let folder = TempDir::new().expect("a folder");
    let nothing = run(&["backup", "copy.db"], folder.path());
    assert_eq!(code(&nothing), Some(2), "{}", text(&nothing));
    fs::write(
        folder.path().join("x.db"),
        "not a database, though it is long enough to be taken for one at first sight ....................",
    )
    .expect("writes");
    sql(&folder.path().join("y.db"), "CREATE TABLE t (n)");
    for file in ["x.db", "y.db", "z.db"] {
        let refused = run(&["restore", file, "--data", "other"], folder.path());
        assert_eq!(code(&refused), Some(2), "{file}: {}", text(&refused));
        assert!(!folder.path().join("other/livestore-sync.db").exists(), "{file}");
    }
    assert!(!folder.path().join("copy.db").exists());
    assert!(!folder.path().join("z.db").exists());
}
