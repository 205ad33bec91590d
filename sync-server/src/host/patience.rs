//! When a call that failed because of us is made once more. Published clients take an error for the last word on a
//! pull, and those of 0.3 on a push as well; so the server waits and tries again, for as long as that is the better
//! answer. `calls`, `exchange` and the platforms' ways in ask it.

use std::time::Duration;

use livestore_sync_protocol::Generation;

use crate::error::{PullError, PushError};
use crate::failure::Failure;
use crate::hooks::Transport;
use crate::platform::Platform;

/// The first pause; each further one is twice as long ...
const PAUSE: Duration = Duration::from_millis(100);
/// ... up to this one.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Tries of a pull on a socket. After them, which is 3 s, its client is to come back, which may find another server.
pub(crate) const SOCKET_TRIES_MAX: u32 = 6;

/// Tries of a 0.3 push whose connection is gone: a minute. It may be that its client waits for the acknowledgement
/// on another one.
const LOST_TRIES_MAX: u32 = 18;

/// The pause after so many failures in a row.
pub(crate) fn pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    PAUSE.saturating_mul(doubled).min(PAUSE_MAX)
}

/// What a call gives once it works, or its failure after so many tries.
pub(crate) async fn tried<T, E, F: Future<Output = Result<T, E>>>(
    platform: &impl Platform,
    tries_max: u32,
    mut call: impl FnMut() -> F,
) -> Result<T, E> {
    let mut failures = 0;
    loop {
        match call().await {
            Err(_) if failures + 1 < tries_max => {
                failures += 1;
                platform.sleep(pause(failures)).await;
            }
            result => return result,
        }
    }
}

/// The pause before what a request needs is tried again; without one, it is refused. A client that wants a WebSocket
/// comes back by itself; published ones over http do not, whatever they are answered. If one goes, so does its request.
pub(crate) fn before_request(transport: Transport, failures: u32) -> Option<Duration> {
    (transport == Transport::Http).then(|| pause(failures))
}

/// The pause before a pull on a socket is tried again; without one, the socket is closed.
pub(super) fn before_socket_pull(error: &PullError, failures: u32) -> Option<Duration> {
    // A hook that fails is not asked in a loop: its client comes back, with pauses of its own.
    let again = matches!(error, PullError::Log(_)) && failures < SOCKET_TRIES_MAX;
    again.then(|| pause(failures))
}

/// The pause before a push on a socket is made again; without one, it is answered. 0.4 clients repeat a push that was
/// answered with a failure of ours. Those of 0.3 stop pushing, so theirs are repeated here.
pub(super) fn before_socket_push(
    error: &PushError,
    generation: Generation,
    failures: u32,
    is_lost: bool,
) -> Option<Duration> {
    let hangs = matches!(error, PushError::Failed(Failure::TimedOut));
    let gives_up = is_lost && (hangs || failures >= LOST_TRIES_MAX);
    (error.is_ours() && generation == Generation::V03 && !gives_up).then(|| pause(failures))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{HookError, LogError};

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let ms = [1, 2, 3, 6, 7, 8, 32, 33, 34, u32::MAX].map(|failures| pause(failures).as_millis());
        assert_eq!(ms, [100, 200, 400, 3_200, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000]);
        let of = |tries| (1..tries).map(pause).sum::<Duration>();
        assert_eq!((of(SOCKET_TRIES_MAX).as_millis(), of(LOST_TRIES_MAX).as_millis()), (3_100, 61_300));
    }

    #[test]
    fn a_pull_on_a_socket_is_tried_some_times() {
        let log = PullError::from(LogError::nothing_stored("unplugged"));
        assert_eq!(before_socket_pull(&log, 1), Some(PAUSE));
        assert!(before_socket_pull(&log, SOCKET_TRIES_MAX - 1).is_some());
        assert_eq!(before_socket_pull(&log, SOCKET_TRIES_MAX), None);
        for error in [PullError::Failed(Failure::Panicked), PullError::Rejected(HookError::new("no")), PullError::Gone]
        {
            assert_eq!(before_socket_pull(&error, 1), None, "{error}");
        }
    }

    #[test]
    fn only_old_clients_need_their_pushes_repeated() {
        use Generation::{V03, V04};
        let log = PushError::from(LogError::unknown_outcome("unplugged"));
        let (panicked, hangs) = (PushError::Failed(Failure::Panicked), PushError::Failed(Failure::TimedOut));
        let rejected = PushError::Rejected(HookError::new("no"));
        for (error, generation, failures, is_lost, again) in [
            (&log, V04, 1, false, false),
            (&rejected, V03, 1, false, false),
            (&log, V03, 1_000, false, true),
            (&panicked, V03, 1_000, false, true),
            (&hangs, V03, 1_000, false, true),
            (&hangs, V03, 1, true, false),
            (&log, V03, LOST_TRIES_MAX - 1, true, true),
            (&log, V03, LOST_TRIES_MAX, true, false),
        ] {
            let pause = before_socket_push(error, generation, failures, is_lost);
            assert_eq!(pause.is_some(), again, "{error} {generation:?} {failures} {is_lost}");
        }
    }
}
