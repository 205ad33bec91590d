//! Events as JSON texts, in which a commit goes to SQLite whole. Used by the logs of Workers; pure.

use std::fmt::Write as _;

use livestore_sync_protocol::EventRow;

/// Size of one text of events, in bytes. D1 takes 2,000,000 bytes a value. An event always fits: it has at
/// most `EVENT_BYTES_MAX`, 900,000 bytes, and escaping a JSON text inside a JSON text at most doubles it.
pub(super) const DOCUMENT_BYTES_MAX: usize = 1_900_000;

/// Events as JSON texts for [`insert_document`](super::insert_document), each of at most
/// [`DOCUMENT_BYTES_MAX`]: an array of rows, in the order of the columns. `args` are in it as a string and not
/// as JSON, because SQLite would write JSON its own way, and clients get `args` back byte for byte.
#[derive(Default)]
pub(crate) struct Documents {
    done: Vec<String>,
    current: String,
    row: String,
}

impl Documents {
    /// Adds an event to the last text, or to a new one if it is full.
    pub(crate) fn push(&mut self, row: &EventRow<'_>) {
        self.row.clear();
        // Writing to a string does not fail.
        let _ = write!(self.row, "[{},{}", row.seq_num, row.parent_seq_num);
        for text in [Some(row.name), row.args, Some(row.created_at), Some(row.client_id), Some(row.session_id)] {
            self.row.push(',');
            match text {
                Some(text) => self.row.push_str(&serde_json::to_string(text).expect("text has a JSON form")),
                None => self.row.push_str("null"),
            }
        }
        self.row.push(']');
        if !self.current.is_empty() && self.current.len() + self.row.len() + 2 > DOCUMENT_BYTES_MAX {
            self.close();
        }
        self.current.push(if self.current.is_empty() { '[' } else { ',' });
        self.current.push_str(&self.row);
    }

    fn close(&mut self) {
        if !self.current.is_empty() {
            self.current.push(']');
            self.done.push(std::mem::take(&mut self.current));
        }
    }

    /// The texts; none if there are no events.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.close();
        self.done
    }
}
