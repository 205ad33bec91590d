//! One process per data folder. Taken when a file is opened, held by its writer's thread; knows files and
//! nothing of SQLite.
//!
//! SQLite itself lets several processes share a file, and appends would stay correct. But a server publishes only
//! what it commits itself: clients of one process would not see live what those of another push.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::OpenError;

/// Held while a process serves from a data folder. The operating system releases it when the
/// process ends, also after a crash.
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub(super) fn acquire(folder: &Path) -> Result<Self, OpenError> {
        let path = || folder.display().to_string();
        let failed = |source| OpenError::Folder { path: path(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = File::create(folder.join("livestore-sync.lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}
