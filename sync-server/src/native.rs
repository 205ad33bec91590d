//! The server for tokio, with events in an embedded SQLite file.
//!
//! [`Server`] is a set of axum routes: serve it alone ([`Server::serve`]) or mount
//! [`Server::router`] in an app of your own.
//!
//! ```
//! use livestore_sync_server::native::Server;
//! use livestore_sync_server::{HookError, HookFns, Limits};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let data = tempfile::tempdir()?;
//! # let data = data.path();
//! let hooks = HookFns::new().on_push(async |push, _context| {
//!     let reserved = push.batch.iter().any(|event| event.name.starts_with("admin."));
//!     if reserved { Err(HookError::new("only for administrators")) } else { Ok(()) }
//! });
//! let server = Server::builder(data)
//!     .hooks(hooks)
//!     .limits(Limits::native().with_connections_max(500))
//!     .enable_cors(true)
//!     .build()?;
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! # let shutdown = std::future::ready(());
//! server.serve(listener, shutdown).await?;
//! # Ok(())
//! # }
//! ```

mod accept;
mod connection;
mod deflate;
mod frames;
mod http;
mod memory;
mod options;
mod outbox;
mod places;
mod saved_clients;
mod server;
mod socket;
mod stores;
#[cfg(test)]
mod testing;
mod tokio;
mod watched;
mod writer;

pub use self::options::Builder;
pub use self::server::Server;
