//! The offline store: events committed on this machine, online or not, and kept in step with a sync backend.
//!
//! A [`LocalStore`] is one SQLite file. In it are the events that the backend has confirmed, those that are
//! pending, and the app's own tables, which [materialisers](Options::materialiser) make from the events.
//! [`commit`](LocalStore::commit) returns as soon as the events are on the disk; a task pushes what is
//! pending and keeps a live pull. When others were faster, the pending events are *rebased*: what they did
//! to the tables is undone, the others' events are applied, and the pending ones again after
//! them, with new numbers and in their order.
//!
//! ```
//! use livestore_sync_client::NewEvent;
//! use livestore_sync_client::local::{LocalStore, Options};
//! # use livestore_sync_client::ConnectionState;
//! # use livestore_sync_client::PushError;
//! # use livestore_sync_client::local::{Backend, PageStream, PushBatch};
//! # use tokio::sync::watch;
//! # struct Offline(watch::Sender<ConnectionState>);
//! # impl Backend for Offline {
//! #     async fn push(&self, _: PushBatch) -> Result<(), PushError> {
//! #         Err(PushError::Failed { message: "example".into() })
//! #     }
//! #     fn live_pull(&self, _: livestore_sync_protocol::Cursor) -> PageStream {
//! #         Box::pin(futures_util::stream::pending())
//! #     }
//! #     fn connection(&self) -> watch::Receiver<ConnectionState> {
//! #         self.0.subscribe()
//! #     }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (folder, backend) = (tempfile::tempdir()?, Offline(watch::Sender::default()));
//! # let path = folder.path().join("todos.db");
//! let options = Options::new()
//!     .tables(1, "CREATE TABLE todos (id TEXT PRIMARY KEY, text TEXT NOT NULL)")
//!     .materialiser("v1.TodoCreated", |tx, event| {
//!         tx.execute("INSERT INTO todos VALUES (?1 ->> 'id', ?1 ->> 'text')", [event.args.as_json()])?;
//!         Ok(())
//!     });
//! let store = LocalStore::open(&path, backend, options).await?;
//! store.commit([NewEvent::new("v1.TodoCreated", serde_json::json!({ "id": "t1", "text": "buy milk" }))?]).await?;
//!
//! let texts: Vec<String> = store
//!     .query(|tables| tables.prepare("SELECT text FROM todos")?.query_map([], |row| row.get(0))?.collect())
//!     .await?;
//! assert_eq!(texts, ["buy milk"]);
//! assert_eq!(store.status().pending, 1);
//! # Ok(())
//! # }
//! ```
//!
//! # What can be relied on
//!
//! - What `commit` has returned for survives the end of the process at any moment, and a loss of power.
//! - An event enters the backend's log once. A push whose answer was lost is recognised when the
//!   log brings it back: by client, session, name and arguments, in the order of commits. A session is the
//!   time that a file is open, so that a copy of a file never takes another's events for its own.
//! - The tables are always what the confirmed events and then the pending ones make of them.
//! - Nothing is given up unasked. A backend that was reset, refuses an event, or sends one that cannot be
//!   applied is [reported](Status::sync), and sync waits for the app; commits go on.
//! - A file has one store at a time. A second one, in any process, gets [`OpenError::InUse`].
//!
//! # How pending events are undone
//!
//! While a pending event is applied, temporary triggers write down the former values of each row that changes, into
//! tables of the store beside the app's. So an undo works after a restart, also for tables
//! without a primary key, and for what the app's triggers and foreign keys did. SQLite's own means do not serve:
//! savepoints end with the process, and the session extension ignores rows without a primary key and can be
//! built with `rusqlite` only where libclang is.
//!
//! Virtual tables (full-text search, say) have no triggers and are refused. All other tables, views, indexes and
//! triggers of any kind are fine; the counters of `AUTOINCREMENT` are put back as well.
//! `foreign_keys` and `recursive_triggers` are on.

mod backend;
mod change;
mod error;
mod event;
mod file;
mod merge;
mod options;
mod pusher;
mod reader;
mod remote;
mod status;
mod store;
mod sync;
mod writer;

pub use self::backend::{Backend, PageStream, PushBatch};
pub use self::change::{Change, Changes};
pub use self::error::{CommitError, DatabaseError, FlushError, MaterialiseError, OpenError, StoreError, TablesError};
pub use self::event::{PendingEvent, PendingId, ResetKeep};
pub use self::options::{BoxError, Options, UnknownEventFn, UnknownEvents};
pub use self::status::{Status, StopReason, SyncState};
pub use self::store::LocalStore;
/// The SQLite that materialisers and queries are given.
pub use rusqlite;
