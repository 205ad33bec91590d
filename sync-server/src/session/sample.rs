//! What the tests of sessions share.

use std::sync::Arc;

use livestore_sync_protocol::{Args, Chunk, Event, ItemFormat, RequestId, SeqNum};
use uuid::Uuid;

use super::{Outgoing, Session};
use crate::Batch;
use crate::event::{Committed, Origin};

pub(super) const ME: Uuid = Uuid::from_u128(1);
pub(super) const OTHER: Uuid = Uuid::from_u128(2);

pub(super) fn seq(number: i64) -> SeqNum {
    SeqNum::new(number).expect("a safe integer")
}

/// The events `parent + 1 ..= last`.
pub(super) fn batch(parent: i64, last: i64) -> Arc<Batch> {
    let event = |number| Event {
        name: "n".into(),
        args: Args::default(),
        seq_num: seq(number),
        parent_seq_num: seq(number - 1),
        client_id: "c".into(),
        session_id: "s".into(),
    };
    Arc::new(Batch::new((parent + 1..=last).map(event).collect(), "2026-11-21T00:14:31.259Z".into()))
}

pub(super) fn chunk(parent: i64, last: i64, format: ItemFormat) -> Chunk {
    let committed = committed(parent, last, None);
    let [chunk] = committed.chunks(format) else { panic!("one chunk of at most 100 small events") };
    chunk.clone()
}

pub(super) fn committed(parent: i64, last: i64, origin: Option<(Uuid, RequestId)>) -> Committed {
    let origin = origin.map(|(connection, request_id)| Origin { connection, request_id });
    Committed::new(batch(parent, last), "backend".into(), origin)
}

impl Session {
    pub(super) fn commit(&mut self, parent: i64, last: i64, origin: Option<(Uuid, RequestId)>) -> Vec<String> {
        let outgoing = self.handle_committed(&committed(parent, last, origin));
        let text = |outgoing| match outgoing {
            Outgoing::Text(frame) => Some(frame.into_text()),
            Outgoing::Ping(_) | Outgoing::Remember => None,
        };
        outgoing.into_iter().filter_map(text).collect()
    }
}
