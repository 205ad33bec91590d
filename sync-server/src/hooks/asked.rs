//! An app's hooks as the engine asks them: in time and without their panics, which become failures of our own. The
//! only way to a hook: made for each store, and by each platform for those that come before a store is known.

use std::sync::Arc;
use std::time::Duration;

use super::{Connection, HookContext, Hooks, Pull, Push};
use crate::error::{HookError, PullError, PushError};
use crate::failure::{Failure, guarded, note};
use crate::platform::{MaybeSend, Platform};

/// Hooks with a limit to their time.
pub(crate) struct Asked<H, C> {
    hooks: Arc<H>,
    platform: C,
    time_max: Duration,
}

impl<H: Hooks, C: Platform> Asked<H, C> {
    pub(crate) fn new(hooks: Arc<H>, platform: C, time_max: Duration) -> Self {
        Self { hooks, platform, time_max }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.platform.now_ms()
    }

    /// The app's own.
    #[cfg(test)]
    pub(crate) fn app(&self) -> &H {
        &self.hooks
    }

    /// `Ok` with what the hook says: the connection with who it is, or why it may not.
    pub(crate) async fn authenticate(
        &self,
        connection: &Arc<Connection>,
    ) -> Result<Result<Arc<Connection>, HookError>, Failure> {
        let asked = Arc::clone(connection);
        let said = self.ask("authenticate", async { self.hooks.authenticate(asked).await }).await?;
        if said.as_ref().is_err_and(HookError::is_unavailable) {
            return Err(Failure::Unavailable);
        }
        Ok(said.and_then(|identity| {
            identity.check_size()?;
            if identity.is_default() {
                return Ok(Arc::clone(connection));
            }
            let connection = Connection::clone(connection).with_identity(identity);
            tracing::debug!(connection = %connection.id, user = connection.user_id(), "authenticated");
            Ok(Arc::new(connection))
        }))
    }

    pub(crate) async fn on_push(&self, push: Push, context: HookContext) -> Result<(), PushError> {
        let said = self.ask("on_push", async { self.hooks.on_push(push, context).await }).await?;
        said.map_err(PushError::Rejected)
    }

    pub(crate) async fn on_push_res(&self, push: Push, result: Result<(), PushError>, context: HookContext) {
        // What a hook makes of an end changes nothing; that it failed is in the log.
        let _ = self.ask("on_push_res", async { self.hooks.on_push_res(push, result, context).await }).await;
    }

    pub(crate) async fn on_pull(&self, pull: Pull, context: HookContext) -> Result<(), PullError> {
        let said = self.ask("on_pull", async { self.hooks.on_pull(pull, context).await }).await?;
        said.map_err(PullError::Rejected)
    }

    pub(crate) async fn on_pull_res(&self, pull: Pull, result: Result<u64, PullError>, context: HookContext) {
        // As above.
        let _ = self.ask("on_pull_res", async { self.hooks.on_pull_res(pull, result, context).await }).await;
    }

    async fn ask<T: MaybeSend>(
        &self,
        hook: &'static str,
        asking: impl Future<Output = T> + MaybeSend,
    ) -> Result<T, Failure> {
        match self.platform.timeout(self.time_max, guarded(asking)).await {
            Some(said) => said,
            None => {
                note(|| tracing::error!(hook, limit = ?self.time_max, "a hook does not return"));
                Err(Failure::TimedOut)
            }
        }
    }
}
