//! What a pull gives, page by page.

use livestore_sync_protocol::PulledEvent;

/// Part of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// The events, ascending.
    pub events: Vec<PulledEvent>,
    /// How many events the server had beyond this page when it sent it.
    pub remaining: u64,
    /// The log's identity; 0.3 does not tell it.
    pub backend_id: Option<String>,
}

impl Page {
    /// A page, for those who write a `local::Backend` of their own.
    #[must_use]
    pub fn new(events: Vec<PulledEvent>, remaining: u64, backend_id: Option<String>) -> Self {
        Self { events, remaining, backend_id }
    }
}
