//! What every home of the engine does alike: sockets whose frames become calls of a [`Store`], and
//! whose events come back through a [`Hub`]. A home brings the sockets ([`Link`]), timers and tasks
//! ([`runtime`]), and starts and stops.

pub(crate) mod calls;
pub(crate) mod clients;
pub(crate) mod exchange;
pub(crate) mod hub;
mod link;
mod peer;
pub(crate) mod reconnect;
pub(crate) mod runtime;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

pub(crate) use self::hub::Hub;
pub(crate) use self::link::{Link, Over};
pub(crate) use self::peer::{Peer, likeness};
use crate::{HookError, Store};

/// A store whose events go to the sockets of a home.
pub(crate) type HomeStore<L, H, K> = Store<L, H, Hub<K>>;

/// Size of one WebSocket frame or HTTP body, in bytes, where nothing else is said.
pub(crate) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Close codes of RFC 6455 and its registry.
pub(crate) const CLOSE_INVALID_UTF8: u16 = 1007;
pub(crate) const CLOSE_TOO_LARGE: u16 = 1009;
pub(crate) const CLOSE_INTERNAL: u16 = 1011;

/// Runs a part that calls the app's hooks; a panic in one ends neither the connection nor the store.
/// Where panics cannot be caught (wasm), this changes nothing.
pub(crate) async fn guarded<T>(part: impl Future<Output = T>) -> Result<T, HookError> {
    AssertUnwindSafe(part).catch_unwind().await.map_err(|_| {
        tracing::error!("a hook panicked");
        HookError::new("the server failed on this request")
    })
}
