//! What is published at once.

use std::sync::{Arc, OnceLock};

use livestore_sync_protocol::{Chunk, ChunkBuilder, ItemFormat, SeqNum};

use super::{Batch, Origin};

/// Events that are in the log: those of one push, or of several that follow each other.
#[derive(Debug)]
pub(crate) struct Committed {
    /// At least one, ascending.
    batches: Vec<Arc<Batch>>,
    /// The log's identity.
    pub(crate) backend_id: Arc<str>,
    /// Whose push this is, if it is one that is still to be acknowledged.
    pub(crate) origin: Option<Origin>,
    v03: OnceLock<Vec<Chunk>>,
    rpc: OnceLock<Vec<Chunk>>,
}

impl Committed {
    pub(crate) fn new(batch: Arc<Batch>, backend_id: Arc<str>, origin: Option<Origin>) -> Self {
        Self { batches: vec![batch], backend_id, origin, v03: OnceLock::new(), rpc: OnceLock::new() }
    }

    /// Adds the batch that follows, before anybody has asked for the chunks.
    pub(crate) fn push(&mut self, batch: Arc<Batch>) {
        debug_assert!(self.v03.get().is_none() && self.rpc.get().is_none(), "nobody has seen it");
        self.batches.push(batch);
    }

    /// Whether it is a single push.
    pub(crate) fn is_single(&self) -> bool {
        self.batches.len() == 1
    }

    /// Size of what an event log stores of it, about.
    pub(crate) fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes()).sum()
    }

    /// The first event's number.
    #[cfg(test)]
    pub(crate) fn first(&self) -> SeqNum {
        self.batches[0].events()[0].seq_num
    }

    /// The last event's number.
    pub(crate) fn last(&self) -> SeqNum {
        self.batches.last().map_or(SeqNum::ROOT, |batch| batch.last())
    }

    /// The events as chunks for the wire; rendered once, however many receive them.
    pub(crate) fn chunks(&self, format: ItemFormat) -> &[Chunk] {
        let cell = match format {
            ItemFormat::V03 => &self.v03,
            ItemFormat::Rpc => &self.rpc,
        };
        cell.get_or_init(|| {
            let mut builder = ChunkBuilder::new(format);
            self.batches.iter().flat_map(|batch| batch.rows()).for_each(|row| builder.push(&row));
            builder.finish()
        })
    }
}
