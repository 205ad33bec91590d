//! What is known of the 0.3 clients of a store, over a restart of its home. They never pull again, so
//! that a new home must know where the last one had left them, see `resume`. A client that was
//! connected when the last home went counts as having had everything.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::resume::Entry;

/// The 0.3 clients of one store.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Clients {
    pub(crate) lost: Vec<Entry>,
    pub(crate) connected: Vec<Connected>,
}

/// A client that is connected. Where it stands is not kept: with the log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Connected {
    /// Told apart from those that are still there when a home only lost its memory.
    #[serde(default)]
    pub(crate) connection: Uuid,
    pub(crate) likeness: String,
    pub(crate) pulls: Vec<String>,
}

impl Clients {
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.connected.is_empty()
    }
}
