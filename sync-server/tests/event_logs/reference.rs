//! A file that the reference wrote is served as it stands. The tables are those of its D1 databases,
//! statement by statement (sync-cf 0.4.0 and 0.3.1).

use livestore_sync_server::event_log::{EventLog, Head};
use livestore_sync_server::protocol::{Event, PulledEvent, SeqNum};
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::sqlite::{append, batch, clients, open, seq, store};

const V04: &str = r#"CREATE TABLE "eventlog_7_acc_args" ("seqNum" integer primary key   , "parentSeqNum" integer   not null , "name" text   not null , "args" text    , "createdAt" text   not null , "clientId" text   not null , "sessionId" text   not null ) strict;"#;

const V03: &str = "CREATE TABLE eventlog_7_acc_args ('seqNum' integer not null , 'parentSeqNum' integer not null , 'name' text not null , 'args' text  , 'createdAt' text not null , 'clientId' text not null , 'sessionId' text not null , PRIMARY KEY ('seqNum')) strict;";

/// Beside the stores' tables, each database has this one.
const METADATA: &str = "CREATE TABLE _cf_METADATA (
        key INTEGER PRIMARY KEY,
        value BLOB
      );";

const ARGS: &str = r#"{"s":"","u":"ünïcödé 🚀 \u0000   \"quotes\" \\ /","n":null,"b":[true,false],"f":1.5,"neg":-0.25,"big":9007199254740991,"e":1e+21,"nest":{"a":[{"b":[[]]}]}}"#;

const ROWS: [(i64, i64, &str, Option<&str>); 4] = [
    (1, 0, "name-0-ß'\"", Some("{}")),
    (2, 1, "name-1-ß'\"", Some(ARGS)),
    (3, 2, "name-2-ß'\"", None),
    (100, 3, "name-3-ß'\"", Some("\"str\"")),
];

const CREATED_AT: &str = "2026-11-21T00:09:17.056Z";

fn write(folder: &TempDir, table: &str) {
    let connection = Connection::open(folder.path().join("livestore-sync.db")).expect("opens");
    connection.pragma_update(None, "journal_mode", "WAL").expect("as D1 does");
    connection.execute_batch(METADATA).expect("creates");
    connection.execute_batch(table).expect("creates");
    connection.execute_batch(&table.replace("acc_args", "empty")).expect("creates");
    for (number, parent, name, args) in ROWS {
        connection
            .execute(
                r#"INSERT INTO "eventlog_7_acc_args" VALUES (?1, ?2, ?3, ?4, ?5, 'client-a', 'session-a')"#,
                params![number, parent, name, args, CREATED_AT],
            )
            .expect("inserts");
    }
}

fn expected() -> Vec<PulledEvent> {
    ROWS.into_iter()
        .map(|(number, parent, name, args)| PulledEvent {
            event: Event {
                name: name.into(),
                args: args.map_or_else(Default::default, |args| serde_json::from_str(args).expect("JSON")),
                seq_num: seq(number),
                parent_seq_num: seq(parent),
                client_id: "client-a".into(),
                session_id: "session-a".into(),
            },
            created_at: Some(CREATED_AT.into()),
        })
        .collect()
}

#[tokio::test]
async fn files_of_the_reference_are_served_as_they_stand() {
    for (release, table) in [("0.4.0", V04), ("0.3.1", V03)] {
        let folder = TempDir::new().expect("a folder");
        write(&folder, table);
        let backend_id = {
            let file = open(folder.path()).await;
            let log = store(&file, "acc-args").await;
            assert_eq!(log.head().await.expect("a head"), Head::new(seq(100), 96), "{release}");
            assert_eq!(log.events(SeqNum::ROOT, SeqNum::MAX, 100).await.expect("reads"), expected(), "{release}");
            append(&log, batch("b", 100, 102)).await.expect("appends");
            let empty = store(&file, "empty").await;
            assert_eq!(empty.head().await.expect("a head"), Head::EMPTY, "{release}");
            log.backend_id().await.expect("an id")
        };
        let file = open(folder.path()).await;
        let log = store(&file, "acc-args").await;
        assert_eq!(log.backend_id().await.expect("an id"), backend_id, "{release}");
        assert_eq!(log.head().await.expect("a head"), Head::new(seq(102), 96), "{release}");
        assert_eq!(clients(&log).await, ["client-a", "client-a", "client-a", "client-a", "b", "b"], "{release}");
        // The reference itself would go on with it: its columns are where it left them.
        let connection = Connection::open(folder.path().join("livestore-sync.db")).expect("opens");
        let head: i64 = connection
            .query_row(r#"SELECT MAX(seqNum) FROM "eventlog_7_acc_args""#, [], |row| row.get(0))
            .expect("reads");
        assert_eq!(head, 102, "{release}");
    }
}
