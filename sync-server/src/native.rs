//! The server for tokio, with events in an embedded SQLite file.
//!
//! [`Server`] is a set of axum routes: serve it alone ([`Server::serve`]) or mount
//! [`Server::router`] in an app of your own.

mod http;
mod outbox;
mod saved_clients;
mod server;
mod socket;
mod stores;
mod tokio;

pub use self::server::{Builder, Limits, Server};
