//! Events as they lie in a table, read in pages: nobody waits for one long read.

use livestore_sync_server::table_name::Identifier;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

/// Events of one page.
const PAGE_EVENTS: u32 = 256;
/// A page ends with the event that exceeds this.
const PAGE_BYTES: usize = 1 << 20;

/// Before all events, broken ones included.
pub(super) const START: i64 = i64::MIN;

/// One event, whatever is in its columns.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) seq_num: i64,
    pub(super) parent_seq_num: i64,
    pub(super) name: String,
    pub(super) args: Option<String>,
    pub(super) created_at: String,
    pub(super) client_id: String,
    pub(super) session_id: String,
    /// Columns that are not UTF-8; what was not is `U+FFFD` here.
    pub(super) lossy: Vec<&'static str>,
}

impl Row {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let mut lossy = Vec::new();
        let mut text = |index: usize, column: &'static str| -> rusqlite::Result<Option<String>> {
            Ok(match row.get_ref(index)? {
                ValueRef::Null => None,
                ValueRef::Integer(number) => Some(number.to_string()),
                ValueRef::Real(number) => Some(number.to_string()),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    let text = String::from_utf8_lossy(bytes);
                    if matches!(text, std::borrow::Cow::Owned(_)) {
                        lossy.push(column);
                    }
                    Some(text.into_owned())
                }
            })
        };
        Ok(Self {
            seq_num: row.get(0)?,
            parent_seq_num: row.get(1)?,
            name: text(2, "name")?.unwrap_or_default(),
            args: text(3, "args")?,
            created_at: text(4, "createdAt")?.unwrap_or_default(),
            client_id: text(5, "clientId")?.unwrap_or_default(),
            session_id: text(6, "sessionId")?.unwrap_or_default(),
            lossy,
        })
    }

    fn bytes(&self) -> usize {
        self.name.len() + self.args.as_ref().map_or(0, String::len)
    }
}

/// Events in a row, of which a filter may have left few.
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// Where the next page begins.
    pub(super) end: i64,
}

/// The last of at most `rows` events after a sequence number.
pub(super) fn window(
    connection: &Connection,
    table: &Identifier,
    after: i64,
    rows: u32,
) -> rusqlite::Result<Option<i64>> {
    let sql = format!(
        r#"SELECT MAX("seqNum") FROM (SELECT "seqNum" FROM {table} WHERE "seqNum" > ?1 ORDER BY "seqNum" LIMIT ?2)"#
    );
    connection.prepare_cached(&sql)?.query_row(params![after, rows], |row| row.get(0))
}

/// The next events after a sequence number; `None` if there are none.
pub(super) fn page(
    connection: &Connection,
    table: &Identifier,
    after: i64,
    name: Option<&str>,
) -> rusqlite::Result<Option<Page>> {
    let Some(end) = window(connection, table, after, PAGE_EVENTS)? else { return Ok(None) };
    let sql = format!(
        r#"SELECT "seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId" FROM {table}
           WHERE "seqNum" > ?1 AND "seqNum" <= ?2 AND (?3 IS NULL OR "name" GLOB ?3) ORDER BY "seqNum""#
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![after, end, name])?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let row = Row::read(row)?;
        bytes += row.bytes();
        let end = row.seq_num;
        rows.push(row);
        if bytes >= PAGE_BYTES {
            return Ok(Some(Page { rows, end }));
        }
    }
    Ok(Some(Page { rows, end }))
}

/// After which sequence number the last `count` events are.
pub(super) fn before_last(
    connection: &Connection,
    table: &Identifier,
    count: u32,
    name: Option<&str>,
) -> rusqlite::Result<i64> {
    // The event before them; without one they are all.
    let sql = format!(
        r#"SELECT "seqNum" FROM {table} WHERE ?1 IS NULL OR "name" GLOB ?1 ORDER BY "seqNum" DESC LIMIT 1 OFFSET ?2"#
    );
    let before = connection.prepare_cached(&sql)?.query_row(params![name, count], |row| row.get(0)).optional()?;
    Ok(before.unwrap_or(START))
}

