//! That nothing more goes out on a socket, and who is told of it. Made by `socket`; `fan_out` notices it as well.

use std::rc::Rc;

use tokio_util::sync::CancellationToken;

/// The end of one socket's way out. All clones are one end.
#[derive(Clone)]
pub(super) struct End {
    closed: CancellationToken,
    /// Told once.
    told: Rc<dyn Fn()>,
}

impl End {
    /// `told` is called in the middle of things: it may only see to it that something happens later.
    pub(super) fn new(told: impl Fn() + 'static) -> Self {
        Self { closed: CancellationToken::new(), told: Rc::new(told) }
    }

    /// Ends it, if it has not ended yet.
    pub(super) fn end(&self) {
        if !self.has_come() {
            self.closed.cancel();
            (self.told)();
        }
    }

    pub(super) fn has_come(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Waits for it.
    pub(super) async fn come(&self) {
        self.closed.cancelled().await;
    }
}
