//! What is known of 0.3 clients, in a file. It is written a moment after it changes, so that it
//! survives a crash.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, Notify};

use crate::event_log::folder;
use crate::host::continuation::SavedClients;

/// The largest file that is written or read. It is written whole whenever something changes.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;

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
        let path = folder.join(folder::CLIENTS_FILE_NAME);
        let left = match read(&path) {
            Ok(left) => left,
            Err(error) if error.kind() == io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => {
                let error = error.to_string();
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
            to_json(left.chain(open.iter().map(|(id, clients)| (*id, clients))), FILE_BYTES_MAX)
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || replace(&path, &json)).await;
        let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
        if let Err(error) = &written {
            tracing::warn!(%error, "cannot write {}: 0.3 clients may miss events after a restart", self.path.display());
        }
        written.is_ok()
    }
}

fn read(path: &Path) -> io::Result<HashMap<String, SavedClients>> {
    let mut json = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut json)?;
    if json.len() > FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(serde_json::from_slice(&json)?)
}

/// The clients as one JSON value. Stores for which there is no more room are left out, and said to be.
fn to_json<'a>(stores: impl Iterator<Item = (&'a str, &'a SavedClients)>, bytes_max: usize) -> Vec<u8> {
    let mut json = b"{".to_vec();
    let mut left_out = 0;
    for (id, clients) in stores {
        let before = json.len();
        if before > 1 {
            json.push(b',');
        }
        // Writing to memory does not fail, and neither does what has a JSON form.
        let _ = serde_json::to_writer(&mut json, id);
        json.push(b':');
        let _ = serde_json::to_writer(&mut json, clients);
        if json.len() >= bytes_max {
            json.truncate(before);
            left_out += 1;
        }
    }
    json.push(b'}');
    if left_out > 0 {
        tracing::warn!(
            stores = left_out,
            "too many 0.3 clients to keep: those of some stores may miss events after a restart"
        );
    }
    json
}

/// Writes a file so that there is always the old one or the new one, also after a loss of power.
fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    // One that is left from before keeps neither its contents nor its permissions.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = folder::open_private(&new)?;
    file.write_all(contents)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    folder::sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_a_limit() {
        let clients = SavedClients::default();
        let stores = ["a", "b\"", "c"].map(|id| (id, &clients));
        let all = to_json(stores.into_iter(), usize::MAX);
        let ids = |json: &[u8]| {
            let read: HashMap<String, SavedClients> = serde_json::from_slice(json).expect("JSON");
            let mut ids: Vec<_> = read.into_keys().collect();
            ids.sort();
            ids
        };
        assert_eq!(ids(&all), ["a", "b\"", "c"]);
        let fits = to_json(stores.into_iter(), all.len());
        assert_eq!(fits, all);
        let less = to_json(stores.into_iter(), all.len() - 1);
        assert_eq!(ids(&less), ["a", "b\""]);
        assert!(less.len() < all.len());
        assert_eq!(to_json(stores.into_iter(), 1), b"{}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_is_its_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(folder::CLIENTS_FILE_NAME);
        for contents in [&b"{}"[..], b"{\"a\":{\"lost\":[],\"connected\":[]}}"] {
            // As a crash may leave it, and somebody else's.
            std::fs::write(path.with_extension("json.new"), "half of").expect("writes");
            replace(&path, contents).expect("writes");
            assert_eq!(std::fs::read(&path).expect("reads"), contents);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(read(&path).expect("reads").len(), 1);
        std::fs::write(&path, vec![b' '; FILE_BYTES_MAX + 1]).expect("writes");
        assert_eq!(read(&path).expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
    }
}
