//! Events as they lie in a table, read in pages: nobody waits for one long read. Rows are read in the order of a
//! key, which is how a table has them, whatever numbers the events have.

use livestore_sync_server::table_name::Identifier;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};

/// Where a store's events lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Events {
    /// In a table of their own, whose key is the event's number.
    Table(Identifier),
    /// In the table of all stores of a native server, under this number: its key has it in its upper half, and the
    /// event's position in the lower.
    Part(i64),
}

impl Events {
    /// The table.
    pub(super) fn table(&self) -> String {
        match self {
            Self::Table(table) => table.to_string(),
            Self::Part(_) => "events".into(),
        }
    }

    /// The key, as SQL.
    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Table(_) => r#""seqNum""#,
            Self::Part(_) => "id",
        }
    }

    /// Between which keys the events are. Statements have one bound on either side, and no more: SQLite begins and
    /// ends where one of them says, and looks at all that is between.
    fn bounds(&self) -> (i64, i64) {
        match self {
            Self::Table(_) => (START, i64::MAX),
            Self::Part(number) => (number << 32, (number << 32) + i64::from(u32::MAX)),
        }
    }

    /// Before all of them.
    pub(super) fn start(&self) -> i64 {
        self.bounds().0
    }

    /// After which key events after a number are, as far as that is known without looking.
    pub(super) fn after(&self, since: i64) -> i64 {
        match self {
            Self::Table(_) => since,
            Self::Part(_) => self.start(),
        }
    }
}

/// Which events are shown.
#[derive(Clone, Copy, Default)]
pub(super) struct Filter<'a> {
    /// Only those after this number.
    pub(super) since: Option<i64>,
    /// Only those with such a name.
    pub(super) name: Option<&'a str>,
}

/// Events of one page.
const PAGE_EVENTS: u32 = 256;
/// A page ends with the event that exceeds this.
const PAGE_BYTES: usize = 1 << 20;

/// Before all keys, broken ones included.
const START: i64 = i64::MIN;

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
    /// The key after which the next page begins.
    pub(super) end: i64,
}

/// The key of the last of at most `rows` events after a key.
pub(super) fn window(connection: &Connection, events: &Events, after: i64, rows: u32) -> rusqlite::Result<Option<i64>> {
    let (table, key) = (events.table(), events.key());
    let sql = format!(
        "SELECT MAX(key) FROM (SELECT {key} AS key FROM {table} WHERE {key} > ?1 AND {key} <= ?2 ORDER BY {key} LIMIT ?3)"
    );
    connection.prepare_cached(&sql)?.query_row(params![after, events.bounds().1, rows], |row| row.get(0))
}

/// The next events after a key; `None` if there are none.
pub(super) fn page(
    connection: &Connection,
    events: &Events,
    after: i64,
    filter: Filter<'_>,
) -> rusqlite::Result<Option<Page>> {
    let Some(end) = window(connection, events, after, PAGE_EVENTS)? else { return Ok(None) };
    let (table, key) = (events.table(), events.key());
    let sql = format!(
        r#"SELECT "seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId", {key} FROM {table}
           WHERE {key} > ?1 AND {key} <= ?2 AND (?3 IS NULL OR "name" GLOB ?3) AND (?4 IS NULL OR "seqNum" > ?4)
           ORDER BY {key}"#
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params![after, end, filter.name, filter.since])?;
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(found) = found.next()? {
        let row = Row::read(found)?;
        bytes += row.bytes();
        let end = found.get(7)?;
        rows.push(row);
        if bytes >= PAGE_BYTES {
            return Ok(Some(Page { rows, end }));
        }
    }
    Ok(Some(Page { rows, end }))
}

/// After which key the last `count` events are.
pub(super) fn before_last(
    connection: &Connection,
    events: &Events,
    count: u32,
    name: Option<&str>,
) -> rusqlite::Result<i64> {
    // The event before them; without one they are all.
    let (table, key) = (events.table(), events.key());
    let sql = format!(
        r#"SELECT {key} FROM {table} WHERE {key} > ?3 AND {key} <= ?4 AND (?1 IS NULL OR "name" GLOB ?1)
           ORDER BY {key} DESC LIMIT 1 OFFSET ?2"#
    );
    let (start, end) = events.bounds();
    let before = connection.prepare_cached(&sql)?.query_row(params![name, count, start, end], |row| row.get(0));
    Ok(before.optional()?.unwrap_or(start))
}

/// The highest key.
pub(super) fn head(connection: &Connection, events: &Events) -> rusqlite::Result<Option<i64>> {
    let (table, key) = (events.table(), events.key());
    let sql = format!("SELECT MAX({key}) FROM {table} WHERE {key} > ?1 AND {key} <= ?2");
    connection.prepare_cached(&sql)?.query_row(events.bounds(), |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::super::choose::event_table;
    use super::*;

    fn table() -> Events {
        Events::Table(event_table("eventlog_7_a").expect("a name"))
    }

    /// Events with these numbers, every second one called `odd`.
    fn connection(events: impl Iterator<Item = i64>, args: &str) -> Connection {
        let connection = Connection::open_in_memory().expect("opens");
        connection
            .execute_batch(&format!(
                r#"CREATE TABLE {} ("seqNum" integer primary key, "parentSeqNum" integer not null, "name" text not null, "args" text, "createdAt" text not null, "clientId" text not null, "sessionId" text not null) strict"#,
                event_table("eventlog_7_a").expect("a name")
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
        let filter = Filter { name, ..Filter::default() };
        while let Some(page) = page(connection, &table(), after, filter).expect("reads") {
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
