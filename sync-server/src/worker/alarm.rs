//! The object's one alarm, which `object` sets for what has to be looked at while the object may be out of memory.

use std::time::Duration;

use worker::{Result, State};

use super::platform::Isolate;
use crate::platform::Platform;

/// Has the alarm ring within this time, at the latest.
pub(super) async fn set_within(state: &State, time: Duration) -> Result<()> {
    let storage = state.storage();
    let at_ms = Isolate.now_ms().saturating_add(time.as_millis() as u64);
    match storage.get_alarm().await? {
        Some(set_ms) if set_ms <= at_ms as i64 => Ok(()),
        _ => storage.set_alarm(time).await,
    }
}
