//! When bytes last moved on a connection. A time limit is for silence: a link on which bytes move is slow, not dead.
//! Called by `net`, which counts, and by `link` and `http`, which look.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::connection::Moved;

/// So many bytes are progress; fewer may be a ping and its answer, which a server may send while it has lost a push.
const PROGRESS_BYTES_MIN: usize = 512;

/// What moved on one connection, or on all that a link has opened.
#[derive(Debug)]
pub(super) struct Activity {
    /// What times are counted from.
    start: Instant,
    marks: Mutex<Marks>,
}

#[derive(Debug)]
struct Marks {
    moved: Moved,
    /// Bytes since the last progress.
    bytes: usize,
}

impl Activity {
    pub(super) fn new(start: Instant) -> Arc<Self> {
        let now = start.elapsed();
        let moved = Moved { any: now, progress: now };
        Arc::new(Self { start, marks: Mutex::new(Marks { moved, bytes: 0 }) })
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        // A few plain values, each set at once.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn moved(&self) -> Moved {
        self.marks().moved
    }

    fn note(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let now = self.start.elapsed();
        let mut marks = self.marks();
        marks.moved.any = now;
        marks.bytes += bytes;
        if marks.bytes >= PROGRESS_BYTES_MIN {
            (marks.bytes, marks.moved.progress) = (0, now);
        }
    }

    /// Ends once nothing has moved for so long, counted from now on.
    pub(super) async fn silence(&self, limit: Duration) {
        let mut since = self.start.elapsed();
        loop {
            tokio::time::sleep_until(self.start + since + limit).await;
            match self.moved().any {
                any if any > since => since = any,
                _ => return,
            }
        }
    }
}

/// A stream of bytes that are counted.
#[derive(Debug)]
pub(super) struct Counted<T> {
    stream: T,
    activity: Arc<Activity>,
}

impl<T> Counted<T> {
    pub(super) fn new(stream: T, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    fn count(&self, result: io::Result<usize>) -> io::Result<usize> {
        result.inspect(|bytes| self.activity.note(*bytes))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.activity.note(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(self.count(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, bytes));
        Poll::Ready(self.count(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_in_either_direction_are_activity_and_many_are_progress() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let activity = Activity::new(start);
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let mut near = Counted::new(near, Arc::clone(&activity));
        tokio::time::sleep(second).await;
        assert_eq!(activity.moved(), Moved { any: Duration::ZERO, progress: Duration::ZERO });
        near.write_all(&[0; PROGRESS_BYTES_MIN - 1]).await.unwrap();
        assert_eq!(activity.moved(), Moved { any: second, progress: Duration::ZERO });
        tokio::time::sleep(second).await;
        far.write_all(&[0]).await.unwrap();
        near.read_u8().await.unwrap();
        assert_eq!(activity.moved(), Moved { any: 2 * second, progress: 2 * second });
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_counted_from_the_last_byte() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let activity = Activity::new(start);
        tokio::time::sleep(100 * second).await;
        let bytes = async {
            for _ in 0..5 {
                tokio::time::sleep(2 * second).await;
                activity.note(1);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = activity.silence(3 * second) => {}
            () = bytes => {}
        }
        assert_eq!(start.elapsed(), (100 + 10 + 3) * second);
    }
}
