//! How a store is opened: the app's tables, its functions, and settings.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use livestore_sync_protocol::Event;
use rusqlite::Transaction;

/// What an app's function may fail with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) type Materialiser = Box<dyn Fn(&Transaction<'_>, &Event) -> Result<(), BoxError> + Send>;

/// Called with events whose name has no materialiser.
pub type UnknownEventFn = Arc<dyn Fn(&Event) -> Result<(), BoxError> + Send + Sync>;

/// What happens to an event whose name has no materialiser, committed here or elsewhere. In any case
/// it stays in the log at its place. As LiveStore's `unknownEventHandling`.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum UnknownEvents {
    /// It is kept, with a warning in the log of the program (once for each name). When a later version of the app knows
    /// the name, the tables are rebuilt from the log.
    #[default]
    Keep,
    /// It is kept, silently. When a later version of the app is to know the name, raise the version of the
    /// [tables](Options::tables).
    Ignore,
    /// A commit fails, and sync stops at an event that comes from the backend.
    Fail,
    /// The function is called; what it returns is as with a materialiser.
    Call(UnknownEventFn),
}

impl fmt::Debug for UnknownEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::Ignore => "Ignore",
            Self::Fail => "Fail",
            Self::Call(_) => "Call",
        })
    }
}

/// How a store is opened: the app's tables and how events change them.
///
/// ```
/// use livestore_sync_client::local::Options;
///
/// let options = Options::new()
///     .tables(1, "CREATE TABLE todos (id TEXT PRIMARY KEY, text TEXT NOT NULL)")
///     .materialiser("v1.TodoCreated", |tx, event| {
///         tx.execute(
///             "INSERT INTO todos (id, text) VALUES (?1 ->> 'id', ?1 ->> 'text')",
///             [event.args.as_json()],
///         )?;
///         Ok(())
///     });
/// # drop(options);
/// ```
pub struct Options {
    pub(crate) version: i64,
    pub(crate) tables: String,
    pub(crate) materialisers: HashMap<String, Materialiser>,
    pub(crate) unknown_events: UnknownEvents,
    pub(crate) client_id: Option<String>,
    pub(crate) retry_after: (Duration, Duration),
    pub(crate) changes_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// No tables, no materialisers, unknown events are kept.
    #[must_use]
    pub fn new() -> Self {
        Self {
            version: 0,
            tables: String::new(),
            materialisers: HashMap::new(),
            unknown_events: UnknownEvents::default(),
            client_id: None,
            retry_after: (Duration::from_millis(500), Duration::from_secs(30)),
            changes_capacity: 1_024,
        }
    }

    /// The app's tables, as statements that make them in an empty database. The tables hold nothing but
    /// what the events make of them: when the statements or the version differ from the
    /// file's, all tables are dropped and rebuilt from the log. Raise the version when a
    /// materialiser changes.
    ///
    /// Virtual tables and names that start with `livestore_` are refused at opening.
    #[must_use]
    pub fn tables(mut self, version: i64, sql: impl Into<String>) -> Self {
        self.version = version;
        self.tables = sql.into();
        self
    }

    /// What an event of this name does to the tables. The function must depend on nothing but the event and
    /// the tables, because it runs again whenever the event gets another place in the log, and on
    /// every client. It may read and write the app's tables; making tables, transactions and the
    /// store's own tables are refused (`not authorized`). Its writes and the event enter the file together
    /// or not at all; a panic counts as an error. `prepare_cached` makes it faster.
    #[must_use]
    pub fn materialiser(
        mut self,
        name: impl Into<String>,
        apply: impl Fn(&Transaction<'_>, &Event) -> Result<(), BoxError> + Send + 'static,
    ) -> Self {
        self.materialisers.insert(name.into(), Box::new(apply));
        self
    }

    /// What to do with events that no materialiser knows. [`UnknownEvents::Keep`] by default.
    #[must_use]
    pub fn unknown_events(mut self, policy: UnknownEvents) -> Self {
        self.unknown_events = policy;
        self
    }

    /// The client id of a new file. A random one by default; a file keeps the one that it has.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// How long to wait before what failed is tried again: the longest first wait, which doubles with each failure, and
    /// the longest of all. Each wait is a random time below that. Half a second and half a minute by default.
    #[must_use]
    pub fn retry_after(mut self, first: Duration, longest: Duration) -> Self {
        self.retry_after = (first, longest.max(first));
        self
    }

    /// How many changes a reader of [`LocalStore::changes`](super::LocalStore::changes) may be behind
    /// before it misses some. 1,024 by default.
    #[must_use]
    pub fn changes_capacity(mut self, changes: usize) -> Self {
        self.changes_capacity = changes.max(1);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("version", &self.version)
            .field("materialisers", &self.materialisers.keys())
            .field("unknown_events", &self.unknown_events)
            .finish_non_exhaustive()
    }
}
