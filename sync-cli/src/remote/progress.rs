//! How far a long run of `push` or `pull` is, for people. Nothing is written where standard error is no terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use tokio::time::Instant;

use crate::inspect::note;

/// How often it is shown.
const INTERVAL: Duration = Duration::from_secs(2);

/// Shows people at a terminal how far a long run is.
pub(super) struct Progress {
    shown: bool,
    last: Instant,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { shown: io::stderr().is_terminal(), last: Instant::now() }
    }

    pub(super) fn show(&mut self, text: impl FnOnce() -> String) {
        if self.shown && self.last.elapsed() >= INTERVAL {
            self.last = Instant::now();
            note(&text());
        }
    }
}
