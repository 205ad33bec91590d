//! The stores that databases hold.

use std::path::PathBuf;

use livestore_sync_server::event_log::SqliteFile;
use livestore_sync_server::table_name::Identifier;
use rusqlite::Connection;

use super::choose::{self, Contents, Registered, Store};
use super::database::Database;
use super::error::Error;
use super::places::{Asked, Kind, Places};

/// Every database that was found, with its stores.
pub(super) struct Catalog {
    pub(super) files: Vec<File>,
    /// Why others could not be read.
    pub(super) unreadable: Vec<Error>,
}

/// A database of a sync server.
pub(super) struct File {
    pub(super) database: Database,
    pub(super) kind: Kind,
    pub(super) stores: Vec<Store>,
}

impl File {
    /// Its path, for people and for `--path`.
    pub(super) fn name(&self) -> String {
        self.database.path().display().to_string()
    }
}

impl Catalog {
    pub(super) fn open(places: &Places) -> Result<Self, Error> {
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for path in &places.files {
            let opened = Database::open(path).and_then(|mut database| {
                let contents = database.read(contents)?;
                Ok((database, contents))
            });
            match (opened, &places.asked) {
                (Ok(opened), _) => found.push(opened),
                (Err(error), Asked::File(_)) => return Err(error),
                (Err(error), _) => unreadable.push(error),
            }
        }
        let ids: Vec<_> = found.iter().flat_map(|(_, contents)| contents.context_ids.clone()).collect();
        let files: Vec<_> = found
            .into_iter()
            .filter(|(_, contents)| contents.is_of_sync_server())
            .map(|(database, contents)| {
                let kind = Kind::of(database.path());
                File { database, kind, stores: choose::stores(contents, &ids) }
            })
            .collect();
        match &places.asked {
            _ if !files.is_empty() || !unreadable.is_empty() => Ok(Self { files, unreadable }),
            Asked::File(path) => Err(Error::NoEvents(path.clone())),
            Asked::Folder(path) => Err(Error::NothingThere(path.clone())),
            Asked::Usual { folder, data } => {
                Err(Error::NothingHere { folder: folder.clone(), data: data.join(SqliteFile::FILE_NAME) })
            }
        }
    }

    /// The one store of that id.
    pub(super) fn choose(&mut self, id: &str) -> Result<(&mut File, Store), Error> {
        let mut matches: Vec<(&mut File, Store)> = Vec::new();
        let mut known = Vec::new();
        for file in &mut self.files {
            known.extend(file.stores.iter().map(|store| store.id.clone()));
            if let Some(store) = choose::find(&file.stores, id).cloned() {
                matches.push((file, store));
            }
        }
        match matches.len() {
            0 => Err(Error::NoSuchStore { store: id.into(), known }),
            1 => Ok(matches.remove(0)),
            _ => {
                let files: Vec<PathBuf> = matches.iter().map(|(file, _)| file.database.path().into()).collect();
                Err(Error::SeveralStores { store: id.into(), files })
            }
        }
    }
}

/// Columns of an events table.
const COLUMNS: [&str; 7] = ["seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId"];

fn contents(connection: &Connection) -> rusqlite::Result<Contents> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    let registry = if has("livestore_stores") {
        let mut statement =
            connection.prepare("SELECT store_id, table_name, gaps FROM livestore_stores ORDER BY store_id")?;
        let rows =
            statement.query_map([], |row| Ok(Registered { id: row.get(0)?, table: row.get(1)?, gaps: row.get(2)? }))?;
        Some(rows.collect::<rusqlite::Result<_>>()?)
    } else {
        None
    };
    // Only data files of the native server have this one.
    let parts = if has("empty_stores") {
        let mut statement = connection.prepare("SELECT store_id, number FROM stores")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    } else {
        Vec::new()
    };
    let context_ids = if has("context_7") {
        let mut statement = connection.prepare(r#"SELECT "storeId" FROM context_7 ORDER BY 1"#)?;
        let ids = statement.query_map([], |row| row.get(0))?;
        ids.collect::<rusqlite::Result<_>>()?
    } else {
        Vec::new()
    };
    let mut event_tables = Vec::new();
    for table in &tables {
        let Some(table) = choose::event_table(table) else { continue };
        if has_columns(connection, &table)? {
            event_tables.push(table);
        }
    }
    Ok(Contents { registry, parts, context_ids, event_tables })
}

fn has_columns(connection: &Connection, table: &Identifier) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let columns: Vec<String> = statement.query_map([table.as_str()], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(COLUMNS.iter().all(|wanted| columns.iter().any(|column| column.eq_ignore_ascii_case(wanted))))
}
