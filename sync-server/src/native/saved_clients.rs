//! What is known of 0.3 clients, in a file. It is written a moment after it changes, so that it
//! survives a crash.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, Notify};

use crate::host::continuation::SavedClients;

/// Beside the data file.
const FILE_NAME: &str = "clients-0.3.json";

pub(super) struct ClientsFile {
    path: PathBuf,
    /// What the last server left, until its store is opened.
    left: std::sync::Mutex<HashMap<String, SavedClients>>,
    writing: Mutex<()>,
    /// Told of each change.
    pub(super) changed: Arc<Notify>,
}

impl ClientsFile {
    pub(super) fn open(folder: &Path) -> Self {
        let path = folder.join(FILE_NAME);
        let left = match std::fs::read(&path).map(|json| serde_json::from_slice(&json)) {
            Ok(Ok(left)) => left,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashMap::new(),
            unreadable => {
                let error = unreadable.map_or_else(|error| error.to_string(), |json| format!("{:?}", json.err()));
                tracing::warn!(error, "cannot read {}: 0.3 clients that reconnect may miss events", path.display());
                HashMap::new()
            }
        };
        Self { path, left: std::sync::Mutex::new(left), writing: Mutex::default(), changed: Arc::default() }
    }

    /// What the last server left of a store. It stays here, and in the file, until [`taken_over`](Self::taken_over):
    /// the store may fail to open.
    pub(super) fn left(&self, store_id: &str) -> SavedClients {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).get(store_id).cloned().unwrap_or_default()
    }

    /// The store is open, and says from here on what is known of its clients.
    pub(super) fn taken_over(&self, store_id: &str) {
        let taken = self.left.lock().unwrap_or_else(PoisonError::into_inner).remove(store_id);
        if taken.is_some() {
            self.changed.notify_one();
        }
    }

    /// Writes what is known: of the open stores, and what the last server left of the others.
    /// Returns whether that worked.
    pub(super) async fn save(&self, mut open: HashMap<&str, SavedClients>) -> bool {
        let _writing = self.writing.lock().await;
        open.retain(|_, clients| !clients.is_empty());
        let json = {
            let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let left = left.iter().map(|(id, clients)| (id.as_str(), clients));
            let all: HashMap<_, _> = left.chain(open.iter().map(|(id, clients)| (*id, clients))).collect();
            serde_json::to_vec(&all).expect("clients have a JSON form")
        };
        let written = replace(&self.path, json).await;
        if let Err(error) = &written {
            tracing::warn!(%error, "cannot write {}: 0.3 clients may miss events after a restart", self.path.display());
        }
        written.is_ok()
    }
}

/// Writes a file so that there is always the old one or the new one.
async fn replace(path: &Path, contents: Vec<u8>) -> std::io::Result<()> {
    let new = path.with_extension("json.new");
    tokio::fs::write(&new, contents).await?;
    tokio::fs::rename(&new, path).await
}
