//! Lost 0.3 connections over a restart. Kept only when the server is stopped in order: after a
//! crash nobody knows what had arrived, and an older position would do harm.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::resume::Entry;

/// Beside the data file.
const FILE_NAME: &str = "lost-connections.json";

/// By store id.
type Lost = HashMap<String, Vec<Entry>>;

pub(super) struct LostFile {
    path: PathBuf,
    lost: Mutex<Lost>,
}

impl LostFile {
    /// Reads what the last server left, and takes it away: it is true once.
    pub(super) fn open(folder: &std::path::Path) -> Self {
        let path = folder.join(FILE_NAME);
        let lost = std::fs::read(&path).ok().map(|json| serde_json::from_slice(&json)).transpose();
        let lost = lost.unwrap_or_else(|error| {
            tracing::warn!(%error, "0.3 clients that reconnect may miss events: cannot read what the last server left");
            None
        });
        if let Err(error) = std::fs::remove_file(&path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, "cannot remove {}", path.display());
        }
        Self { path, lost: Mutex::new(lost.unwrap_or_default()) }
    }

    /// What the last server left for a store.
    pub(super) fn take(&self, store_id: &str) -> Vec<Entry> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(store_id).unwrap_or_default()
    }

    /// Leaves for the next server what these stores have lost, and what nobody has asked for yet.
    pub(super) fn save(&self, stores: impl Iterator<Item = (String, Vec<Entry>)>) {
        let mut lost = std::mem::take(&mut *self.lost.lock().unwrap_or_else(PoisonError::into_inner));
        lost.extend(stores.filter(|(_, entries)| !entries.is_empty()));
        if lost.is_empty() {
            return;
        }
        let json = serde_json::to_vec(&lost).expect("entries have a JSON form");
        if let Err(error) = std::fs::write(&self.path, json) {
            tracing::warn!(%error, "0.3 clients that reconnect may miss events: cannot write {}", self.path.display());
        }
    }
}
