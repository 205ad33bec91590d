//! Log lines on their way to stderr. What is logged must never hold up or end what it is about: lines go into a queue
//! that never blocks, and one thread writes them. Whatever does not get through (a disk that is full, a reader that is
//! gone or does not read) is dropped and counted, and the count is written once writing works again. `main` starts it,
//! and lets it finish.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written ...
const LINES_WAITING_MAX: usize = 1_024;
/// ... and their bytes.
const BYTES_WAITING_MAX: usize = 1024 * 1024;

/// How long the last lines may take when the process ends.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

enum Item {
    Line(Vec<u8>),
    /// Let go of when everything before it is written.
    Finish(#[expect(dead_code, reason = "it is dropped, which the other end notices")] SyncSender<()>),
}

/// The queue. Clones share it.
#[derive(Clone)]
pub(crate) struct Log {
    items: SyncSender<Item>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Log {
    /// Starts the thread that writes to stderr.
    pub(crate) fn start() -> Self {
        let (log, items) = Self::new();
        let waiting = Arc::clone(&log.waiting);
        let run = move || run(&items, &waiting, io::stderr());
        // Without a thread nothing is logged, and everything else goes on.
        let _ = std::thread::Builder::new().name("log".into()).spawn(run);
        log
    }

    fn new() -> (Self, Receiver<Item>) {
        let (items, receiver) = sync_channel(LINES_WAITING_MAX);
        (Self { items, waiting: Arc::default() }, receiver)
    }

    /// Queues a line, or drops it.
    pub(crate) fn line(&self, line: Vec<u8>) {
        let bytes = line.len();
        let waiting = self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
        if waiting + bytes > BYTES_WAITING_MAX || self.items.try_send(Item::Line(line)).is_err() {
            self.waiting.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.waiting.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is written, if that is possible.
    pub(crate) fn finish(&self) {
        let (done, written) = sync_channel::<()>(0);
        if self.items.try_send(Item::Finish(done)).is_ok() {
            // Nothing is ever sent: the channel ends.
            let _: Result<(), RecvTimeoutError> = written.recv_timeout(FINISH_TIMEOUT);
        }
    }
}

/// Writes lines until no log is left.
fn run(items: &Receiver<Item>, waiting: &Waiting, mut to: impl Write) {
    for item in items {
        let Item::Line(line) = item else { continue };
        waiting.bytes.fetch_sub(line.len(), Ordering::Relaxed);
        let dropped = waiting.dropped.swap(0, Ordering::Relaxed);
        let mut text = String::new();
        if dropped > 0 {
            // A string takes everything.
            let _ = writeln!(text, "livestore-sync: {dropped} log lines were dropped, which could not be written");
        }
        if to.write_all(text.as_bytes()).and_then(|()| to.write_all(&line)).is_err() {
            waiting.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
        }
    }
}

/// A line that is being written.
pub(crate) struct Line<'a> {
    log: &'a Log,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.log.line(std::mem::take(&mut self.text));
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { log: self, text: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Takes so many writes, then none until it is repaired.
    struct Flaky<'a> {
        written: &'a Mutex<String>,
        works: &'a Mutex<Vec<bool>>,
    }

    impl Write for Flaky<'_> {
        fn write(&mut self, part: &[u8]) -> io::Result<usize> {
            if self.works.lock().unwrap().pop() == Some(false) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().unwrap().push_str(std::str::from_utf8(part).unwrap());
            Ok(part.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(log: Log, items: &Receiver<Item>, mut works: Vec<bool>) -> String {
        works.reverse();
        let (written, works, waiting) = (Mutex::default(), Mutex::new(works), Arc::clone(&log.waiting));
        drop(log);
        run(items, &waiting, Flaky { written: &written, works: &works });
        assert_eq!(waiting.bytes.load(Ordering::Relaxed), 0);
        written.into_inner().unwrap()
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_later() {
        let (log, items) = Log::new();
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            write!(log.make_writer(), "{line}").unwrap();
        }
        let text = written(log, &items, vec![true, false, false, true, true]);
        assert_eq!(text, "a\nlivestore-sync: 2 log lines were dropped, which could not be written\nd\n");
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let (log, items) = Log::new();
        (0..LINES_WAITING_MAX + 3).for_each(|_| log.line(b"x\n".to_vec()));
        assert!(written(log, &items, vec![]).starts_with("livestore-sync: 3 log lines were dropped"));
        let (log, items) = Log::new();
        log.line(vec![b'x'; BYTES_WAITING_MAX]);
        log.line(b"y".to_vec());
        let text = written(log, &items, vec![]);
        assert!(text.starts_with("livestore-sync: 1 log lines were dropped") && text.ends_with('x'));
    }
}
