//! Laws that hold for all messages, rows and bytes.

#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod chunks;
mod hostile;
mod messages;
mod msgpack;
mod round_trips;
mod values;
