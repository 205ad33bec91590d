//! Events as JSON texts, in which a commit goes to SQLite whole. Used by the logs of Workers; pure.

use std::fmt::Write as _;

use livestore_sync_protocol::EventRow;

/// Size of one text of events, in bytes. D1 takes 2,000,000 bytes a value.
pub(super) const DOCUMENT_BYTES_MAX: usize = 1_900_000;

/// What one statement appends.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// Events as a JSON text of at most [`DOCUMENT_BYTES_MAX`], for [`insert_document`](super::insert_document).
    Document(String),
    /// An event that no such text has room for, because escaping a JSON text inside a JSON text may double it: its
    /// columns, for [`insert_row`](super::insert_row). Each of them fits, as an event has at most `EVENT_BYTES_MAX`.
    Row(EventRow<'a>),
}

/// The events of a commit, in order. A document is an array of rows, in the order of the columns. `args` are in it as a
/// string and not as JSON, because SQLite would write JSON its own way, and clients get `args` back byte for byte.
pub(crate) fn parts<'a>(rows: impl IntoIterator<Item = EventRow<'a>>) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    let (mut document, mut item) = (String::new(), String::new());
    for row in rows {
        item.clear();
        render(&row, &mut item);
        let alone = item.len() + 2 > DOCUMENT_BYTES_MAX;
        if alone || document.len() + item.len() + 2 > DOCUMENT_BYTES_MAX {
            close(&mut document, &mut parts);
        }
        if alone {
            parts.push(Part::Row(row));
            continue;
        }
        document.push(if document.is_empty() { '[' } else { ',' });
        document.push_str(&item);
    }
    close(&mut document, &mut parts);
    parts
}

fn close(document: &mut String, parts: &mut Vec<Part<'_>>) {
    if !document.is_empty() {
        document.push(']');
        parts.push(Part::Document(std::mem::take(document)));
    }
}

fn render(row: &EventRow<'_>, out: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(out, "[{},{}", row.seq_num, row.parent_seq_num);
    for text in [Some(row.name), row.args, Some(row.created_at), Some(row.client_id), Some(row.session_id)] {
        out.push(',');
        match text {
            Some(text) => out.push_str(&serde_json::to_string(text).expect("text has a JSON form")),
            None => out.push_str("null"),
        }
    }
    out.push(']');
}
