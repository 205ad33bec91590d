//! `inspect events`, and how events are printed.

use super::args::EventsArgs;
use super::choose::Store;
use super::database::Database;
use super::error::Error;
use super::output::{self, Output, Style};
use super::rows::{self, Filter, Row};
use super::table::{Align, Table};
use super::{json, text};

/// Longer names of events are cut in tables.
const NAME_WIDTH_MAX: usize = 40;
/// Longer ids of clients and sessions are cut in tables.
const CLIENT_WIDTH_MAX: usize = 32;

pub(super) fn print(
    database: &mut Database,
    store: &Store,
    args: &EventsArgs,
    output: &mut Output,
) -> Result<(), Error> {
    let events = store.events().map_err(|problem| Error::NoTable { store: store.id.clone(), problem })?;
    let mut printer = Printer::new();
    let filter = Filter { since: args.since, name: args.name.as_deref() };
    let mut after = args.since.map_or_else(|| events.start(), |since| events.after(since));
    let mut room = if args.limit == 0 { u64::MAX } else { args.limit };
    // What is stored from now on is for `tail`: one might never catch up with a busy server.
    let head = database.read(|connection| rows::head(connection, events))?;
    while head.is_some_and(|head| after < head) {
        let page = database.read(|connection| rows::page(connection, events, after, filter))?;
        let Some(page) = page else { break };
        after = page.end;
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(page.rows.len());
        printer.print(&page.rows[..fits], output)?;
        room -= fits as u64;
        if let Some(last) = printer.last.filter(|_| fits < page.rows.len()) {
            output.flush()?;
            output::note(&format!("there are more: --since {last} for the next, --limit 0 for all"));
            break;
        }
    }
    printer.finish(output)
}

/// Prints events, page by page.
pub(super) struct Printer {
    table: Table,
    has_header: bool,
    last: Option<i64>,
}

impl Printer {
    pub(super) fn new() -> Self {
        let table = Table::default()
            .column("SEQ", Align::Right)
            .column("PARENT", Align::Right)
            .column("CREATED AT", Align::Left)
            .column_up_to("NAME", Align::Left, NAME_WIDTH_MAX)
            .column_up_to("CLIENT/SESSION", Align::Left, CLIENT_WIDTH_MAX)
            .column("ARGS", Align::Left);
        Self { table, has_header: false, last: None }
    }

    pub(super) fn print(&mut self, rows: &[Row], output: &mut Output) -> Result<(), Error> {
        self.last = rows.last().map(|row| row.seq_num).or(self.last);
        match output.style {
            Style::Json => rows.iter().try_for_each(|row| output.json(&json::event(row))),
            Style::Table => self.lines(rows, output.width).iter().try_for_each(|line| output.line(line)),
        }
    }

    /// A table without rows has its header nonetheless.
    pub(super) fn finish(&mut self, output: &mut Output) -> Result<(), Error> {
        if output.style == Style::Table && !self.has_header {
            output.line(&self.table.header())?;
        }
        Ok(())
    }

    fn lines(&mut self, rows: &[Row], width: Option<usize>) -> Vec<String> {
        if rows.is_empty() {
            return Vec::new();
        }
        let cells: Vec<[String; 6]> = rows.iter().map(cells).collect();
        let cells: Vec<_> = cells.iter().map(|cells| cells.each_ref().map(String::as_str)).collect();
        let mut lines = self.table.rows(&cells, width);
        if !std::mem::replace(&mut self.has_header, true) {
            lines.insert(0, self.table.header());
        }
        lines
    }
}

fn cells(row: &Row) -> [String; 6] {
    let args = row.args.as_deref().unwrap_or_default();
    let args = match json::args_error(row) {
        Some(error) => format!("! {error}: {args}"),
        None => text::one_line(args).into_owned(),
    };
    [
        row.seq_num.to_string(),
        row.parent_seq_num.to_string(),
        row.created_at.clone(),
        row.name.clone(),
        format!("{}/{}", row.client_id, row.session_id),
        args,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq_num: i64, args: Option<&str>) -> Row {
        Row {
            seq_num,
            parent_seq_num: seq_num - 1,
            name: "todo\u{1b}Created".into(),
            args: args.map(Into::into),
            created_at: "2026-11-21T00:14:31.259Z".into(),
            client_id: "client".into(),
            session_id: "session".into(),
            lossy: Vec::new(),
        }
    }

    #[test]
    fn events_are_rows() {
        let mut printer = Printer::new();
        assert!(printer.lines(&[], None).is_empty());
        assert_eq!(
            printer.lines(&[row(1, Some("{\n\"a\":1}")), row(2, None), row(3, Some("{"))], None),
            [
                "SEQ  PARENT  CREATED AT                NAME               CLIENT/SESSION  ARGS",
                "  1       0  2026-11-21T00:14:31.259Z  todo\\u{1b}Created  client/session  { \"a\":1}",
                "  2       1  2026-11-21T00:14:31.259Z  todo\\u{1b}Created  client/session",
                "  3       2  2026-11-21T00:14:31.259Z  todo\\u{1b}Created  client/session  \
                 ! EOF while parsing an object at line 1 column 1: {",
            ]
        );
        assert_eq!(printer.lines(&[row(4, None)], None).len(), 1, "the header is there already");
        let line = printer.lines(&[row(5, Some(&"x".repeat(200)))], Some(100)).remove(0);
        assert_eq!(line.chars().count(), 100);
    }
}
