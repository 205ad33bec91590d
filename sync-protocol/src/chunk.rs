//! Chunks: as many events as one response may carry, rendered once for the wire. Event logs build them, sessions put
//! an envelope round each.

use std::sync::Arc;

use crate::SeqNum;
use crate::limits::{CHUNK_BYTES_GOOD, CHUNK_ENVELOPE_BYTES_MAX, CHUNK_EVENTS_MAX};

/// The two spellings of an event's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemFormat {
    /// 0.3: `{"createdAt":…}`.
    V03,
    /// 0.4 and next: `{"_tag":"SyncMessage.SyncMetadata","createdAt":…}`.
    Rpc,
}

/// An event and its metadata as event logs store them.
#[derive(Clone, Copy, Debug)]
pub struct EventRow<'a> {
    /// See [`crate::Event::name`].
    pub name: &'a str,
    /// JSON text; `None` is `null`.
    pub args: Option<&'a str>,
    /// See [`crate::Event::seq_num`].
    pub seq_num: SeqNum,
    /// See [`crate::Event::parent_seq_num`].
    pub parent_seq_num: SeqNum,
    /// See [`crate::Event::client_id`].
    pub client_id: &'a str,
    /// See [`crate::Event::session_id`].
    pub session_id: &'a str,
    /// See [`crate::PulledEvent::created_at`].
    pub created_at: &'a str,
}

impl<'a> EventRow<'a> {
    /// The row that an event becomes.
    #[must_use]
    pub fn new(event: &'a crate::Event, created_at: &'a str) -> Self {
        Self {
            name: &event.name,
            args: event.args.as_stored(),
            seq_num: event.seq_num,
            parent_seq_num: event.parent_seq_num,
            client_id: &event.client_id,
            session_id: &event.session_id,
            created_at,
        }
    }

