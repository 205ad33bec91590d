//! How much of a backlog may be on its way to a client before something says that it arrives. Pure; time is an
//! argument.
//!
//! What is on its way stands before whatever is sent next: a 0.4 client gives up when the answer to its ping takes
//! 10 s, a 0.3 client asks again after 5 s. How many bytes a link takes in such a time, only the link tells. So the
//! window opens while chunks arrive fast and closes while they take long (a congestion window that goes by
//! delay): 1 MB keeps a fast link busy, and on a slow one a client waits for seconds.

use std::collections::VecDeque;

/// The most that may be on its way, in bytes.
pub(super) const WINDOW_BYTES_MAX: usize = 1_000_000;

/// How much may be at first: 4 s at 256 kbit/s.
pub(super) const WINDOW_BYTES_START: usize = 128_000;

/// The least: a second chunk may follow the first, so that the link has something to carry while the first is
/// acknowledged.
const WINDOW_BYTES_MIN: usize = WINDOW_BYTES_START;

/// Chunks that arrive within this time (ms) open the window.
const FAST_MS: u64 = 500;

/// Chunks that take longer than this (ms) close it.
const SLOW_MS: u64 = 2_000;

/// Where a chunk arrives within this time (ms), with all that was before it, nothing is gained by making it smaller.
const INSTANT_MS: u64 = 20;

/// Something that was sent and has not arrived yet, as far as is known.
#[derive(Debug)]
struct Sent {
    bytes: usize,
    /// `None` for what was published: it comes when it comes, and says nothing of the link.
    at_ms: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Window {
    bytes_max: usize,
    bytes: usize,
    sent: VecDeque<Sent>,
    /// When it was closed by half: what was sent before does not close it further.
    closed_ms: u64,
    is_instant: bool,
}

impl Default for Window {
    fn default() -> Self {
        Self { bytes_max: WINDOW_BYTES_START, bytes: 0, sent: VecDeque::new(), closed_ms: 0, is_instant: false }
    }
}

impl Window {
    /// Whether more of a backlog may be sent.
    pub(super) fn is_open(&self) -> bool {
        self.bytes < self.bytes_max
    }

    /// Whether what was sent last arrived at once. Nobody knows before something has.
    pub(super) fn is_instant(&self) -> bool {
        self.is_instant
    }

    /// How many things that were sent have not arrived.
    pub(super) fn on_the_way(&self) -> usize {
        self.sent.len()
    }

    /// Part of a backlog is sent.
    pub(super) fn send(&mut self, bytes: usize, now_ms: u64) {
        self.push(Sent { bytes, at_ms: Some(now_ms) });
    }

    /// Something else is sent, which nothing holds back.
    pub(super) fn publish(&mut self, bytes: usize) {
        self.push(Sent { bytes, at_ms: None });
    }

    fn push(&mut self, sent: Sent) {
        self.bytes += sent.bytes;
        self.sent.push_back(sent);
    }

    /// What was sent first, of all that is on its way, has arrived.
    pub(super) fn arrive(&mut self, now_ms: u64) {
        let Some(Sent { bytes, at_ms }) = self.sent.pop_front() else { return };
        self.bytes -= bytes;
        let Some(at_ms) = at_ms else { return };
        let took_ms = now_ms.saturating_sub(at_ms);
        self.is_instant = took_ms < INSTANT_MS;
        if took_ms < FAST_MS {
            self.bytes_max = (self.bytes_max + bytes).min(WINDOW_BYTES_MAX);
        } else if took_ms > SLOW_MS && at_ms >= self.closed_ms {
            self.bytes_max = (self.bytes_max / 2).max(WINDOW_BYTES_MIN);
            self.closed_ms = now_ms;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHUNK: usize = 100_000;

    /// Sends as much as may be, over a link of so many bytes per second. Returns the most that was on its way, as
    /// the time in ms that it takes, and how long so many bytes took. Clients acknowledge after so many ms.
    fn transfer(bytes_per_s: u64, bytes: usize, client_ms: u64) -> (u64, u64) {
        let mut window = Window::default();
        let (mut now_ms, mut free_ms, mut left, mut most) = (0_u64, 0, bytes, 0);
        let mut acknowledged = VecDeque::new();
        let ms = |bytes: usize| bytes as u64 * 1_000 / bytes_per_s;
        while left > 0 || window.on_the_way() > 0 {
            while left > 0 && window.is_open() {
                window.send(CHUNK, now_ms);
                left = left.saturating_sub(CHUNK);
                free_ms = now_ms.max(free_ms) + ms(CHUNK);
                acknowledged.push_back(free_ms + client_ms);
            }
            most = most.max(ms(window.bytes));
            now_ms = acknowledged.pop_front().expect("something is on its way");
            window.arrive(now_ms);
        }
        (most, now_ms)
    }

    #[test]
    fn a_slow_link_is_never_far_behind_and_always_busy() {
        for (kbit_per_s, client_ms, behind_ms_max) in
            [(128, 400, 15_000), (256, 400, 8_000), (1_000, 400, 4_000), (100_000, 0, 100)]
        {
            let (behind_ms, took_ms) = transfer(kbit_per_s * 1_000 / 8, 8_000_000, client_ms);
            assert!(behind_ms <= behind_ms_max, "{behind_ms} ms at {kbit_per_s} kbit/s");
            let least_ms = 8_000_000 * 8 / kbit_per_s;
            assert!(took_ms <= least_ms + least_ms / 10, "{took_ms} ms at {kbit_per_s} kbit/s");
        }
    }

    #[test]
    fn a_fast_link_gets_the_whole_window_and_no_more() {
        let mut window = Window::default();
        for _ in 0..100 {
            window.send(CHUNK, 0);
            window.arrive(1);
        }
        let mut sent = 0;
        while window.is_open() {
            window.send(CHUNK, 1);
            sent += CHUNK;
        }
        assert_eq!(sent, WINDOW_BYTES_MAX);
        window.arrive(2);
        assert!(window.is_open());
    }

    #[test]
    fn a_link_is_known_to_be_instant_by_what_arrived_last() {
        let mut window = Window::default();
        for (took_ms, expected) in [(None, false), (Some(19), true), (None, true), (Some(20), false), (Some(0), true)] {
            match took_ms {
                Some(_) => window.send(CHUNK, 1_000),
                None => window.publish(CHUNK),
            }
            window.arrive(1_000 + took_ms.unwrap_or_default());
            assert_eq!(window.is_instant(), expected, "{took_ms:?}");
        }
    }

    #[test]
    fn it_never_closes_for_good() {
        let mut window = Window::default();
        for n in 0..100 {
            assert!(window.is_open(), "nothing is on its way");
            window.send(10 * CHUNK, n * 60_000);
            assert!(!window.is_open());
            window.arrive((n + 1) * 60_000 - 1);
        }
        window.arrive(0);
        assert!(window.is_open(), "what was never sent does not arrive");
    }

    #[test]
    fn what_is_published_holds_a_backlog_back_and_says_nothing_of_the_link() {
        let mut window = Window::default();
        window.publish(WINDOW_BYTES_MAX);
        assert!(!window.is_open());
        window.arrive(60_000);
        assert_eq!(window.bytes_max, WINDOW_BYTES_START);
    }
}
