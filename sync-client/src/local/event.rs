use livestore_sync_protocol::{Args, Event};
use serde::Serialize;

/// An event that the app commits. Its place in the log and who committed it are the store's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The event's name in the app's schema.
    pub name: String,
    /// The event's arguments.
    pub args: Args,
}

impl NewEvent {
    /// An event with arguments that serialise to JSON.
    ///
    /// ```
    /// use livestore_sync_client::local::NewEvent;
    ///
    /// let event = NewEvent::new("v1.TodoCreated", serde_json::json!({ "id": "t1", "text": "buy milk" }))?;
    /// assert_eq!(event.args.as_json(), r#"{"id":"t1","text":"buy milk"}"#);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the arguments cannot be JSON.
    pub fn new(name: impl Into<String>, args: impl Serialize) -> serde_json::Result<Self> {
        Ok(Self { name: name.into(), args: Args::from_json(serde_json::to_string(&args)?)? })
    }
}

/// Names a pending event for as long as it is pending. Its sequence number may change meanwhile, this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PendingId(pub(crate) i64);

/// An event that the backend has not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingEvent {
    /// Its name among the pending ones.
    pub id: PendingId,
    /// The event, numbered as if nobody else committed anything.
    pub event: Event,
}

/// What is to be kept of the local events when a store follows a backend that was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// All events, confirmed and pending: they are pushed to the new log after what it has. Other
    /// clients that do the same do not double them if the new log was empty.
    Everything,
    /// What was never confirmed: it is pushed to the new log after what it has.
    Pending,
    /// Nothing: the new log is taken as it is.
    Nothing,
}
