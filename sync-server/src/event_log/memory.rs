//! The log in memory, for tests and trials. What it refuses, and when, is what the databases do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use livestore_sync_protocol::{ChunkBuilder, Event, EventRow, ItemFormat, PulledEvent, SeqNum};

use super::{AppendError, EventLog, Head, LogError, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, Page};
use crate::Batch;

/// A log that is gone with the process: for tests and trials.
#[derive(Debug)]
pub struct MemoryLog {
    backend_id: Arc<str>,
    rows: Mutex<Vec<(Event, Arc<Batch>)>>,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(backend_id: &str) -> Self {
        Self { backend_id: backend_id.into(), rows: Mutex::default() }
    }

    /// Forgets the events above this one, as a backup that is put back does.
    #[cfg(test)]
    pub(crate) fn truncate(&self, last: SeqNum) {
        self.rows().retain(|(event, _)| event.seq_num <= last);
    }

    fn rows(&self) -> MutexGuard<'_, Vec<(Event, Arc<Batch>)>> {
        // Rows are only ever added whole, so a panic elsewhere leaves them usable.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn above(rows: &[(Event, Arc<Batch>)], after: SeqNum) -> &[(Event, Arc<Batch>)] {
    &rows[rows.partition_point(|(event, _)| event.seq_num <= after)..]
}

fn head(rows: &[(Event, Arc<Batch>)]) -> Head {
    let last = rows.last().map_or(SeqNum::ROOT, |(event, _)| event.seq_num);
    Head::new(last, last.get().unsigned_abs() - rows.len() as u64)
}

fn numbers(batches: &[Arc<Batch>]) -> impl Iterator<Item = SeqNum> {
    batches.iter().flat_map(|batch| batch.events()).map(|event| event.seq_num)
}

impl EventLog for MemoryLog {
    async fn backend_id(&self) -> Result<Arc<str>, LogError> {
        Ok(Arc::clone(&self.backend_id))
    }

    async fn head(&self) -> Result<Head, LogError> {
        Ok(head(&self.rows()))
    }

    async fn append(&self, expected: Head, batches: Vec<Arc<Batch>>) -> Result<(), AppendError> {
        let mut rows = self.rows();
        if head(&rows).seq_num != expected.seq_num {
            return Err(AppendError::HeadMoved);
        }
        // What a database's primary key refuses.
        if !numbers(&batches).is_sorted_by(|left, right| left < right) {
            return Err(LogError::nothing_stored("a sequence number comes twice").into());
        }
        for batch in batches {
            rows.extend(batch.events().iter().map(|event| (event.clone(), Arc::clone(&batch))));
        }
        Ok(())
    }

    async fn read(&self, after: SeqNum, format: ItemFormat) -> Result<Page, LogError> {
        let rows = self.rows();
        let rows = above(&rows, after);
        let mut builder = ChunkBuilder::new(format);
        let mut read = 0;
        for (event, batch) in rows.iter().take(PAGE_EVENTS_MAX as usize) {
            if builder.bytes() >= PAGE_BYTES_MAX {
                break;
            }
            builder.push(&EventRow::new(event, batch.created_at()));
            read += 1;
        }
        Ok(Page::new(builder.finish(), read < rows.len()))
    }

    async fn events(&self, after: SeqNum, last: SeqNum, limit: u32) -> Result<Vec<PulledEvent>, LogError> {
        let rows = self.rows();
        let events = above(&rows, after).iter().take_while(|(event, _)| event.seq_num <= last).take(limit as usize);
        Ok(events
            .map(|(event, batch)| PulledEvent { event: event.clone(), created_at: Some(batch.created_at().into()) })
            .collect())
    }

    async fn count(&self, after: SeqNum) -> Result<u64, LogError> {
        Ok(above(&self.rows(), after).len() as u64)
    }
}
