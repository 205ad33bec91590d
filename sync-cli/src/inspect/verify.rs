//! `inspect verify`.

use std::path::Path;

use livestore_sync_server::table_name::Identifier;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::catalog::{Catalog, File};
use super::chain::{Chain, Fault, Problem};
use super::choose::Store;
use super::database::Database;
use super::error::Error;
use super::json;
use super::output::{Output, Style};
use super::places;
use super::rows::{self, Events, Filter};
use super::text;

#[derive(Serialize)]
struct Line<'a> {
    store: &'a str,
    table: &'a str,
    ok: bool,
    events: u64,
    head: i64,
    faults: Vec<FaultLine>,
    #[serde(rename = "faultsMore", skip_serializing_if = "is_zero")]
    faults_more: u64,
    file: &'a str,
    kind: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FaultLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq_num: Option<i64>,
    fault: &'static str,
    text: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Checks one store or all, and prints what was found. Whether all is well.
pub(super) fn print(catalog: &mut Catalog, store: Option<&str>, output: &mut Output) -> Result<bool, Error> {
    let mut is_whole = true;
    let mut check = |file: &mut File, store: &Store| {
        let chain = check(&mut file.database, store)?;
        is_whole &= chain.is_whole();
        let shown = match output.style {
            Style::Json => output.json(&line(file, store, &chain)),
            Style::Table => lines(&file.name(), store, &chain).iter().try_for_each(|line| output.line(line)),
        };
        // The verdict is in the exit code, too.
        match shown.and_then(|()| output.flush()) {
            Err(Error::Closed) => Ok(()),
            shown => shown,
        }
    };
    if let Some(id) = store {
        let (file, store) = catalog.choose(id)?;
        check(file, &store)?;
    } else {
        for file in &mut catalog.files {
            for store in file.stores.clone() {
                check(file, &store)?;
            }
        }
    }
    Ok(is_whole)
}

/// What is wrong with the stores of one file, as lines for people.
pub(crate) fn faults(path: &Path) -> Result<Vec<String>, Error> {
    let mut catalog = Catalog::open(&places::find(Some(path))?)?;
    let mut faults = Vec::new();
    for file in &mut catalog.files {
        for store in file.stores.clone() {
            let chain = check(&mut file.database, &store)?;
            if !chain.is_whole() {
                faults.extend(lines(&file.name(), &store, &chain));
            }
        }
    }
    Ok(faults)
}

fn check(database: &mut Database, store: &Store) -> Result<Chain, Error> {
    let mut chain = Chain::default();
    let walked = match store.events() {
        Ok(events) => walk(database, store, events, &mut chain),
        Err(problem) => {
            chain.fault(None, Problem::Table(problem));
            Ok(())
        }
    };
    match walked {
        Err(error) if error.is_corrupt() => {
            chain.fault(None, Problem::Damaged(error.to_string()));
            Ok(chain)
        }
        walked => walked.map(|()| chain),
    }
}

fn walk(database: &mut Database, store: &Store, events: &Events, chain: &mut Chain) -> Result<(), Error> {
    let mut after = events.start();
    // As far as it is now: one might never catch up with a busy server.
    let head = database.read(|connection| rows::head(connection, events))?;
    while head.is_some_and(|head| after < head) {
        let Some(page) = database.read(|connection| rows::page(connection, events, after, Filter::default()))? else {
            break;
        };
        after = page.end;
        page.rows.iter().for_each(|row| chain.event(row));
    }
    if let (Some(recorded), Events::Table(table)) = (store.gaps, events) {
        let read = database.read(|connection| numbers(connection, store, table, after))?;
        // A server may have stored more by now, and recorded it.
        let numbers = read.unwrap_or(Numbers { gaps: recorded, head: chain.head(), events_more: 0 });
        let events = i64::try_from(chain.events).unwrap_or(i64::MAX).saturating_add(numbers.events_more);
        chain.gaps(numbers.gaps, numbers.head.saturating_sub(events).max(0));
    }
    Ok(())
}

/// What one look at the registry and its table finds.
struct Numbers {
    gaps: i64,
    head: i64,
    /// Events after those that were checked.
    events_more: i64,
}

/// In one statement, so that a commit between does not matter. `None` if the store's row is gone.
fn numbers(
    connection: &Connection,
    store: &Store,
    table: &Identifier,
    after: i64,
) -> rusqlite::Result<Option<Numbers>> {
    let sql = format!(
        r#"SELECT gaps, (SELECT COALESCE(MAX("seqNum"), 0) FROM {table}), (SELECT COUNT(*) FROM {table} WHERE "seqNum" > ?2)
           FROM livestore_stores WHERE store_id = ?1"#
    );
    let numbers =
        |row: &rusqlite::Row<'_>| Ok(Numbers { gaps: row.get(0)?, head: row.get(1)?, events_more: row.get(2)? });
    connection.prepare_cached(&sql)?.query_row(params![store.id, after], numbers).optional()
}

fn line(file: &File, store: &Store, chain: &Chain) -> String {
    let fault = |Fault { seq_num, problem }: &Fault| FaultLine {
        seq_num: *seq_num,
        fault: problem.code(),
        text: problem.to_string(),
    };
    json::to_line(&Line {
        store: &store.id,
        table: &store.table,
        ok: chain.is_whole(),
        events: chain.events,
        head: chain.head(),
        faults: chain.faults.iter().map(fault).collect(),
        faults_more: chain.faults_more,
        file: &file.name(),
        kind: file.kind.as_str(),
    })
}

fn lines(file: &str, store: &Store, chain: &Chain) -> Vec<String> {
    let id = &store.id;
    let verdicts = if chain.is_whole() {
        let events = if chain.events == 1 { "event" } else { "events" };
        vec![format!("OK     {id}: {} {events}, head {}", chain.events, chain.head())]
    } else {
        let more = (chain.faults_more > 0).then(|| format!("FAULT  {id}: {} more faults", chain.faults_more));
        let fault = |Fault { seq_num, problem }: &Fault| match seq_num {
            Some(seq_num) => format!("FAULT  {id}: event {seq_num}: {problem}"),
            None => format!("FAULT  {id}: {problem}"),
        };
        chain.faults.iter().map(fault).chain(more).collect()
    };
    verdicts.into_iter().map(|verdict| text::safe(&format!("{verdict} ({file})"))).collect()
}
