//! Where the commands write: tables on a terminal, NDJSON in a pipe. The only room that touches stdout.

use std::io::{self, BufWriter, IsTerminal, Write};

use super::error::Error;
use super::text;

/// How things are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Table,
    Json,
}

/// Standard output, and who is at its other end.
pub(crate) struct Output {
    writer: Box<dyn Write>,
    terminal: bool,
    pub(super) style: Style,
    /// Columns of the terminal, if it is one.
    pub(super) width: Option<usize>,
}

impl Output {
    /// Tables for people and JSON for programs, unless a style is asked for.
    pub(crate) fn stdout(style: Option<Style>) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0));
        let usual = if terminal { Style::Table } else { Style::Json };
        let writer = Box::new(BufWriter::new(stdout.lock()));
        Self { writer, terminal, style: style.unwrap_or(usual), width: width.filter(|_| terminal) }
    }

    /// One line of a table; its cells are [`text::safe`] already.
    pub(super) fn line(&mut self, line: &str) -> Result<(), Error> {
        Ok(writeln!(self.writer, "{}", line.trim_end())?)
    }

    /// One JSON value on a line of its own.
    pub(crate) fn json(&mut self, json: &str) -> Result<(), Error> {
        if self.terminal {
            Ok(writeln!(self.writer, "{}", text::safe_json(json))?)
        } else {
            Ok(writeln!(self.writer, "{json}")?)
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        Ok(self.writer.flush()?)
    }
}

/// Tells people something beside the output.
pub(crate) fn note(text: &str) {
    // If nobody reads it, nobody misses it.
    let _ = writeln!(io::stderr(), "livestore-sync: {text}");
}
