//! Which sockets to give up. Clients that leave without a word leave their sockets behind, and the
//! platform answers the pings of 0.4 clients by itself, so that no frame that fails tells of it.

use std::time::Duration;

use crate::hooks::Identity;
use crate::session::Session;

/// A client that has pinged and then was silent for so long (ms) is gone. 0.3 clients ping every 25 s,
/// 0.4 clients every 10 s.
pub(super) const SILENCE_MS_MAX: u64 = 75_000;

/// How often an object with sockets looks. Each look wakes it.
pub(super) const SWEEP: Duration = Duration::from_secs(300);

/// When a look at a new 0.4 connection tells whether its client waits for a pull of an earlier one
/// (ms): by then it has pinged a second time, unless it is slow.
pub(super) const PARKED_LOOK_MS: u64 = 11_000;

/// How often to look, as long as the client neither pulls nor pushes. The object stays awake for that.
const PARKED_LOOKS: u64 = 2;

/// How long a client may stay connected, where its access expires. A timer for it would keep the object from hibernating.
pub(super) fn access_left(identity: &Identity, grace: Duration, now_ms: u64) -> Option<Duration> {
    let ends_ms = identity.expires_ms?.saturating_add(grace.as_millis().try_into().unwrap_or(u64::MAX));
    Some(Duration::from_millis(ends_ms.saturating_sub(now_ms)))
}

/// What to do with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    /// Its client is gone.
    Gone,
    /// Its client is to come back.
    Resume,
}

/// `heard_ms` is when the last frame came, `pinged_ms` when the platform last answered a ping on its own.
pub(super) fn judge(session: &Session, heard_ms: u64, pinged_ms: Option<u64>, now_ms: u64) -> Verdict {
    let is_silent = |since_ms: u64| now_ms.saturating_sub(since_ms) > SILENCE_MS_MAX;
    let is_gone = match session.heard_ms() {
        // 0.3 pings wake the object.
        Some(_) => is_silent(heard_ms),
        // A 0.4 client that acknowledges what it gets may not ping meanwhile, and some never ping.
        None => pinged_ms.is_some_and(|pinged_ms| is_silent(pinged_ms.max(heard_ms))),
    };
    match pinged_ms {
        _ if is_gone => Verdict::Gone,
        Some(pinged_ms) if session.is_parked(pinged_ms) => Verdict::Resume,
        _ => Verdict::Keep,
    }
}

/// Whether another of the looks at a 0.4 connection may still tell something that the last one did not.
pub(super) fn looks_again(session: &Session, now_ms: u64) -> bool {
    session.waits_since_ms().is_some_and(|since_ms| now_ms.saturating_sub(since_ms) < PARKED_LOOKS * PARKED_LOOK_MS)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::session::Proof;

    #[test]
    fn a_look_comes_when_there_is_something_to_see() {
        // A parked client pings when it opens and 10 s later; the second ping gives it away.
        const { assert!(PARKED_LOOK_MS > 10_000 && SWEEP.as_millis() > SILENCE_MS_MAX as u128) };
        // After the last of the first looks come the regular ones.
        const { assert!(((PARKED_LOOKS * PARKED_LOOK_MS) as u128) < SWEEP.as_millis()) };
        let id = Uuid::from_u128(1);
        let mut session = Session::rpc(id, 0);
        let late = PARKED_LOOKS * PARKED_LOOK_MS;
        let looks = |session: &Session| [late - 1, late, late + PARKED_LOOK_MS].map(|now| looks_again(session, now));
        assert_eq!(looks(&session), [true, false, false]);
        // A push of a client that knows the log; it goes on pushing on a new connection while it waits for its pull.
        session.handle_frame(PUSH, PARKED_LOOK_MS);
        assert_eq!(looks(&session), [true, true, false]);
        assert_eq!(judge(&session, PARKED_LOOK_MS, Some(2 * PARKED_LOOK_MS), late), Verdict::Resume);
        session.handle_frame(PULL, late);
        assert!(!looks_again(&session, late), "it has pulled");
        assert!(!looks_again(&Session::v03(id, Proof::Frames, 0), 0));
    }

    #[test]
    fn an_access_ends_a_grace_period_after_its_time() {
        let (identity, ms) = (Identity::new("a").with_expires_ms(1_000), Duration::from_millis);
        for (now_ms, left) in [(0, 1_500), (1_000, 500), (1_499, 1), (1_500, 0), (9_000, 0)] {
            assert_eq!(access_left(&identity, ms(500), now_ms), Some(ms(left)), "{now_ms}");
        }
        assert_eq!(access_left(&Identity::new("a"), ms(500), 0), None);
        let forever = Identity::new("a").with_expires_ms(u64::MAX);
        assert_eq!(access_left(&forever, Duration::MAX, 1), Some(ms(u64::MAX - 1)));
    }

    #[test]
    fn silent_sockets_go_and_parked_ones_come_back() {
        let id = Uuid::from_u128(1);
        let rpc = || Session::rpc(id, 0);
        let mut pulling = rpc();
        pulling.handle_frame(PULL, 0);
        let late = SILENCE_MS_MAX + 1;
        for (session, heard_ms, pinged_ms, now_ms, expected) in [
            (Session::v03(id, Proof::Frames, 0), 0, None, SILENCE_MS_MAX, Verdict::Keep),
            (Session::v03(id, Proof::Frames, 0), 0, None, late, Verdict::Gone),
            (rpc(), 0, None, late, Verdict::Keep),
            (rpc(), 0, Some(0), late, Verdict::Gone),
            (rpc(), 0, Some(PARKED_LOOK_MS), PARKED_LOOK_MS, Verdict::Resume),
            (rpc(), 0, Some(0), PARKED_LOOK_MS, Verdict::Keep),
            (pulling, 1, Some(PARKED_LOOK_MS), PARKED_LOOK_MS, Verdict::Keep),
        ] {
            let verdict = judge(&session, heard_ms, pinged_ms, now_ms);
            assert_eq!(verdict, expected, "{heard_ms} {pinged_ms:?} {now_ms} {session:?}");
        }
    }

    const PUSH: &str = r#"{"_tag":"Request","id":"1","tag":"SyncWsRpc.Push","payload":{"storeId":"s","batch":[{"name":"n","args":1,"seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}],"backendId":{"_tag":"Some","value":"b"}},"headers":[]}"#;
    const PULL: &str = r#"{"_tag":"Request","id":"7","tag":"SyncWsRpc.Pull","payload":{"storeId":"s","live":true,"cursor":{"_tag":"None"}},"headers":[]}"#;
}
