//! Laws that hold for all messages, rows and bytes.

#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod chunks;
mod hostile;
mod messages;
mod round_trips;
mod values;
