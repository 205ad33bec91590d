use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rusqlite::{Connection, params};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const D1: &str = ".wrangler/state/v3/d1/miniflare-D1DatabaseObject/a36f84ea60804f30bb0c7f7cad9f5336a6cca0165abdab8b9241d93dbf0b6006.sqlite";
pub(crate) const OBJECT: &str =
    ".wrangler/state/v3/do/app-SyncBackendDO/0b9b872fbe2eda545eeb0de3d09cc1893839825d409b02294e7f0de9a103dc36.sqlite";
pub(crate) const OBJECT_2: &str =
    ".wrangler/state/v3/do/app-SyncBackendDO/34e08b413f7756738191c4647554dbdc981f54fbc6edb5c43855d48750a58566.sqlite";
pub(crate) const DATA: &str = "data/livestore-sync.db";

const REGISTRY: &str = include_str!("../../../migrations/0001_stores.sql");

/// As the reference's servers and ours create them.
const EVENTS_V03: &str = "CREATE TABLE TABLE_NAME ('seqNum' integer not null , 'parentSeqNum' integer not null , 'name' text not null , 'args' text  , 'createdAt' text not null , 'clientId' text not null , 'sessionId' text not null , PRIMARY KEY ('seqNum')) strict;";
const EVENTS_V04: &str = r#"CREATE TABLE "TABLE_NAME" ("seqNum" integer primary key   , "parentSeqNum" integer   not null , "name" text   not null , "args" text    , "createdAt" text   not null , "clientId" text   not null , "sessionId" text   not null ) strict;"#;
const CONTEXT: &str = r#"CREATE TABLE "context_7" ("storeId" text primary key   , "currentHead" integer   not null , "backendId" text   not null ) strict;"#;
const METADATA: &str = "CREATE TABLE _cf_METADATA (
        key INTEGER PRIMARY KEY,
        value BLOB
      );";
const KV: &str = "CREATE TABLE _cf_KV (
        key TEXT PRIMARY KEY,
        value BLOB
      ) WITHOUT ROWID;";

/// A project's folder, and what was run in it.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// A database in WAL mode, as workerd and our server have it.
    pub(crate) fn database(&self, file: &str) -> Database {
        let path = self.path(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("makes the folder");
        let connection = Connection::open(path).expect("opens");
        connection.pragma_update(None, "journal_mode", "WAL").expect("as workerd does");
        connection.pragma_update(None, "synchronous", "OFF").expect("sets it");
        Database { connection }
    }

    /// Everything that servers have left: D1 and objects of each, and a data folder.
    pub(crate) fn with_all_layouts() -> Self {
        let project = Self::new();
        // sync-cf 0.3.1 and 0.4.0 in one D1 database, as after an upgrade; one object knows its id.
        let d1 = project.database(D1);
        d1.sql(METADATA).events_v03("eventlog_7_from_v03").event("eventlog_7_from_v03", 1, 0, "a", Some("{}"));
        d1.events_v04("eventlog_7_from_v04").event("eventlog_7_from_v04", 1, 0, "a", None);
        d1.events_v04("eventlog_7_empty");
        project.database(OBJECT).sql(KV).context("from-v04", 1);
        // sync-cf 0.4.0 with the object's own SQLite.
        let object = project.database(OBJECT_2);
        object.context("own", 2).events_v04("eventlog_7_own");
        object.event("eventlog_7_own", 1, 0, "a", Some("1")).event("eventlog_7_own", 2, 1, "b", Some("\"ü\""));
        // Ours.
        let data = project.database(DATA);
        data.registry().store("a-b", "eventlog_7_a_b", 3).store("a_b", "eventlog_7_a_b_00ff", 0);
        data.event("eventlog_7_a_b", 4, 0, "a", Some("{}")).event("eventlog_7_a_b", 5, 4, "b", Some("{}"));
        // What is none of our business.
        let other = ".wrangler/state/v3/do/app-Other/1.sqlite";
        project.database(other).sql(KV).sql("CREATE TABLE t (n INTEGER)");
        let books = ".wrangler/state/v3/d1/miniflare-D1DatabaseObject/metadata.sqlite";
        project.database(books).sql(KV).events_v04("eventlog_7_not_here");
        fs::write(project.path(".wrangler/state/v3/do/app-Other/notes.txt"), "no database").expect("writes");
        project
    }

    /// `livestore-sync inspect …`, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_livestore-sync"));
        command.arg("inspect").args(arguments).current_dir(self.folder.path());
        command.env_remove("LIVESTORE_SYNC_DATA").stdin(Stdio::null());
        command
    }

    pub(crate) fn inspect(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments).output().expect("runs"))
    }
}