    /// Appends the item of a pull response's `batch`: `{"eventEncoded":{…},"metadata":{…}}`.
    pub fn render(&self, format: ItemFormat, out: &mut String) {
        out.push_str(r#"{"eventEncoded":"#);
        self.render_event(out);
        out.push_str(match format {
            ItemFormat::V03 => r#","metadata":{"_tag":"Some","value":{"createdAt":"#,
            ItemFormat::Rpc => r#","metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":"#,
        });
        push_json_string(out, self.created_at);
        out.push_str("}}}");
    }

    /// Appends the event alone, in the reference's member order.
    pub fn render_event(&self, out: &mut String) {
        out.push_str(r#"{"name":"#);
        push_json_string(out, self.name);
        out.push_str(r#","args":"#);
        out.push_str(self.args.unwrap_or("null"));
        out.push_str(r#","seqNum":"#);
        out.push_str(itoa::Buffer::new().format(self.seq_num.get()));
        out.push_str(r#","parentSeqNum":"#);
        out.push_str(itoa::Buffer::new().format(self.parent_seq_num.get()));
        out.push_str(r#","clientId":"#);
        push_json_string(out, self.client_id);
        out.push_str(r#","sessionId":"#);
        push_json_string(out, self.session_id);
        out.push('}');
    }
}

/// Appends `text` as a JSON string.
pub(crate) fn push_json_string(out: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(&serde_json::to_string(text).expect("a string always has a JSON form"));
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

/// Events rendered for the wire, ready to be wrapped for each receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The items of `batch`, comma-separated, without the brackets.
    pub items: Arc<str>,
    /// How many items.
    pub events: usize,
    /// The first event in it.
    pub first: SeqNum,
    /// The last event in it.
    pub last: SeqNum,
}

/// What stands around the events of a chunk in one receiver's frame. The events in between may be shared by many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Before them.
    pub head: String,
    /// Behind them.
    pub tail: String,
}

impl Envelope {
    /// The whole frame; without a chunk, that of an empty batch.
    #[must_use]
    pub fn around(self, chunk: Option<&Chunk>) -> String {
        let Self { head, tail } = self;
        let items = chunk.map_or("", |chunk| &*chunk.items);
        let mut frame = head;
        frame.reserve_exact(items.len() + tail.len());
        frame.push_str(items);
        frame.push_str(&tail);
        frame
    }
}

/// Cuts rows into chunks of at most [`CHUNK_EVENTS_MAX`] events and [`CHUNK_BYTES_GOOD`] bytes, in
/// one pass. An event that is larger on its own gets a chunk of its own.
///
/// ```
/// use livestore_sync_protocol::{ChunkBuilder, EventRow, ItemFormat, SeqNum};
///
/// let mut chunks = ChunkBuilder::new(ItemFormat::V03);
/// for n in 1..=101 {
///     chunks.push(&EventRow {
///         name: "added",
///         args: Some("[1]"),
///         seq_num: SeqNum::new(n)?,
///         parent_seq_num: SeqNum::new(n - 1)?,
///         client_id: "client",
///         session_id: "session",
///         created_at: "2026-11-21T00:14:31.259Z",
///     });
/// }
/// let events: Vec<_> = chunks.finish().iter().map(|chunk| chunk.events).collect();
/// assert_eq!(events, [100, 1]);
/// # Ok::<(), livestore_sync_protocol::InvalidSeqNum>(())
/// ```
#[derive(Debug)]
pub struct ChunkBuilder {
    format: ItemFormat,
    done: Vec<Chunk>,
    current: Option<Open>,
    item: String,
    bytes: usize,
}

/// A chunk that is not full yet.
#[derive(Debug)]
struct Open {
    items: String,
    events: usize,
    first: SeqNum,
    last: SeqNum,
}

impl From<Open> for Chunk {
    fn from(Open { items, events, first, last }: Open) -> Self {
        Self { items: items.into(), events, first, last }
    }
}

const ITEMS_BYTES_MAX: usize = CHUNK_BYTES_GOOD - CHUNK_ENVELOPE_BYTES_MAX;

impl ChunkBuilder {
    /// A builder without rows.
    #[must_use]
    pub fn new(format: ItemFormat) -> Self {
        Self { format, done: Vec::new(), current: None, item: String::new(), bytes: 0 }
    }

    /// Adds the next row.
    pub fn push(&mut self, row: &EventRow<'_>) {
        self.item.clear();
        row.render(self.format, &mut self.item);
        self.bytes += self.item.len();
        if let Some(chunk) = &mut self.current
            && chunk.events < CHUNK_EVENTS_MAX
            && chunk.items.len() + 1 + self.item.len() <= ITEMS_BYTES_MAX
        {
            chunk.items.push(',');
            chunk.items.push_str(&self.item);
            chunk.events += 1;
            chunk.last = row.seq_num;
            return;
        }
        let next = Open { items: self.item.clone(), events: 1, first: row.seq_num, last: row.seq_num };
        self.done.extend(self.current.replace(next).map(Chunk::from));
    }

    /// Bytes of all items rendered so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The chunks, in order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Chunk> {
        self.done.extend(self.current.map(Chunk::from));
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64, args: &str) -> EventRow<'_> {
        EventRow {
            name: "n",
            args: Some(args),
            seq_num: SeqNum::new(seq).expect("safe"),
            parent_seq_num: SeqNum::new(seq - 1).expect("safe"),
            client_id: "c",
            session_id: "s",
            created_at: "2026-11-21T00:14:31.259Z",
        }
    }

    fn chunks(rows: &[EventRow<'_>]) -> Vec<(usize, i64)> {
        let mut builder = ChunkBuilder::new(ItemFormat::Rpc);
        rows.iter().for_each(|row| builder.push(row));
        builder.finish().iter().map(|chunk| (chunk.events, chunk.last.get())).collect()
    }

    #[test]
    fn cuts_by_count() {
        let rows: Vec<_> = (1..=201).map(|seq| row(seq, "1")).collect();
        assert_eq!(chunks(&rows[..100]), [(100, 100)]);
        assert_eq!(chunks(&rows), [(100, 100), (100, 200), (1, 201)]);
        assert_eq!(chunks(&[]), []);
    }

    #[test]
    fn cuts_by_bytes_at_the_exact_byte() {
        let mut frame = String::new();
        row(1, "").render(ItemFormat::Rpc, &mut frame);
        let fits = "1".repeat(ITEMS_BYTES_MAX - 1 - 2 * frame.len());
        assert_eq!(chunks(&[row(1, ""), row(2, &fits)]), [(2, 2)]);
        let over = "1".repeat(fits.len() + 1);
        assert_eq!(chunks(&[row(1, ""), row(2, &over)]), [(1, 1), (1, 2)]);
    }

    #[test]
    fn an_oversize_event_travels_alone() {
        let large = "1".repeat(CHUNK_BYTES_GOOD);
        assert_eq!(chunks(&[row(1, "1"), row(2, &large), row(3, "1")]), [(1, 1), (1, 2), (1, 3)]);
    }

    #[test]
    fn the_reserve_covers_the_largest_envelope() {
        let page_info = crate::PageInfo::MoreKnown { remaining: u64::MAX };
        let frame = crate::rpc::encode_chunk(&crate::RequestId::Number(0), None, page_info, &"x".repeat(21));
        let (_, response) = frame.split_once(r#""values":["#).expect("a chunk");
        let envelope = response.len() - "]}".len();
        assert!(envelope <= CHUNK_ENVELOPE_BYTES_MAX, "{envelope}");
    }
}
