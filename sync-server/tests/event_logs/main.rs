//! The event logs of this crate keep the contract of `EventLog`.

#[cfg(feature = "native")]
mod commits;
#[cfg(feature = "native")]
mod existence;
#[cfg(feature = "native")]
mod files;
#[cfg(feature = "native")]
mod reference;
#[cfg(feature = "native")]
mod sqlite;

use std::sync::Arc;

use livestore_sync_server::event_log::{Faults, Faulty, MemoryLog, PAGE_BYTES_MAX, Yielding, conformance};

const EVENT_BYTES_MAX: usize = PAGE_BYTES_MAX + 1;

#[tokio::test]
async fn memory_conforms() {
    conformance::all(async |name| MemoryLog::new(name), EVENT_BYTES_MAX).await;
}

#[tokio::test]
async fn wrappers_conform_while_they_do_nothing() {
    let wrapped = |name| Yielding::new(Faulty::new(Arc::new(MemoryLog::new(name)), Faults::none()));
    conformance::all(async |name| wrapped(name), EVENT_BYTES_MAX).await;
}