/// What a run printed.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// It ended well and had nothing to remark.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!((self.code, &*self.stderr), (Some(0), ""), "{}", self.stdout);
        self
    }

    /// It failed, with one line that begins and continues so.
    #[track_caller]
    pub(crate) fn refused(self, parts: &[&str]) {
        assert_eq!((self.code, &*self.stdout), (Some(2), ""), "{}", self.stderr);
        assert!(self.stderr.starts_with("livestore-sync: "), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {}", self.stderr);
        }
    }

    /// Its lines of JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// One field of each line.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Vec<Value> {
        self.json().into_iter().map(|mut line| line[name].take()).collect()
    }
}

/// A database under construction.
pub(crate) struct Database {
    connection: Connection,
}

impl Database {
    pub(crate) fn sql(&self, sql: &str) -> &Self {
        self.connection.execute_batch(sql).expect("executes");
        self
    }

    pub(crate) fn events_v03(&self, table: &str) -> &Self {
        self.sql(&EVENTS_V03.replace("TABLE_NAME", table))
    }

    pub(crate) fn events_v04(&self, table: &str) -> &Self {
        self.sql(&EVENTS_V04.replace("TABLE_NAME", table))
    }

    pub(crate) fn context(&self, store: &str, head: i64) -> &Self {
        self.sql(CONTEXT);
        self.connection
            .execute("INSERT INTO context_7 VALUES (?1, ?2, 'YwihZanyJkdCM_fFFtyAC')", params![store, head])
            .expect("inserts");
        self
    }

    pub(crate) fn registry(&self) -> &Self {
        self.sql(REGISTRY)
    }

    /// A row of our registry, and its table.
    pub(crate) fn store(&self, id: &str, table: &str, gaps: i64) -> &Self {
        self.connection
            .execute(
                "INSERT INTO livestore_stores VALUES (?1, ?2, 'YwihZanyJkdCM_fFFtyAC', '2026-11-21T00:00:00.000Z', ?3)",
                params![id, table, gaps],
            )
            .expect("inserts");
        self.events_v04(table)
    }

    pub(crate) fn event(&self, table: &str, number: i64, parent: i64, name: &str, args: Option<&str>) -> &Self {
        self.connection
            .execute(
                &format!(r#"INSERT INTO "{table}" VALUES (?1, ?2, ?3, ?4, ?5, 'client-a', 'session-a')"#),
                params![number, parent, name, args, created_at(number)],
            )
            .expect("inserts");
        self
    }

    /// Events 1 to `last`, called `name-1` and so on.
    pub(crate) fn chain(&self, table: &str, last: i64) -> &Self {
        for number in 1..=last {
            self.event(table, number, number - 1, &format!("name-{number}"), Some(&format!("{{\"n\":{number}}}")));
        }
        self
    }
}

/// When the event of that number was stored.
pub(crate) fn created_at(number: i64) -> String {
    format!("2026-11-21T00:05:45.{:03}Z", number.rem_euclid(1000))
}

/// Files below a folder, with what is in them.
pub(crate) fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for child in fs::read_dir(folder).expect("a folder") {
        let path = child.expect("a file").path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            let bytes = fs::read(&path).expect("reads");
            files.push((path, bytes));
        }
    }
    files.sort();
    files
}
