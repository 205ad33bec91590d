//! Taking back what pending events did to the app's tables.
//!
//! SQLite's session extension would do this, but `rusqlite` has it only with bindings made during the
//! build, which needs libclang on every machine that builds the app, for every target. Savepoints
//! end with the process. So each table has a second one, which temporary triggers fill while a pending event
//! is applied: a row per changed row, with the key that it has now and the values that it had. That
//! also covers what sessions leave out: tables without a primary key, and keys that are null.
//!
//! Rows are taken back last to first, with triggers and foreign keys off: what those did when the event was applied was
//! written down like any other change, and is taken back like it. If they ran again now, they would do it twice.
//! SQLite fires temporary triggers before the app's own on the same table, which the order of these
//! rows relies on (see the tests).

mod counters;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, Result};

use crate::local::error::TablesError;

/// How to take back what pending events do to the app's tables.
pub(crate) struct Undo {
    tables: Vec<UndoTable>,
    /// Whether tables have counters, which are taken back as well.
    has_counters: bool,
}

/// An app's table and how to take changes to it back.
struct UndoTable {
    table: String,
    undo: String,
    /// What names a row: `rowid`, or the primary key.
    key: Vec<String>,
    /// What a row is restored from: the rowid, where there is one, and all columns that are stored.
    values: Vec<String>,
}

pub(crate) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// The app's tables, or why one of them cannot be kept in step.
fn tables(connection: &Connection) -> std::result::Result<Vec<UndoTable>, TablesError> {
    let mut list = connection.prepare(
        "SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
         AND name NOT LIKE 'livestore\\_%' ESCAPE '\\' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let rows =
        list.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, bool>(2)?)))?;
    let mut tables = Vec::new();
    for row in rows {
        let (table, kind, without_rowid) = row?;
        if kind == "virtual" {
            return Err(TablesError::Virtual { table });
        }
        tables.push(describe(connection, table, without_rowid)?);
    }
    Ok(tables)
}

