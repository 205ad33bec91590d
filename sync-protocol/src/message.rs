//! What both families of generations have in common: cursors and what a pull says of the rest.

use crate::{PulledEvent, SeqNum};

/// Which protocol a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Generation {
    /// `@livestore/sync-cf` 0.3.x.
    V03,
    /// `@livestore/sync-cf` 0.4.x (Effect 3 RPC).
    V04,
    /// LiveStore's main branch (Effect 4 RPC).
    Next,
}

impl Generation {
    /// `0.3`, `0.4` or `next`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V03 => "0.3",
            Self::V04 => "0.4",
            Self::Next => "next",
        }
    }
}

/// Where a reader is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The log that the position belongs to. 0.3 clients do not know it.
    pub backend_id: Option<String>,
    /// The last event that the reader has; it gets those above.
    pub seq_num: SeqNum,
}

/// What is still to come after a chunk of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageInfo {
    /// The reader has everything.
    NoMore,
    /// So many events are still to come.
    MoreKnown {
        /// Number of events.
        remaining: u64,
    },
    /// Some events are still to come. The reference never sends it.
    MoreUnknown,
}

impl PageInfo {
    /// `NoMore` for 0.
    #[must_use]
    pub fn from_remaining(remaining: u64) -> Self {
        if remaining == 0 { Self::NoMore } else { Self::MoreKnown { remaining } }
    }
}

/// One chunk of a pull as a client reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullResponse {
    /// The events, ascending.
    pub batch: Vec<PulledEvent>,
    /// What is still to come.
    pub page_info: PageInfo,
    /// The log's identity.
    pub backend_id: String,
}
