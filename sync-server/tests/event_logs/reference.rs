//! A file that the reference wrote is served as it stands. The tables are those of its D1 databases and of its
//! objects, statement by statement (sync-cf 0.4.0 and 0.3.1).

use livestore_sync_server::event_log::{EventLog, Head};
use livestore_sync_server::protocol::{Event, ItemFormat, PulledEvent, SeqNum};
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

/// An object of 0.4.0 says which store it has.
const CONTEXT: &str = r#"CREATE TABLE "context_7" ("storeId" text primary key   , "currentHead" integer   not null , "backendId" text   not null ) strict;
INSERT INTO context_7 VALUES ('acc-args', 100, 'YwihZanyJkdCM_fFFtyAC');"#;

/// A D1 database does not, and here a person does, as README.md says.
const REGISTER: &str = "INSERT INTO livestore_stores (store_id, table_name, backend_id, created_at, gaps)
SELECT 'acc-args', 'eventlog_7_acc_args', hex(randomblob(11)), datetime(), MAX(0, MAX(seqNum) - COUNT(*)) FROM eventlog_7_acc_args;";

const ARGS: &str = r#"{"s":"","u":"ünïcödé 🚀 \u0000   \"quotes\" \\ /","n":null,"b":[true,false],"f":1.5,"neg":-0.25,"big":9007199254740991,"e":1e+21,"nest":{"a":[{"b":[[]]}]}}"#;

const ROWS: [(i64, i64, &str, Option<&str>); 4] = [
    (1, 0, "name-0-ß'\"", Some("{}")),
    (2, 1, "name-1-ß'\"", Some(ARGS)),
    (3, 2, "name-2-ß'\"", None),
    (100, 3, "name-3-ß'\"", Some("\"str\"")),
];

const CREATED_AT: &str = "2026-11-21T00:09:17.056Z";

fn connect(folder: &TempDir) -> Connection {
    Connection::open(folder.path().join("livestore-sync.db")).expect("opens")
}

fn write(folder: &TempDir, table: &str) {
    let connection = connect(folder);
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
        if release == "0.4.0" {
            connect(&folder).execute_batch(CONTEXT).expect("as its objects have it");
        } else {
            drop(open(folder.path()).await);
            connect(&folder).execute_batch(REGISTER).expect("registers");
        }
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
        assert!(release != "0.4.0" || &*backend_id == "YwihZanyJkdCM_fFFtyAC", "clients know it by that");
        let file = open(folder.path()).await;
        let log = store(&file, "acc-args").await;
        assert_eq!(log.backend_id().await.expect("an id"), backend_id, "{release}");
        assert_eq!(log.head().await.expect("a head"), Head::new(seq(102), 96), "{release}");
        assert_eq!(clients(&log).await, ["client-a", "client-a", "client-a", "client-a", "b", "b"], "{release}");
        // The reference itself would go on with it: its columns are where it left them.
        let head: i64 = connect(&folder)
            .query_row(r#"SELECT MAX(seqNum) FROM "eventlog_7_acc_args""#, [], |row| row.get(0))
            .expect("reads");
        assert_eq!(head, 102, "{release}");
    }
}

/// Many ids ask for one name. Nobody gets another's events by asking first.
#[tokio::test]
async fn a_table_that_may_be_anothers_is_left_alone() {
    let folder = TempDir::new().expect("a folder");
    write(&folder, V04);
    connect(&folder).execute_batch("ALTER TABLE eventlog_7_acc_args RENAME TO eventlog_7_team_a").expect("renames");
    let file = open(folder.path()).await;
    for id in ["team.a", "team-a", "team_a", "TEAM-A"] {
        let log = store(&file, id).await;
        assert_eq!(log.head().await.expect("a head"), Head::EMPTY, "{id}");
        append(&log, batch(id, 0, 1)).await.expect("appends");
        assert_eq!(clients(&log).await, [id]);
    }
    let left: i64 = connect(&folder)
        .query_row("SELECT COUNT(*) FROM eventlog_7_team_a", [], |row| row.get(0))
        .expect("it is as it was");
    assert_eq!(left, ROWS.len() as i64);
    // An id that alone has this name has the events.
    connect(&folder).execute_batch("ALTER TABLE eventlog_7_team_a RENAME TO eventlog_7_team1").expect("renames");
    assert_eq!(clients(&store(&file, "team1").await).await.len(), ROWS.len());
}

/// The reference 0.3.1 acknowledges before it stores, so that an event may be missing in what it left.
#[tokio::test]
async fn holes_that_the_reference_left_are_served_and_later_ones_are_not() {
    let folder = TempDir::new().expect("a folder");
    write(&folder, V03);
    let rename =
        "DELETE FROM eventlog_7_acc_args WHERE seqNum = 2; ALTER TABLE eventlog_7_acc_args RENAME TO eventlog_7_notes";
    connect(&folder).execute_batch(rename).expect("loses an event");
    let file = open(folder.path()).await;
    let log = store(&file, "notes").await;
    append(&log, batch("b", 100, 104)).await.expect("appends");
    assert_eq!(clients(&log).await.len(), 3 + 4);
    connect(&folder).execute_batch("DELETE FROM eventlog_7_notes WHERE seqNum = 102").expect("loses another");
    let error = log.events(SeqNum::ROOT, SeqNum::MAX, 100).await.expect_err("one is missing");
    assert!(error.to_string().contains("damaged"), "{error}");
    assert!(log.read(seq(1), ItemFormat::Rpc).await.is_err());
    log.read(seq(103), ItemFormat::Rpc).await.expect("behind it, all is well");
}
