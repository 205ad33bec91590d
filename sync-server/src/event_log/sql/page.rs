//! Pages that SQLite renders and that end by size. Used by the logs of Workers; pure.
//!
//! A page is at most about 1 MB, D1's limit for a result, and a Worker has 128 MB for everything. So a page has
//! to be cut before it leaves SQLite, by the sizes of its events, which only SQLite knows.

use livestore_sync_protocol::limits::{CHUNK_BYTES_GOOD, CHUNK_BYTES_MAX, CHUNK_ENVELOPE_BYTES_MAX, CHUNK_EVENTS_MAX};
use livestore_sync_protocol::{Chunk, ItemFormat, SeqNum};

use super::COLUMNS;
use crate::event_log::chain::{Break, Chain};
use crate::table_name::Identifier;

/// Estimated size of a page, so that it is one chunk at least and below D1's limit for a result of
/// about 1 MB. An event that is larger is a page of its own.
const PAGE_BYTES_MAX: usize = CHUNK_BYTES_MAX - CHUNK_ENVELOPE_BYTES_MAX;

/// As in every chunk.
const ITEMS_BYTES_MAX: usize = CHUNK_BYTES_GOOD - CHUNK_ENVELOPE_BYTES_MAX;

/// What an item has beside its texts: member names, numbers, punctuation. In bytes.
const ITEM_BYTES: usize = 240;

/// Two common table expressions for the events of a range. `sizes`: number and estimated bytes of each.
/// `span`, one row: how many events were looked at, their bytes, and the number of the last one that fits into a
/// page; the first always fits.
///
/// - Only sizes are read of events that are left for the next page: `octet_length` takes the length from the
///   row's header and does not load the text. With `length(...)`, or with the items themselves, a page would
///   read its successors from disk, too, and pay for them.
/// - A text is counted six times over, except for `args`: a control character becomes `\u0000`. A smaller
///   estimate would let a page exceed what D1 returns, and then that page could never be read.
/// - The running sum costs as much as rendering does, so `CASE` leaves it out where all events fit, which is
///   nearly always.
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

/// A page in one row of four columns: the items as the wire wants them, separated by commas; the bytes, the
/// number and the parent of each item, for [`chunks`]; and, of all events that were looked at, how many and their
/// bytes, for [`next_limit`]. Binds the cursor and how many events to look at.
///
/// One row, because each value that crosses from JavaScript into wasm costs more than SQLite takes to render
/// it. `args` are put in as they were stored, byte for byte.
pub(crate) fn rendered(table: &Identifier, format: ItemFormat) -> String {
    let metadata = match format {
        ItemFormat::V03 => "",
        ItemFormat::Rpc => r#""_tag":"SyncMessage.SyncMetadata","#,
    };
    let span = span(table, r#""seqNum" > ?1 ORDER BY "seqNum" LIMIT ?2"#);
    format!(
        r#"{span}
SELECT COALESCE(group_concat(item, ','), ''), COALESCE(group_concat(octet_length(item) || ' ' || n || ' ' || parent, ' '), ''),
  (SELECT looked FROM span), (SELECT bytes FROM span)
FROM (
  SELECT "seqNum" AS n, "parentSeqNum" AS parent,
    '{{"eventEncoded":{{"name":' || json_quote("name") || ',"args":' || COALESCE("args", 'null')
    || ',"seqNum":' || "seqNum" || ',"parentSeqNum":' || "parentSeqNum"
    || ',"clientId":' || json_quote("clientId") || ',"sessionId":' || json_quote("sessionId")
    || '}},"metadata":{{"_tag":"Some","value":{{{metadata}"createdAt":' || json_quote("createdAt") || '}}}}}}' AS item
  FROM {table} WHERE "seqNum" > ?1 AND "seqNum" <= (SELECT last FROM span) ORDER BY "seqNum"
)"#
    )
}

/// What a page holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) chunks: Vec<Chunk>,
    /// Where its events do not follow each other: the worst place.
    pub(crate) broken: Option<Break>,
}

/// Cuts the items of a page, its first column, where the second says that each ends, and looks whether they are one
/// chain above the cursor. `None` if the two columns do not fit together.
pub(crate) fn chunks(after: SeqNum, items: &str, index: &str) -> Option<Rendered> {
    let mut numbers = index.split_ascii_whitespace().map(|number| number.parse::<i64>().ok());
    let (mut chain, mut rendered) = (Chain::above(after), Rendered::default());
    let chunks = &mut rendered.chunks;
    let (mut from, mut end) = (0, 0);
    while let Some(bytes) = numbers.next() {
        let bytes = usize::try_from(bytes?).ok()?;
        let mut seq_num = || SeqNum::new(numbers.next()??).ok();
        let (number, parent) = (seq_num()?, seq_num()?);
        if let Err(broken) = chain.next(number, parent) {
            // A hole may be one that the reference left; anything else is worse.
            rendered.broken = rendered.broken.filter(|found| !found.may_be_a_hole()).or(Some(broken));
        }
        let fits = |chunk: &&mut Chunk| chunk.events < CHUNK_EVENTS_MAX && end + 1 + bytes - from <= ITEMS_BYTES_MAX;
        match chunks.last_mut().filter(fits) {
            Some(chunk) => {
                chunk.events += 1;
                chunk.last = number;
                end += 1 + bytes;
            }
            None => {
                if let Some(chunk) = chunks.last_mut() {
                    chunk.items = items.get(from..end)?.into();
                    // The comma between the two.
                    from = end + 1;
                }
                chunks.push(Chunk { items: "".into(), events: 1, first: number, last: number });
                end = from + bytes;
            }
        }
    }
    if let Some(chunk) = chunks.last_mut() {
        chunk.items = items.get(from..end)?.into();
    }
    (end == items.len()).then_some(rendered)
}

/// How many events the next page looks at, after one that looked at `looked` of at most `limit`, which
/// have `bytes`, and took `taken`: where events are large, looking at many costs more than it yields.
pub(crate) fn next_limit(limit: u32, looked: u32, bytes: usize, taken: u32, max: u32) -> u32 {
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

/// The columns of events as far as they fit into a page, each with how many events are in the range. Binds the
/// cursor, the last number and a limit.
pub(crate) fn columns(table: &Identifier) -> String {
    let span = span(table, r#""seqNum" > ?1 AND "seqNum" <= ?2 ORDER BY "seqNum" LIMIT ?3"#);
    format!(
        r#"{span} SELECT {COLUMNS}, (SELECT looked FROM span) FROM {table} WHERE "seqNum" > ?1 AND "seqNum" <= (SELECT last FROM span) ORDER BY "seqNum""#
    )
}
