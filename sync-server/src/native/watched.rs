//! A byte stream that notes when a byte last moved, and fails once none has for too long while bytes wait to be
//! written: time limits are for silence, not for slowness, unless memory is short. `connection` has one around each TCP stream, `socket`
//! one around each WebSocket. It knows nothing of what the bytes mean.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::{PEER_SILENCE_MAX, SHORT_SILENCE_MAX};
use crate::budget::Budget;

/// When a byte last moved. Bytes that the peer sent count, and those that it made room for: what goes into the
/// buffer of the operating system at once says nothing of the peer.
#[derive(Debug)]
pub(super) struct Movement {
    start: Instant,
    /// Milliseconds since the start.
    last: AtomicU64,
    rung: Notify,
}

impl Movement {
    fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), last: AtomicU64::new(0), rung: Notify::new() })
    }

    fn note(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
        self.rung.notify_one();
    }

    /// The moment of the last one; at first that of the opening.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Waits for the next one. For one task.
    pub(super) async fn next(&self) {
        self.rung.notified().await;
    }
}

/// A stream with an eye on it.
pub(super) struct Watched<S> {
    stream: S,
    movement: Arc<Movement>,
    /// What is held for the peer is taken from this.
    budget: Budget,
    /// Since when bytes wait to be written, and when that is looked at next.
    blocked: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Watched<S> {
    /// Writing fails with [`ErrorKind::TimedOut`] after too much silence.
    pub(super) fn new(stream: S, budget: Budget) -> Self {
        Self { stream, movement: Movement::new(), budget, blocked: None }
    }

    pub(super) fn movement(&self) -> Arc<Movement> {
        Arc::clone(&self.movement)
    }

    fn after_write<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            if self.blocked.take().is_some() {
                self.movement.note();
            }
            return polled;
        }
        let (since, sleep) = self.blocked.get_or_insert_with(|| {
            let now = Instant::now();
            (now, Box::pin(sleep_until(now + SHORT_SILENCE_MAX)))
        });
        while sleep.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let deadline = self.movement.last().max(*since) + PEER_SILENCE_MAX;
            // What the peer sends makes no room.
            let is_wanted = self.budget.is_short() && *since + SHORT_SILENCE_MAX <= now;
            if deadline <= now || is_wanted {
                return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the peer takes no bytes")));
            }
            sleep.as_mut().reset(deadline.min(now + SHORT_SILENCE_MAX));
        }
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.movement.note();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.after_write(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.after_write(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{advance, sleep};

    use super::*;

    const PATIENCE: Duration = PEER_SILENCE_MAX;

    fn enough() -> Budget {
        Budget::process(u64::MAX)
    }

    #[tokio::test(start_paused = true)]
    async fn while_memory_is_short_a_peer_must_take_what_is_held_for_it() {
        for is_short in [false, true] {
            let (near, mut far) = duplex(64);
            let budget = Budget::process(1_000);
            let _held = budget.take_anyway(if is_short { 751 } else { 750 });
            let (mut reader, mut writer) = tokio::io::split(Watched::new(near, budget));
            let start = Instant::now();
            let talking = async {
                loop {
                    // That is alive, and holds up others all the same.
                    far.write_all(b"x").await.expect("sends");
                    reader.read_u8().await.expect("a byte");
                    sleep(Duration::from_secs(1)).await;
                }
            };
            let ended = tokio::select! {
                written = writer.write_all(&[0; 1_000]) => Some(written.expect_err("the peer takes nothing")),
                () = talking => unreachable!(),
                () = sleep(PATIENCE * 2) => None,
            };
            assert_eq!(ended.is_some(), is_short);
            if is_short {
                assert_eq!(start.elapsed(), SHORT_SILENCE_MAX);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_peer_is_waited_for_and_a_silent_one_is_not() {
        let (near, mut far) = duplex(64);
        let mut near = Watched::new(near, enough());
        let start = Instant::now();
        let reading = async {
            let mut byte = [0; 1];
            for _ in 0..20 {
                sleep(PATIENCE - Duration::from_secs(1)).await;
                far.read_exact(&mut byte).await.expect("a byte");
            }
            let silent = Instant::now();
            std::future::pending::<()>().await;
            drop(far);
            silent
        };
        let writing = near.write_all(&[0; 1_000]);
        let error = tokio::select! {
            written = writing => written.expect_err("the peer stops"),
            _ = reading => unreachable!(),
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let taken = start.elapsed();
        assert!(taken >= PATIENCE * 20 && taken <= PATIENCE * 21, "{taken:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_peer_sends_is_a_sign_of_life_of_a_writer_too() {
        let (near, mut far) = duplex(64);
        let (mut reader, mut writer) = tokio::io::split(Watched::new(near, enough()));
        let start = Instant::now();
        let talking = async {
            for _ in 0..5 {
                sleep(PATIENCE / 2).await;
                far.write_all(b"x").await.expect("sends");
            }
            std::future::pending::<()>().await;
        };
        let reading = async {
            let mut byte = [0; 1];
            loop {
                reader.read_exact(&mut byte).await.expect("a byte");
            }
        };
        let error = tokio::select! {
            written = writer.write_all(&[0; 1_000]) => written.expect_err("the peer takes nothing"),
            () = talking => unreachable!(),
            () = reading => unreachable!(),
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= PATIENCE * 3, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_the_peer_does_is_movement() {
        let (near, mut far) = duplex(64);
        let mut near = Watched::new(near, enough());
        let (movement, start) = (near.movement(), Instant::now());
        advance(Duration::from_secs(1)).await;
        near.write_all(&[0; 64]).await.expect("there is room");
        assert_eq!(movement.last(), start, "the room was there before");
        let (written, ()) = tokio::join!(near.write_all(&[0; 8]), async {
            sleep(Duration::from_secs(1)).await;
            far.read_exact(&mut [0; 8]).await.expect("bytes");
        });
        written.expect("there is room again");
        assert_eq!(movement.last(), start + Duration::from_secs(2));
        far.write_all(b"x").await.expect("sends");
        advance(Duration::from_secs(1)).await;
        near.read_u8().await.expect("a byte");
        assert_eq!(movement.last(), start + Duration::from_secs(3));
        movement.next().await;
    }
}
