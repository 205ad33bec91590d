//! While a server has the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use livestore_sync_server::Batch;
use livestore_sync_server::event_log::{EventLog, SqliteFile, Synchronous};
use livestore_sync_server::protocol::{Args, Event, SeqNum};

use super::fixture::{DATA, Project, created_at};

fn batch(parent: i64, last: i64) -> Arc<Batch> {
    let seq = |number| SeqNum::new(number).expect("a safe integer");
    let event = |number| Event {
        name: "todoCreated".into(),
        args: Args::from_json(format!("{{\"n\":{number}}}")).expect("JSON"),
        seq_num: seq(number),
        parent_seq_num: seq(number - 1),
        client_id: "client".into(),
        session_id: "session".into(),
    };
    Arc::new(Batch::new((parent + 1..=last).map(event).collect(), created_at(1)))
}

/// Our own server's writer appends, and never waits for us longer than a commit takes; each look
/// finds one whole chain, further than the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_writes_on_while_we_look() {
    let project = Project::new();
    let file = SqliteFile::open(&project.path("data"), Synchronous::Off).expect("opens");
    let log = file.store("s", created_at(1), 10).await.expect("opens");
    // A store is there from its first event on.
    log.append(log.head().await.expect("a head"), vec![batch(0, 20)]).await.expect("appends");
    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut head = 20;
            while !done.load(Ordering::Relaxed) {
                let current = log.head().await.expect("a head");
                assert_eq!(current.seq_num.get(), head);
                log.append(current, vec![batch(head, head + 20)]).await.expect("nobody locks the server out");
                head += 20;
            }
            head
        }
    });
    let looks = tokio::task::spawn_blocking(move || {
        let mut last = 0;
        for _ in 0..10 {
            let run = project.inspect(&["verify"]).ok();
            let head = run.field("head")[0].as_i64().expect("a head");
            assert!(head >= last, "{head} after {last}");
            let listed = project.inspect(&["stores"]).ok().field("head")[0].as_i64().expect("a head");
            assert!(listed >= head, "{listed} after {head}");
            last = listed;
        }
        (project, last)
    });
    let (project, last) = looks.await.expect("looks");
    done.store(true, Ordering::Relaxed);
    let head = writer.await.expect("writes");
    assert!(head >= last && last > 0);
    assert_eq!(project.inspect(&["verify"]).ok().field("head"), [head]);
    drop(file);
}

#[test]
fn what_a_writer_has_not_committed_is_not_there() {
    let project = Project::new();
    let data = project.database(DATA);
    data.registry().store("s", "eventlog_7_s", 0).chain("eventlog_7_s", 2).sql("BEGIN IMMEDIATE");
    data.event("eventlog_7_s", 3, 2, "pending", None);
    assert_eq!(project.inspect(&["events", "s"]).ok().field("seqNum"), [1, 2]);
    data.sql("COMMIT");
    assert_eq!(project.inspect(&["events", "s"]).ok().field("seqNum"), [1, 2, 3]);
}

/// What a server that was killed had committed is in its `-wal` file.
#[test]
fn what_a_killed_writer_had_committed_is_there() {
    let project = Project::new();
    let data = project.database(DATA);
    data.sql("PRAGMA wal_autocheckpoint = 0").registry().store("s", "eventlog_7_s", 0);
    data.sql("PRAGMA wal_checkpoint(TRUNCATE)").chain("eventlog_7_s", 2);
    // As it would lie there: without its last close.
    for suffix in ["", "-wal"] {
        let copy = project.path(&format!("killed.db{suffix}"));
        std::fs::copy(project.path(&format!("{DATA}{suffix}")), copy).expect("copies");
    }
    assert_eq!(project.inspect(&["events", "s", "--path", "killed.db"]).ok().field("seqNum"), [1, 2]);
}
