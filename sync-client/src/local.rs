//! The offline store.

mod backend;
mod change;
mod error;
mod event;
mod file;
mod id;
mod limits;
mod merge;
mod options;
mod pusher;
mod reader;
mod same;
mod status;
mod store;
mod sync;
mod writer;

pub use self::backend::{Backend, Connection, LivePull, Page, PullError, PushBatch, PushError};
pub use self::change::{Change, Changes};
pub use self::error::{CommitError, DatabaseError, FlushError, MaterialiseError, OpenError, StoreError, TablesError};
pub use self::event::{Keep, NewEvent, PendingEvent, PendingId};
pub use self::options::{BoxError, Options, UnknownEventFn, UnknownEvents};
pub use self::status::{Status, StopReason, SyncState};
pub use self::store::LocalStore;
