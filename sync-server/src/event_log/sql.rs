//! The SQL of event logs. SQLite does what it can by itself, because a Worker reaches it through
//! JavaScript: it unpacks a commit from one JSON text, and renders pages as the wire wants them.

use crate::table_name::Identifier;

/// Makes the table of a store, as the reference does (`PERSISTENCE_FORMAT_VERSION` 7): one that it has
/// left is used as it stands.
pub(super) fn create_table(table: &Identifier) -> String {
    format!(
        r#"CREATE TABLE IF NOT EXISTS {table} ("seqNum" integer primary key, "parentSeqNum" integer not null, "name" text not null, "args" text, "createdAt" text not null, "clientId" text not null, "sessionId" text not null) strict"#
    )
}

#[cfg(any(test, all(feature = "worker", target_family = "wasm")))]
pub(super) use self::statements::*;

#[cfg(any(test, all(feature = "worker", target_family = "wasm")))]
mod statements {
    use std::fmt::Write as _;

    use livestore_sync_protocol::limits::{CHUNK_BYTES_MAX, CHUNK_ENVELOPE_BYTES_MAX, CHUNK_EVENTS_MAX};
    use livestore_sync_protocol::{Chunk, EventRow, ItemFormat, SeqNum};

    use crate::table_name::Identifier;

    /// Size of one text of events. D1 takes 2,000,000 bytes a value. An event always fits: it has at
    /// most `EVENT_BYTES_MAX`, 900,000 bytes, of which a JSON text in a JSON text makes at most twice as many.
    pub(in super::super) const DOCUMENT_BYTES_MAX: usize = 1_900_000;

    /// Estimated size of a page, so that it is one chunk at least and below D1's limit for a result of
    /// about 1 MB. An event that is larger is a page of its own.
    const PAGE_BYTES_MAX: usize = CHUNK_BYTES_MAX - CHUNK_ENVELOPE_BYTES_MAX;

    /// What an item has beside its texts: member names, numbers, punctuation.
    const ITEM_BYTES: usize = 240;

    /// The text by which [`guard`] fails.
    pub(in super::super) const HEAD_MOVED: &str = "the head moved";

    const COLUMNS: &str = r#""seqNum", "parentSeqNum", "name", "args", "createdAt", "clientId", "sessionId""#;

