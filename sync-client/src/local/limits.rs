//! How much fits into a push.

use livestore_sync_protocol::{Event, limits};

use super::error::CommitError;

/// Events in one push.
pub(crate) const BATCH_EVENTS_MAX: usize = limits::CHUNK_EVENTS_MAX;

/// Room beside the events: the store id and the connection's payload travel with them.
const ENVELOPE_BYTES_MAX: usize =
    limits::STORE_ID_BYTES_MAX + limits::PAYLOAD_BYTES_MAX + limits::CHUNK_ENVELOPE_BYTES_MAX;

/// Size of the events of one push, and so of one event.
pub(crate) const BATCH_BYTES_MAX: usize = limits::CHUNK_BYTES_MAX - ENVELOPE_BYTES_MAX;

/// What an event's members need beside their values, with numbers of any size and a date.
const EVENT_OVERHEAD: usize = 256;

/// A bound for the event's size on the wire.
pub(crate) fn size(event: &Event) -> usize {
    let texts = [&event.name, &event.client_id, &event.session_id];
    // Six bytes is the most that a character's escape takes, and only control characters need it.
    let texts: usize =
        texts.iter().map(|text| text.len() + 5 * text.bytes().filter(|b| needs_escape(*b)).count()).sum();
    event.args.as_json().len() + texts + EVENT_OVERHEAD
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

pub(crate) fn check(event: &Event) -> Result<(), CommitError> {
    let bytes = size(event);
    if bytes > BATCH_BYTES_MAX {
        return Err(CommitError::TooLarge { name: event.name.clone(), bytes, max: BATCH_BYTES_MAX });
    }
    Ok(())
}
