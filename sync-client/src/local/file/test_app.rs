//! An app whose tables have every shape that undoing has to cope with.

use livestore_sync_protocol::Event;
use rusqlite::Transaction;
use rusqlite::types::ValueRef;

use super::LogFile;
use crate::event::NewEvent;
use crate::local::options::{BoxError, Options};

const TABLES: &str = "
    CREATE TABLE keyless (a, b);
    CREATE TABLE texts (id TEXT PRIMARY KEY, n INTEGER UNIQUE, twice GENERATED ALWAYS AS (n * 2), big BLOB);
    CREATE TABLE pairs (a INTEGER NOT NULL, b TEXT NOT NULL COLLATE NOCASE, c REAL, PRIMARY KEY (b, a)) WITHOUT ROWID;
    CREATE TABLE parents (rowid TEXT PRIMARY KEY, n ANY) STRICT;
    CREATE TABLE children (id INTEGER PRIMARY KEY, parent TEXT REFERENCES parents (rowid) ON DELETE CASCADE ON UPDATE CASCADE,
      above INTEGER REFERENCES children (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
    CREATE TABLE \"odd \"\"name\" (\"select\" PRIMARY KEY, \"a b\");
    CREATE TABLE sums (name TEXT PRIMARY KEY, n INTEGER NOT NULL);
    CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, a);
    CREATE TABLE pending_counted (id /* no AUTOINCREMENT, and named as if it remembered the other */);
    CREATE INDEX keyless_a ON keyless (a);
    CREATE TRIGGER count_keyless AFTER INSERT ON keyless BEGIN
      INSERT INTO sums VALUES ('keyless', 1) ON CONFLICT DO UPDATE SET n = n + 1;
      UPDATE keyless SET b = b || '!' WHERE rowid = new.rowid;
    END;
    CREATE TRIGGER uncount_keyless BEFORE DELETE ON keyless BEGIN
      UPDATE sums SET n = n - 1 WHERE name = 'keyless';
    END;
    CREATE VIEW seen AS SELECT a FROM keyless";

/// Each event runs one of these, with `:a` and `:b` small numbers and `:seq` its number.
pub(super) const STATEMENTS: [&str; 30] = [
    "INSERT INTO keyless VALUES (:a, :b)",
    "UPDATE keyless SET b = b || :a WHERE a = :b",
    "DELETE FROM keyless WHERE a = :a",
    "DELETE FROM keyless",
    "INSERT OR REPLACE INTO texts (id, n, big) VALUES ('t' || :a, :b, zeroblob(:a))",
    "INSERT OR IGNORE INTO texts (id, n, big) VALUES (NULL, :b, x'00ff' || :a)",
    "UPDATE OR REPLACE texts SET n = n + 1 WHERE n >= :a",
    "UPDATE OR REPLACE texts SET id = 't' || :b WHERE id = 't' || :a",
    "UPDATE OR REPLACE texts SET rowid = :a WHERE rowid = :b",
    "DELETE FROM texts WHERE n = :a",
    "INSERT INTO pairs VALUES (:a, char(64 + :b), :b / 3.0) ON CONFLICT DO UPDATE SET c = c + 1e300",
    "INSERT OR REPLACE INTO pairs VALUES (:a, char(96 + :b), NULL)",
    "UPDATE OR REPLACE pairs SET a = :b, b = lower(b) WHERE a = :a",
    "DELETE FROM pairs WHERE a = :a",
    "INSERT OR IGNORE INTO parents VALUES ('p' || :a, :b)",
    "INSERT OR REPLACE INTO parents VALUES ('p' || :a, 'x' || char(0) || :b)",
    "UPDATE OR IGNORE parents SET rowid = 'p' || :b WHERE rowid = 'p' || :a",
    "DELETE FROM parents WHERE rowid = 'p' || :a",
    "INSERT INTO children (parent, above) SELECT rowid, (SELECT max(id) FROM children) FROM parents WHERE rowid = 'p' || :a",
    "DELETE FROM children WHERE id = (SELECT min(id) + :a FROM children)",
    "INSERT OR REPLACE INTO \"odd \"\"name\" VALUES (:a, :seq)",
    "INSERT INTO \"odd \"\"name\" VALUES (NULL, :b)",
    "DELETE FROM \"odd \"\"name\" WHERE \"select\" IS NULL OR \"select\" = :a",
    "INSERT INTO sums VALUES ('seq', :seq) ON CONFLICT DO UPDATE SET n = n * 3 + :seq",
    "INSERT INTO texts (id, n) SELECT 'c' || a || b, NULL FROM pairs WHERE true ON CONFLICT DO NOTHING",
    "REPLACE INTO keyless (rowid, a, b) VALUES (:a, :b, 'replaced')",
    "INSERT INTO counted (a) VALUES (:a)",
    "INSERT OR REPLACE INTO counted VALUES (:a * 3, :b)",
    "DELETE FROM counted WHERE a = :a OR id = (SELECT max(id) FROM counted)",
    "INSERT INTO pending_counted SELECT max(id) FROM counted",
];

pub(super) fn options() -> Options {
    let options = Options::new().tables(1, TABLES);
    (0..STATEMENTS.len()).fold(options, |options, n| {
        options.materialiser(n.to_string(), move |tx, event| apply(tx, event, STATEMENTS[n]))
    })
}

fn apply(tx: &Transaction<'_>, event: &Event, sql: &str) -> Result<(), BoxError> {
    let (a, b, _): (i64, i64, String) = serde_json::from_str(event.args.as_json())?;
    let mut statement = tx.prepare_cached(sql)?;
    for (name, value) in [(":a", a), (":b", b), (":seq", event.seq_num.get())] {
        if let Some(index) = statement.parameter_index(name)? {
            statement.raw_bind_parameter(index, value)?;
        }
    }
    statement.raw_execute()?;
    Ok(())
}

/// An event that runs a statement; `label` tells it from others.
pub(super) fn event(statement: usize, a: u64, b: u64, label: &str) -> NewEvent {
    NewEvent::new(statement.to_string(), (a, b, label)).unwrap()
}

impl LogFile {
    /// Everything in the app's tables, with types and rowids, and their counters.
    pub(super) fn dump(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (table, columns) in [
            ("keyless", "rowid, *"),
            ("texts", "rowid, *"),
            ("pairs", "*"),
            ("parents", "_rowid_, *"),
            ("children", "*"),
            ("\"odd \"\"name\"", "rowid, *"),
            ("sums", "rowid, *"),
            ("counted", "*"),
            ("pending_counted", "rowid, *"),
            // A counter at 0 and none at all are the same.
            ("(SELECT * FROM sqlite_sequence WHERE seq > 0)", "*"),
        ] {
            let sql = format!("SELECT {columns} FROM {table} ORDER BY 1, 2");
            let mut statement = self.connection.prepare(&sql).unwrap();
            let count = statement.column_count();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let values: Vec<ValueRef<'_>> = (0..count).map(|column| row.get_ref(column).unwrap()).collect();
                lines.push(format!("{table} {values:?}"));
            }
        }
        lines
    }
}