fn describe(
    connection: &Connection,
    table: String,
    without_rowid: bool,
) -> std::result::Result<UndoTable, TablesError> {
    // Hidden 2 and 3 are generated columns, which are computed and not restored.
    let columns: Vec<(String, i64)> = connection
        .prepare("SELECT name, pk FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid")?
        .query_map([&table], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_>>()?;
    let mut values: Vec<String> = columns.iter().map(|(name, _)| quote(name)).collect();
    let key = if without_rowid {
        columns.iter().filter(|(_, pk)| *pk > 0).map(|(name, _)| quote(name)).collect()
    } else {
        let is_free = |name: &&str| !columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
        let Some(rowid) = ["rowid", "_rowid_", "oid"].into_iter().find(is_free) else {
            return Err(TablesError::NoRowid { table });
        };
        values.insert(0, rowid.to_owned());
        vec![rowid.to_owned()]
    };
    let undo = quote(&format!("livestore_undo_{table}"));
    Ok(UndoTable { table, undo, key, values })
}

impl Undo {
    /// For a database without tables of the app.
    pub(crate) fn none() -> Self {
        Self { tables: Vec::new(), has_counters: false }
    }

    /// For the app's tables as they are, with what remembers their changes, which is made if it is not there yet.
    pub(crate) fn of(connection: &Connection, is_new: bool) -> std::result::Result<Self, TablesError> {
        let tables = tables(connection)?;
        if is_new {
            tables.iter().try_for_each(|table| table.create(connection))?;
            counters::create(connection)?;
        }
        tables.iter().try_for_each(|table| table.watch(connection))?;
        Ok(Self { tables, has_counters: counters::exist(connection)? })
    }

    /// A pending event is about to be applied.
    pub(crate) fn begin(&self, connection: &Connection, pending: i64) -> Result<()> {
        if self.has_counters { counters::remember(connection, pending) } else { Ok(()) }
    }

    /// Forgets how to take back events up to an id: they are confirmed.
    pub(crate) fn forget(&self, connection: &Connection, up_to: i64) -> Result<()> {
        self.tables.iter().try_for_each(|table| table.forget(connection, up_to))?;
        if self.has_counters { counters::forget(connection, up_to) } else { Ok(()) }
    }

    /// Takes back what all pending events did.
    pub(crate) fn take_back(&self, connection: &Connection) -> Result<()> {
        set_side_effects(connection, false)?;
        let result = self.tables.iter().try_for_each(|table| table.take_back(connection));
        set_side_effects(connection, true)?;
        result?;
        if self.has_counters { counters::take_back(connection) } else { Ok(()) }
    }
}

impl UndoTable {
    /// Makes the table that remembers. Its columns have no type, so that values stay what they are.
    fn create(&self, connection: &Connection) -> Result<()> {
        let columns = [names("new", self.key.len()), names("old", self.values.len())].concat().join(", ");
        connection.execute_batch(&format!(
            "CREATE TABLE {undo} (step INTEGER PRIMARY KEY, pending INTEGER NOT NULL, has_new INTEGER NOT NULL,
               has_old INTEGER NOT NULL, {columns});
             CREATE INDEX {index} ON {undo} (pending)",
            undo = self.undo,
            // Not `livestore_undo_…`: an index may not have the name of what remembers another table.
            index = quote(&format!("livestore_index_{}", self.table)),
        ))
    }

    /// Makes the triggers. They are temporary, so they exist for the store's own connection only: an app's tool that
    /// opens the file finds no triggers that call a function which it does not have.
    fn watch(&self, connection: &Connection) -> Result<()> {
        for (event, has_new, has_old) in [("INSERT", true, false), ("UPDATE", true, true), ("DELETE", false, true)] {
            let mut columns = vec!["pending".to_owned(), "has_new".to_owned(), "has_old".to_owned()];
            let mut values = vec![
                "livestore_pending_id()".to_owned(),
                i32::from(has_new).to_string(),
                i32::from(has_old).to_string(),
            ];
            if has_new {
                columns.extend(names("new", self.key.len()));
                values.extend(self.key.iter().map(|column| format!("new.{column}")));
            }
            if has_old {
                columns.extend(names("old", self.values.len()));
                values.extend(self.values.iter().map(|column| format!("old.{column}")));
            }
            // Changes of a confirmed event have no pending id, and are never taken back.
            connection.execute_batch(&format!(
                "CREATE TEMP TRIGGER {name} AFTER {event} ON main.{table} WHEN livestore_pending_id() IS NOT NULL
                 BEGIN INSERT INTO {undo} ({columns}) VALUES ({values}); END",
                name = quote(&format!("livestore_undo_{}_{}", event.to_lowercase(), self.table)),
                table = quote(&self.table),
                undo = self.undo,
                columns = columns.join(", "),
                values = values.join(", "),
            ))?;
        }
        Ok(())
    }

    /// Forgets how to take back events up to an id: they are confirmed.
    fn forget(&self, connection: &Connection, up_to: i64) -> Result<()> {
        connection.prepare_cached(&format!("DELETE FROM {} WHERE pending <= ?1", self.undo))?.execute([up_to]).map(drop)
    }

    fn take_back(&self, connection: &Connection) -> Result<()> {
        let (table, undo) = (quote(&self.table), &self.undo);
        let steps: Vec<(i64, bool, bool)> = connection
            .prepare_cached(&format!("SELECT step, has_new, has_old FROM {undo} ORDER BY step DESC"))?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect::<Result<_>>()?;
        if steps.is_empty() {
            return Ok(());
        }
        let mut delete = connection.prepare_cached(&format!(
            "DELETE FROM {table} WHERE ({}) = (SELECT {} FROM {undo} WHERE step = ?1)",
            self.key.join(", "),
            names("new", self.key.len()).join(", "),
        ))?;
        let mut restore = connection.prepare_cached(&format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {undo} WHERE step = ?1",
            self.values.join(", "),
            names("old", self.values.len()).join(", "),
        ))?;
        // A row that was inserted has no former values, and one that was deleted has no present key: an update is a
        // deletion of what is there and an insertion of what was.
        for (step, has_new, has_old) in steps {
            if has_new {
                delete.execute([step])?;
            }
            if has_old {
                restore.execute([step])?;
            }
        }
        connection.execute(&format!("DELETE FROM {undo}"), []).map(drop)
    }
}

/// `new0`, `new1`, …
fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}{index}")).collect()
}

/// Turns triggers and foreign keys on or off. Unlike the pragma, this works within a transaction.
pub(crate) fn set_side_effects(connection: &Connection, on: bool) -> Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, on).map(drop)
}

#[cfg(test)]
#[path = "undo/tests.rs"]
mod tests;
