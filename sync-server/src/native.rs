//! The server for tokio, with events in an embedded SQLite file.
//!
//! [`Server`] is a set of axum routes: serve it alone ([`Server::serve`]) or mount
//! [`Server::router`] in an app of your own.

mod clients;
mod options;
mod outbox;
mod server;
mod socket;
mod stores;

pub use self::options::Builder;
pub use self::server::Server;
