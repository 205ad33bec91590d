//! The application of `tests/interop/lib/todo-schema.mjs`.

use livestore_sync_client::local::Options;
use livestore_sync_client::local::rusqlite::{self, Connection, Row};
use serde_json::{Value, json};

const TABLES: &str =
    "CREATE TABLE todos (id TEXT PRIMARY KEY, text TEXT NOT NULL DEFAULT '', done INTEGER NOT NULL DEFAULT 0)";

/// The events' names, and what each does with its `args`.
const MATERIALISERS: [(&str, &str); 3] = [
    ("v1.TodoCreated", "INSERT OR IGNORE INTO todos (id, text) VALUES (?1 ->> 'id', ?1 ->> 'text')"),
    ("v1.TodoRenamed", "UPDATE todos SET text = ?1 ->> 'text' WHERE id = ?1 ->> 'id'"),
    ("v1.TodoDone", "UPDATE todos SET done = 1 WHERE id = ?1 ->> 'id'"),
];

pub(crate) fn options() -> Options {
    MATERIALISERS.into_iter().fold(Options::new().tables(1, TABLES), |options, (name, sql)| {
        options.materialiser(name, move |tx, event| {
            tx.prepare_cached(sql)?.execute([event.args.as_json()])?;
            Ok(())
        })
    })
}

pub(crate) fn rows(tables: &Connection) -> rusqlite::Result<Vec<Value>> {
    let row = |row: &Row<'_>| {
        let (id, text, done): (String, String, bool) = row.try_into()?;
        Ok(json!({ "id": id, "text": text, "done": done }))
    };
    tables.prepare("SELECT id, text, done FROM todos ORDER BY id")?.query_map([], row)?.collect()
}
