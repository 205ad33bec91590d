//! Which sockets to give up. Clients that leave without a word leave their sockets behind, and the
//! platform answers the pings of 0.4 clients without asking, so that nobody notices either.

/// A client that has pinged and then was silent for so long (ms) is gone. 0.3 clients ping every 25 s,
/// 0.4 clients every 10 s.
pub(super) const SILENCE_MS_MAX: u64 = 75_000;

/// How often an object with sockets looks (ms). Each look wakes it.
pub(super) const SWEEP_MS: u64 = 300_000;

/// When a look at a new 0.4 connection tells whether its client waits for a pull of an earlier one
/// (ms): by then it has pinged a second time, unless it is slow.
pub(super) const PARKED_LOOK_MS: u64 = 11_000;

/// How often to look, as long as the client does not pull. The object stays awake for that.
pub(super) const PARKED_LOOKS: u32 = 2;

/// What is known of a socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// When the client last pinged or sent anything else; `None` for a 0.4 client that never pings.
    pub(super) heard_ms: Option<u64>,
    /// Whether it waits for what only a new connection can start.
    pub(super) parked: bool,
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

pub(super) fn judge(seen: Seen, now_ms: u64) -> Verdict {
    match seen.heard_ms {
        Some(heard_ms) if now_ms.saturating_sub(heard_ms) > SILENCE_MS_MAX => Verdict::Gone,
        _ if seen.parked => Verdict::Resume,
        _ => Verdict::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_comes_when_there_is_something_to_see() {
        // A parked client pings when it opens and 10 s later; the second ping gives it away.
        const { assert!(PARKED_LOOK_MS > 10_000 && SWEEP_MS > SILENCE_MS_MAX) };
        // After the last of the first looks come the regular ones.
        const { assert!(PARKED_LOOKS as u64 * PARKED_LOOK_MS < SWEEP_MS) };
    }

    #[test]
    fn silent_sockets_go_and_parked_ones_come_back() {
        for (heard_ms, parked, expected) in [
            (Some(0), false, Verdict::Gone),
            (Some(0), true, Verdict::Gone),
            (Some(1), false, Verdict::Keep),
            (Some(1), true, Verdict::Resume),
            (None, false, Verdict::Keep),
        ] {
            assert_eq!(judge(Seen { heard_ms, parked }, SILENCE_MS_MAX + 1), expected, "{heard_ms:?} {parked}");
        }
    }
}
