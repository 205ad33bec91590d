//! Routes of debug builds, for tests. Called by `object`.

use std::time::Duration;

use super::platform::Isolate;
use crate::platform::Platform;

/// For tests of what a panic leaves behind; not there in release builds.
pub(super) async fn route(path: &str) {
    match path {
        // A call that is in flight.
        "/debug/wait" => Isolate.sleep(Duration::from_secs(20)).await,
        "/debug/panic" => {
            Isolate.sleep(Duration::from_millis(10)).await;
            panic!("a test asked for it");
        }
        _ => {}
    }
}
