//! Events that have no place in a log yet, and how they get one. Called by the offline store when it commits and
//! rebases, and by [`crate::SyncClient::append`].

use livestore_sync_protocol::{Args, Event, SeqNum};
use serde::Serialize;

/// An event that the app commits or appends. Its place in the log and who its author is are added by the store or the
/// client that takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// use livestore_sync_client::NewEvent;
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
        Ok(Self::with_args(name, Args::from_json(serde_json::to_string(&args)?)?))
    }

    /// An event with arguments that are JSON already.
    #[must_use]
    pub fn with_args(name: impl Into<String>, args: Args) -> Self {
        Self { name: name.into(), args }
    }

    /// The event as this author's, after `parent`.
    pub(crate) fn by(self, author: &Author, parent: SeqNum) -> Event {
        Event {
            name: self.name,
            args: self.args,
            seq_num: after(parent, 1),
            parent_seq_num: parent,
            client_id: author.client_id.clone(),
            session_id: author.session_id.clone(),
        }
    }
}

/// Who commits or appends events.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) client_id: String,
    /// Never used twice: the events of a session are told apart from those of others by it, when an answer was lost.
    pub(crate) session_id: String,
}

/// The number `steps` after another. Numbers end where JavaScript's do, which no log reaches.
pub(crate) fn after(seq_num: SeqNum, steps: i64) -> SeqNum {
    SeqNum::new(seq_num.get().saturating_add(steps)).unwrap_or(SeqNum::MAX)
}

/// Gives events the numbers that follow `head`, without gaps. Gives the last number.
pub(crate) fn renumber(events: &mut [Event], head: SeqNum) -> SeqNum {
    events.iter_mut().fold(head, |parent, event| {
        (event.seq_num, event.parent_seq_num) = (after(parent, 1), parent);
        event.seq_num
    })
}
