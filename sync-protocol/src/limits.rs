//! The limits of the wire. Sizes are in bytes of UTF-8 JSON.

/// Events in one chunk of a pull or a broadcast, and in one push of a published client
/// (`MAX_PULL_EVENTS_PER_MESSAGE` and `MAX_PUSH_EVENTS_PER_REQUEST` of sync-cf 0.4.0).
pub const CHUNK_EVENTS_MAX: usize = 100;

/// Size of one pull response without its RPC envelope (`MAX_WS_MESSAGE_BYTES` of sync-cf 0.4.0).
/// A single event may exceed it, up to [`EVENT_BYTES_MAX`]; it then travels in a chunk of its own.
pub const CHUNK_BYTES_MAX: usize = 900_000;

/// A chunk of several events ends before it exceeds this. What is on its way to a client stands before whatever it
/// is sent next, the answer to its ping included, and over a slow link 900 kB take half a minute.
pub const CHUNK_BYTES_GOOD: usize = 100_000;

/// What a pull response holds beside its events: page info, backend id and punctuation.
pub const CHUNK_ENVELOPE_BYTES_MAX: usize = 256;

/// Size of one encoded event: what a row of D1 holds (2,000,000 bytes), with room for what is served around it. The 0.4
/// clients refuse a push whose payload is over 900,000 bytes, those of 0.3 send whatever they have; all of them take a
/// chunk of this size.
pub const EVENT_BYTES_MAX: usize = 1_900_000;

/// Events in one push. Published clients send at most [`CHUNK_EVENTS_MAX`].
pub const BATCH_EVENTS_MAX: usize = 5_000;

/// How far an event's number may lie above its parent's. Numbers may be left out (LiveStore's own tests push
/// 100 and 20,000 onto an empty log), but they end at 2^53 - 1: without a limit, one event there would be the
/// store's last. Stored logs that have larger gaps are served as they are.
pub const GAP_MAX: u64 = 1_000_000;

/// Messages in one RPC frame or body that is an array. Published clients send one.
pub const FRAME_MESSAGES_MAX: usize = 1_000;

/// Length of a store id. The longest that the reference was seen to accept had 3,000 characters.
pub const STORE_ID_BYTES_MAX: usize = 4_096;

/// Length of a request id on the wire. Published clients send decimal counters and 21-character ids.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Length of a log's id in a cursor, a push or a page. This project's and the reference's have 21 characters.
pub const BACKEND_ID_BYTES_MAX: usize = 256;

/// Length of what names a client that is a Durable Object: the binding of its namespace, and its id (64 hex digits).
pub const CALLER_BYTES_MAX: usize = 256;

/// Length of what an answer quotes of a message that is wrong. An answer may have to wait for its client, and
/// must not be as large as what it answers.
pub const QUOTE_BYTES_MAX: usize = 512;

/// Size of the connection payload (decoded JSON), which servers keep for as long as the connection.
pub const PAYLOAD_BYTES_MAX: usize = 8_192;
