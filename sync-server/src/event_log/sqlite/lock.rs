use std::fs::{self, File, TryLockError};
use std::path::Path;

use super::OpenError;

/// Held while a process serves from a data folder. The operating system lets go of it when the
/// process ends, however it ends.
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
