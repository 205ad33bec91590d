//! The engine's log goes to the console, which `wrangler dev` and `wrangler tail` show.

use std::cell::Cell;
use std::io::{self, Write};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use worker::{console_error, console_log, console_warn};

/// Logs from `INFO` on, unless the app has a subscriber of its own.
pub(super) fn install() {
    thread_local! { static INSTALLED: Cell<bool> = const { Cell::new(false) } }
    if INSTALLED.replace(true) {
        return;
    }
    // The console has the time.
    let subscriber = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(Console).finish();
    // An error means that the app has one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Console;

impl<'a> MakeWriter<'a> for Console {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { level: Level::INFO, text: Vec::new() }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line { level: *metadata.level(), text: Vec::new() }
    }
}

/// One entry: the console takes whole ones.
struct Line {
    level: Level,
    text: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        match self.level {
            Level::ERROR => console_error!("{}", text.trim_end()),
            Level::WARN => console_warn!("{}", text.trim_end()),
            _ => console_log!("{}", text.trim_end()),
        }
    }
}
