//! Messages of the DO-RPC transport: MessagePack as the npm package `msgpackr` writes it with
//! `useRecords`, which is what Effect's RPC serialization asks for.
//!
//! An object is a *record*: the first one of a shape defines it (extension `0x72`: an id and the
//! names of its members), those that follow are the id and the values. The published client reads
//! nothing else as an object: an ordinary MessagePack map becomes a JavaScript `Map` there.
//!
//! Everything else in this crate speaks JSON text, so this module converts between the two. Values
//! survive as JavaScript has them: what is encoded here and decoded by `msgpackr` is what `JSON.parse`
//! would have made of the text, and what `msgpackr` encodes becomes what `JSON.stringify` writes.
//!
//! ```
//! use livestore_sync_protocol::rpc::msgpack;
//!
//! let bytes = msgpack::from_json(r#"[{"n":1.5},{"n":100}]"#)?;
//! assert_eq!(bytes, b"\x92\xd4\x72\x40\x91\xa1n\xcb\x3f\xf8\0\0\0\0\0\0\x40\xcc\x64");
//! assert_eq!(msgpack::to_json(&bytes)?, r#"[{"n":1.5},{"n":100}]"#);
//! # Ok::<(), msgpack::MsgpackError>(())
//! ```

mod decode;
mod encode;

pub use decode::to_json;
pub use encode::from_json;

/// Values inside one another in a message that is read. Published messages have about ten levels,
/// and an event's args.
pub const DEPTH_MAX: usize = 256;

/// Size of a message as JSON. A record's names are sent once and used many times, so a small message
/// can become a large text. Calls between Durable Objects carry 32 MiB at most.
pub const JSON_BYTES_MAX: usize = 32 << 20;

/// Shapes that can be referred to at a time; later ones take the ids of the first again.
const RECORDS_MAX: usize = 64;

const FIRST_RECORD: u8 = 0x40;
const RECORD_EXTENSION: u8 = 0x72;

/// Why a message cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MsgpackError {
    /// The bytes end inside a value.
    #[error("the message ends inside a value")]
    Truncated,
    /// The value is complete, but there are more bytes.
    #[error("there are {0} bytes after the message")]
    Trailing(usize),
    /// See [`DEPTH_MAX`].
    #[error("a message may be {DEPTH_MAX} levels deep at most")]
    TooDeep,
    /// See [`JSON_BYTES_MAX`].
    #[error("a message may have {JSON_BYTES_MAX} bytes as JSON at most")]
    TooLarge,
    /// A value that JSON does not have (bytes, dates and other extensions), or none at all.
    #[error("there is no JSON for MessagePack's 0x{0:02x}")]
    Unsupported(u8),
    /// A member's name is no text.
    #[error("the name of a member is no text")]
    Name,
    /// Text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Text,
    /// The text is not JSON from this byte on.
    #[error("not JSON at byte {0}")]
    Json(usize),
}

#[cfg(test)]
mod tests;
