//! The data folder: one process per folder, files that only their owner may read, and whether they are still
//! there. Knows files and nothing of SQLite. Taken when a file is opened, held by its writer's thread.
//!
//! SQLite itself lets several processes share a file, and appends would stay correct. But a server publishes only
//! what it commits itself: clients of one process would not see live what those of another push.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::OpenError;

/// In the folder, beside the data file: where 0.3 clients stand. The native server's.
pub(crate) const CLIENTS_FILE_NAME: &str = "clients-0.3.json";

/// Held while a process serves from a data folder. The operating system releases it when the
/// process ends, also after a crash.
pub(super) struct FolderLock {
    _file: File,
    /// The folder itself, where the system locks folders: the file may be removed.
    _folder: Option<File>,
}

impl FolderLock {
    pub(super) fn acquire(folder: &Path) -> Result<Self, OpenError> {
        let path = || folder.display().to_string();
        let failed = |source| OpenError::Folder { path: path(), source };
        make_folder(folder).map_err(failed)?;
        let file = open_private(&folder.join("livestore-sync.lock")).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse { path: path() }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let opened = File::open(folder).ok();
        match opened.as_ref().map(File::try_lock) {
            Some(Err(TryLockError::WouldBlock)) => Err(OpenError::InUse { path: path() }),
            Some(Ok(())) => Ok(Self { _file: file, _folder: opened }),
            Some(Err(TryLockError::Error(_))) | None => Ok(Self { _file: file, _folder: None }),
        }
    }
}

/// Makes a folder for its owner alone. One that is there stays as it is.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Opens a file for writing, and makes it, for its owner alone, where it does not exist. What SQLite makes beside
/// a file, it makes with the same permissions.
pub(crate) fn open_private(path: &Path) -> io::Result<File> {
    private().create(true).truncate(false).open(path)
}

/// Makes a file for its owner alone that must not exist.
pub(super) fn make_private(path: &Path) -> io::Result<File> {
    private().create_new(true).open(path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.write(true);
    options
}

/// Makes durable that a file has its name. Where a system has no such thing, the name is as durable as it gets.
pub(crate) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Says so where other users of the machine can read the events: in a folder that an earlier version made.
pub(super) fn warn_if_open_to_others(folder: &Path, file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let others = |path: &Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
        if others(folder) && others(file) {
            tracing::warn!("other users of this machine may read {}: chmod 700 {0}", folder.display());
        }
    }
    #[cfg(not(unix))]
    let _ = (folder, file);
}

/// The file was removed or replaced while it is open: what is written now goes to a file that nobody will find.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{path} was removed or replaced while it is in use: nothing is stored until the server is started again")]
pub(super) struct Gone {
    path: String,
}

/// Files that SQLite has open, and by what they are known again.
pub(super) struct OpenFiles(Vec<(PathBuf, Identity)>);

#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = ();

impl OpenFiles {
    /// A data file and what SQLite keeps beside it.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let files = ["", "-wal", "-shm"].map(|suffix| beside(path, suffix));
        files.into_iter().map(|file| Ok((file.clone(), identity(&file)?))).collect::<io::Result<_>>().map(Self)
    }

    /// Whether all of them are still where they were.
    pub(super) fn check(&self) -> Result<(), Gone> {
        let is_there = |(path, known): &&(PathBuf, Identity)| identity(path).is_ok_and(|found| found == *known);
        match self.0.iter().find(|file| !is_there(file)) {
            Some((path, _)) => Err(Gone { path: path.display().to_string() }),
            None => Ok(()),
        }
    }
}

/// A file that SQLite keeps beside another.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(unix)]
fn identity(path: &Path) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(drop)
}
