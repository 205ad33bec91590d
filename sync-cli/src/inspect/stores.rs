//! `inspect stores`.

use rusqlite::{Connection, params};
use serde::Serialize;

use super::catalog::{Catalog, File};
use super::choose::{IdFrom, Store};
use super::database::Database;
use super::error::Error;
use super::json;
use super::output::{self, Output, Style};
use super::rows::{self, Events};
use super::table::{Align, Table};

/// Events that are summed up in one read.
const SCAN_EVENTS: u32 = 10_000;

/// A store's events, summed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sum {
    head: i64,
    events: u64,
    bytes: u64,
    last_write: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    store: &'a str,
    id_from: &'static str,
    table: &'a str,
    #[serde(flatten)]
    sum: Option<&'a Sum>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a str>,
    file: &'a str,
    kind: &'static str,
}

pub(super) fn print(catalog: &mut Catalog, output: &mut Output) -> Result<(), Error> {
    let mut is_guessed = false;
    let mut table = Table::default()
        .column("  STORE", Align::Left)
        .column("TABLE", Align::Left)
        .column("HEAD", Align::Right)
        .column("EVENTS", Align::Right)
        .column("BYTES", Align::Right)
        .column("LAST WRITE", Align::Left);
    let mut files = Vec::new();
    for file in &mut catalog.files {
        let sums = sums(file)?;
        if output.style == Style::Json {
            lines(file, &sums).iter().try_for_each(|line| output.json(line))?;
            continue;
        }
        is_guessed |= file.stores.iter().any(|store| store.id_from == IdFrom::Table);
        let cells: Vec<[String; 6]> = file.stores.iter().zip(&sums).map(|(store, sum)| cells(store, sum)).collect();
        files.push((format!("{} ({})", file.name(), file.kind.as_str()), cells));
    }
    if output.style == Style::Table {
        print_table(&mut table, &files, output)?;
    }
    output.flush()?;
    if is_guessed {
        output::note("* the id is not recorded there; this is what the table's name tells of it");
    }
    Ok(())
}

fn print_table(table: &mut Table, files: &[(String, Vec<[String; 6]>)], output: &mut Output) -> Result<(), Error> {
    let all: Vec<_> = files.iter().flat_map(|(_, rows)| rows).map(|row| row.each_ref().map(String::as_str)).collect();
    let mut lines = table.rows(&all, output.width).into_iter();
    output.line(&table.header())?;
    for (name, rows) in files {
        output.line(&super::text::safe(name))?;
        lines.by_ref().take(rows.len()).try_for_each(|line| output.line(&line))?;
    }
    Ok(())
}

/// What each store of a file has, or why it cannot be said.
fn sums(file: &mut File) -> Result<Vec<Result<Sum, String>>, Error> {
    let File { database, stores, .. } = file;
    let sums = stores.iter().map(|store| match store.events() {
        Ok(events) => sum(database, events).map(Ok),
        Err(problem) => Ok(Err(problem)),
    });
    sums.collect()
}

fn sum(database: &mut Database, events: &Events) -> Result<Sum, Error> {
    let (mut sum, mut after) = (Sum::default(), events.start());
    // As far as it is now: one might never catch up with a busy server.
    let end = database.read(|connection| rows::head(connection, events))?;
    while end.is_some_and(|end| after < end) {
        let Some((end, part)) = database.read(|connection| part(connection, events, after))? else { break };
        after = end;
        sum = Sum { events: sum.events + part.events, bytes: sum.bytes + part.bytes, ..part };
    }
    Ok(sum)
}

/// The next events of a table, summed up, and the key of the last.
fn part(connection: &Connection, events: &Events, after: i64) -> rusqlite::Result<Option<(i64, Sum)>> {
    let Some(end) = rows::window(connection, events, after, SCAN_EVENTS)? else { return Ok(None) };
    let (table, key) = (events.table(), events.key());
    let sql = format!(
        r#"SELECT COUNT(*), SUM(octet_length("name") + COALESCE(octet_length("args"), 0) + octet_length("createdAt")
             + octet_length("clientId") + octet_length("sessionId")),
             (SELECT CAST("createdAt" AS BLOB) FROM {table} WHERE {key} = ?2),
             (SELECT "seqNum" FROM {table} WHERE {key} = ?2)
           FROM {table} WHERE {key} > ?1 AND {key} <= ?2"#
    );
    connection.prepare_cached(&sql)?.query_row(params![after, end], |row| {
        let last_write: Vec<u8> = row.get(2)?;
        let sum = Sum {
            head: row.get(3)?,
            events: row.get::<_, i64>(0)?.unsigned_abs(),
            bytes: row.get::<_, i64>(1)?.unsigned_abs(),
            last_write: Some(String::from_utf8_lossy(&last_write).into_owned()),
        };
        Ok(Some((end, sum)))
    })
}

fn lines(file: &File, sums: &[Result<Sum, String>]) -> Vec<String> {
    let line = |(store, sum): (&Store, &Result<Sum, String>)| {
        json::to_line(&Line {
            store: &store.id,
            id_from: store.id_from.as_str(),
            table: &store.table,
            sum: sum.as_ref().ok(),
            problem: sum.as_ref().err().map(String::as_str),
            file: &file.name(),
            kind: file.kind.as_str(),
        })
    };
    file.stores.iter().zip(sums).map(line).collect()
}

fn cells(store: &Store, sum: &Result<Sum, String>) -> [String; 6] {
    let guessed = if store.id_from == IdFrom::Table { "*" } else { "" };
    let (id, table) = (format!("  {}{guessed}", store.id), store.table.clone());
    match sum {
        Ok(sum) => {
            let last_write = sum.last_write.clone().unwrap_or_default();
            [id, table, sum.head.to_string(), sum.events.to_string(), sum.bytes.to_string(), last_write]
        }
        Err(problem) => [id, table, String::new(), String::new(), String::new(), format!("! {problem}")],
    }
}
