//! Event logs of Workers: in D1, and in the SQLite that a Durable Object has of its own. Opened by the object; the
//! statements are those of `event_log::sql`.
//!
//! There is one log for both ([`WorkerLog`], `sql_log`) over a small trait `Database`, and two ways to run a
//! statement (`d1`, `object`). `opening` finds or registers the store's table, `remains` what the reference left
//! in the object, and `database_error`, which is pure and tested on the host, says what an error of either
//! database means. Nothing here knows requests, sockets or sessions.

#[cfg(target_family = "wasm")]
mod d1;
#[cfg(target_family = "wasm")]
mod database;
mod database_error;
#[cfg(target_family = "wasm")]
mod object;
#[cfg(target_family = "wasm")]
mod opening;
#[cfg(target_family = "wasm")]
mod remains;
#[cfg(target_family = "wasm")]
mod sql_log;

#[cfg(target_family = "wasm")]
pub use self::remains::ReferenceRemains;
#[cfg(target_family = "wasm")]
pub use self::sql_log::WorkerLog;