/// The highest sequence number.
pub(super) fn head(connection: &Connection, table: &Identifier) -> rusqlite::Result<Option<i64>> {
    let sql = format!(r#"SELECT MAX("seqNum") FROM {table}"#);
    connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::super::choose::event_table;
    use super::*;

    fn table() -> Identifier {
        event_table("eventlog_7_a").expect("a name")
    }

    /// Events with these numbers, every second one called `odd`.
    fn connection(events: impl Iterator<Item = i64>, args: &str) -> Connection {
        let connection = Connection::open_in_memory().expect("opens");
        connection
            .execute_batch(&format!(
                r#"CREATE TABLE {} ("seqNum" integer primary key, "parentSeqNum" integer not null, "name" text not null, "args" text, "createdAt" text not null, "clientId" text not null, "sessionId" text not null) strict"#,
                table()
            ))
            .expect("creates");
        for number in events {
            let name = if number % 2 == 0 { "even" } else { "odd" };
            connection
                .execute(
                    "INSERT INTO eventlog_7_a VALUES (?1, ?1 - 1, ?2, ?3, '', '', '')",
                    params![number, name, args],
                )
                .expect("inserts");
        }
        connection
    }

    fn pages(connection: &Connection, name: Option<&str>) -> Vec<Vec<i64>> {
        let (mut pages, mut after) = (Vec::new(), START);
        while let Some(page) = page(connection, &table(), after, name).expect("reads") {
            pages.push(page.rows.iter().map(|row| row.seq_num).collect());
            after = page.end;
        }
        pages
    }

    #[test]
    fn pages_hold_so_many_events() {
        let size = i64::from(PAGE_EVENTS);
        for (events, sizes) in
            [(0, vec![]), (size, vec![PAGE_EVENTS]), (size + 1, vec![PAGE_EVENTS, 1]), (2 * size, vec![PAGE_EVENTS; 2])]
        {
            let pages = pages(&connection(1..=events, ""), None);
            assert_eq!(pages.iter().map(|page| u32::try_from(page.len()).unwrap()).collect::<Vec<_>>(), sizes);
            assert_eq!(pages.concat(), (1..=events).collect::<Vec<_>>());
        }
    }

    #[test]
    fn pages_hold_so_many_bytes() {
        let args = |bytes: usize| "x".repeat(bytes - "odd".len());
        assert_eq!(pages(&connection([1].into_iter(), &args(PAGE_BYTES)), None), [[1]]);
        assert_eq!(pages(&connection([1, 3].into_iter(), &args(PAGE_BYTES)), None), [[1], [3]]);
        assert_eq!(pages(&connection([1, 3].into_iter(), &args(PAGE_BYTES - 1)), None), [[1, 3]]);
    }

    #[test]
    fn a_filter_skips_pages_but_ends() {
        let size = i64::from(PAGE_EVENTS);
        let connection = connection((1..=3 * size).map(|number| 2 * number).chain([9 * size + 1]), "");
        assert_eq!(pages(&connection, Some("od*")).concat(), [9 * size + 1]);
        assert_eq!(pages(&connection, Some("od*")).len(), 4);
        assert_eq!(pages(&connection, Some("even")).concat().len(), 3 * 256);
    }

    #[test]
    fn the_last_events_are_found_over_gaps() {
        let connection = connection([1, 2, 3, 10, 11].into_iter(), "");
        let before = |count, name| before_last(&connection, &table(), count, name).expect("reads");
        assert_eq!(before(0, None), 11);
        assert_eq!(before(2, None), 3);
        assert_eq!(before(4, None), 1);
        assert_eq!(before(5, None), START);
        assert_eq!(before(100, None), START);
        assert_eq!(before(1, Some("even")), 2);
    }
}