    fn last_number(table: &Identifier) -> String {
        format!(r#"(SELECT COALESCE(MAX("seqNum"), 0) FROM {table})"#)
    }

    /// The registration of a store: table and backend id. Binds the store id.
    pub(in super::super) const FIND_STORE: &str =
        "SELECT table_name, backend_id FROM livestore_stores WHERE store_id = ?1";

    /// Whether a name is taken. Binds the name.
    pub(in super::super) const FIND_TABLE: &str = "SELECT 1 FROM livestore_stores WHERE table_name = ?1";

    /// Records how many gaps a log has. Binds their number and the store id.
    pub(in super::super) const UPDATE_GAPS: &str = "UPDATE livestore_stores SET gaps = ?1 WHERE store_id = ?2";

    /// Registers a store with its table, unless somebody else was faster. Binds store id, table,
    /// backend id and time.
    pub(in super::super) fn register(table: &Identifier) -> String {
        format!(
            r#"INSERT OR IGNORE INTO livestore_stores (store_id, table_name, backend_id, created_at, gaps) SELECT ?1, ?2, ?3, ?4, MAX(0, COALESCE(MAX("seqNum"), 0) - COUNT(*)) FROM {table}"#
        )
    }

    /// A row if there are events.
    pub(in super::super) fn first(table: &Identifier) -> String {
        format!("SELECT 1 FROM {table} LIMIT 1")
    }

    /// Head and gaps. Binds the store id.
    pub(in super::super) fn head(table: &Identifier) -> String {
        format!("SELECT {}, gaps FROM livestore_stores WHERE store_id = ?1", last_number(table))
    }

    /// Appends a document of [`Documents`] and changes nothing where the head is not the expected one.
    /// Binds the document and that head.
    pub(in super::super) fn append(table: &Identifier) -> String {
        format!("{} WHERE {} = ?2", insert(table), last_number(table))
    }

    /// Appends a document. Binds it.
    pub(in super::super) fn insert(table: &Identifier) -> String {
        let values: Vec<_> = (0..7).map(|column| format!("value->>{column}")).collect();
        format!("INSERT INTO {table} ({COLUMNS}) SELECT {} FROM json_each(?1)", values.join(", "))
    }

    /// Fails, saying [`HEAD_MOVED`], where the head is not the expected one, which it binds: the first
    /// statement of a transaction. (The path depends on the data, so that it is not looked at before.)
    pub(in super::super) fn guard(table: &Identifier) -> String {
        format!("SELECT json_extract('{{}}', CASE WHEN {} = ?1 THEN '$' ELSE '{HEAD_MOVED}' END)", last_number(table))
    }

    /// `span`: where the page ends that begins a range, how many events were looked at, and their size. Only
    /// sizes are read of those that are left to the next page: `octet_length` does not load what it measures.
    /// A control character is six bytes. Running sums cost as much as rendering does, so they are only made
    /// where not all fit.
    fn span(table: &Identifier, range: &str) -> String {
        format!(
            r#"WITH sizes AS (
  SELECT "seqNum" AS n, {ITEM_BYTES} + COALESCE(octet_length("args"), 4) + 6 * (octet_length("name") + octet_length("createdAt") + octet_length("clientId") + octet_length("sessionId")) AS bytes
  FROM {table} WHERE {range}
), span AS (
  SELECT count(*) AS looked, COALESCE(sum(bytes), 0) AS bytes, CASE WHEN sum(bytes) <= {PAGE_BYTES_MAX} THEN max(n) ELSE COALESCE((
    SELECT max(n) FROM (SELECT n, sum(bytes) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) AS total FROM sizes)
    WHERE total <= {PAGE_BYTES_MAX}
  ), min(n)) END AS last FROM sizes
)"#
        )
    }

    /// A page in one row: items, the bytes and the number of each (see [`chunks`]), and, of all that was
    /// looked at, how many events and bytes. Binds the cursor and how many events to look at.
    pub(in super::super) fn page(table: &Identifier, format: ItemFormat) -> String {
        let metadata = match format {
            ItemFormat::V03 => "",
            ItemFormat::Rpc => r#""_tag":"SyncMessage.SyncMetadata","#,
        };
        let span = span(table, r#""seqNum" > ?1 ORDER BY "seqNum" LIMIT ?2"#);
        format!(
            r#"{span}
SELECT COALESCE(group_concat(item, ','), ''), COALESCE(group_concat(octet_length(item) || ' ' || n, ' '), ''),
  (SELECT looked FROM span), (SELECT bytes FROM span)
FROM (
  SELECT "seqNum" AS n,
    '{{"eventEncoded":{{"name":' || json_quote("name") || ',"args":' || COALESCE("args", 'null')
    || ',"seqNum":' || "seqNum" || ',"parentSeqNum":' || "parentSeqNum"
    || ',"clientId":' || json_quote("clientId") || ',"sessionId":' || json_quote("sessionId")
    || '}},"metadata":{{"_tag":"Some","value":{{{metadata}"createdAt":' || json_quote("createdAt") || '}}}}}}' AS item
  FROM {table} WHERE "seqNum" > ?1 AND "seqNum" <= (SELECT last FROM span) ORDER BY "seqNum"
)"#
        )
    }

    /// Cuts the items of a page where the index, its second column, says that they end.
    pub(in super::super) fn chunks(items: &str, index: &str) -> Option<Vec<Chunk>> {
        let mut numbers = index.split_ascii_whitespace().map(|number| number.parse::<i64>().ok());
        let mut chunks: Vec<Chunk> = Vec::new();
        let (mut from, mut end) = (0, 0);
        while let Some(bytes) = numbers.next() {
            let bytes = usize::try_from(bytes?).ok()?;
            let number = SeqNum::new(numbers.next()??).ok()?;
            match chunks.last_mut().filter(|chunk| chunk.events < CHUNK_EVENTS_MAX) {
                Some(chunk) => {
                    chunk.events += 1;
                    chunk.last = number;
                    end += 1 + bytes;
                }
                None => {
                    if let Some(chunk) = chunks.last_mut() {
                        items.get(from..end)?.clone_into(&mut chunk.items);
                        // The comma between the two.
                        from = end + 1;
                    }
                    chunks.push(Chunk { items: String::new(), events: 1, first: number, last: number });
                    end = from + bytes;
                }
            }
        }
        if let Some(chunk) = chunks.last_mut() {
            items.get(from..end)?.clone_into(&mut chunk.items);
        }
        (end == items.len()).then_some(chunks)
    }

    /// How many events the next page looks at, after one that looked at `looked` of at most `limit`, which
    /// have `bytes`, and took `taken`: where events are large, looking at many costs more than it yields.
    pub(in super::super) fn next_limit(limit: u32, looked: u32, bytes: usize, taken: u32, max: u32) -> u32 {
        let next = if taken < looked {
            taken
        } else if looked == limit && 2 * bytes <= PAGE_BYTES_MAX {
            2 * limit
        } else {
            limit
        };
        // Full chunks, where there is more than one.
        let whole = if next > CHUNK_EVENTS_MAX as u32 { next - next % CHUNK_EVENTS_MAX as u32 } else { next.max(8) };
        whole.min(max)
    }

    /// The columns of events, as many as make a page, and how many are in the range. Binds the cursor, the
    /// last number and a limit.
    pub(in super::super) fn events(table: &Identifier) -> String {
        let span = span(table, r#""seqNum" > ?1 AND "seqNum" <= ?2 ORDER BY "seqNum" LIMIT ?3"#);
        format!(
            r#"{span} SELECT {COLUMNS}, (SELECT looked FROM span) FROM {table} WHERE "seqNum" > ?1 AND "seqNum" <= (SELECT last FROM span) ORDER BY "seqNum""#
        )
    }

    /// Counts. Binds the cursor.
    pub(in super::super) fn count(table: &Identifier) -> String {
        format!(r#"SELECT COUNT(*) FROM {table} WHERE "seqNum" > ?1"#)
    }

    /// Events as JSON texts for [`insert`], each of at most [`DOCUMENT_BYTES_MAX`]: an array of rows,
    /// `args` in it as a string, so that its text is kept byte for byte.
    #[derive(Default)]
    pub(in super::super) struct Documents {
        done: Vec<String>,
        current: String,
        row: String,
    }

    impl Documents {
        pub(in super::super) fn push(&mut self, row: &EventRow<'_>) {
            self.row.clear();
            // Writing to a string does not fail.
            let _ = write!(self.row, "[{},{}", row.seq_num, row.parent_seq_num);
            for text in [Some(row.name), row.args, Some(row.created_at), Some(row.client_id), Some(row.session_id)] {
                self.row.push(',');
                match text {
                    Some(text) => self.row.push_str(&serde_json::to_string(text).expect("text has a JSON form")),
                    None => self.row.push_str("null"),
                }
            }
            self.row.push(']');
            if !self.current.is_empty() && self.current.len() + self.row.len() + 2 > DOCUMENT_BYTES_MAX {
                self.close();
            }
            self.current.push(if self.current.is_empty() { '[' } else { ',' });
            self.current.push_str(&self.row);
        }

        fn close(&mut self) {
            if !self.current.is_empty() {
                self.current.push(']');
                self.done.push(std::mem::take(&mut self.current));
            }
        }

        pub(in super::super) fn finish(mut self) -> Vec<String> {
            self.close();
            self.done
        }
    }
}

#[cfg(all(test, feature = "native"))]
mod tests;
