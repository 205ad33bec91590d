//! Copies of a data file, while a server writes to it, and putting one back. Called by apps and by the commands
//! `backup` and `restore`; opens connections of its own and holds the folder's lock only to put a copy back.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::folder::{CLIENTS_FILE_NAME, FolderLock, beside, make_private, sync_folder};
use super::{OpenError, SqliteFile, Synchronous, no_temporary_files, schema};

/// Why a data file is not copied or put back. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is something of that name. Nothing is overwritten.
    #[error("{0} exists already")]
    Exists(String),
    /// A file cannot be read, made or moved.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// SQLite refuses a file.
    #[error("{path}: {source}")]
    Database {
        /// The file.
        path: String,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file is no data file of this server.
    #[error("{0} is no data file of this server")]
    NoDataFile(String),
    /// SQLite finds the copy damaged, as what it was made from is.
    #[error("{path} is damaged: {finding}")]
    Damaged {
        /// The copy.
        path: String,
        /// The first thing that SQLite found.
        finding: String,
    },
    /// The folder is in use, or the file is of a newer release.
    #[error(transparent)]
    Open(#[from] OpenError),
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    |source| match source.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists(path.display().to_string()),
        _ => BackupError::File { path: path.display().to_string(), source },
    }
}

fn database_error(path: &Path) -> impl Fn(rusqlite::Error) -> BackupError {
    |source| BackupError::Database { path: path.display().to_string(), source }
}

impl SqliteFile {
    /// Copies the data file of a folder to a new file, whether or not a server writes to it meanwhile: the copy is
    /// what the file held at one moment.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; a copy that SQLite finds damaged is kept.
    pub fn backup(folder: &Path, to: &Path) -> Result<(), BackupError> {
        // Takes the name. The copy has another until it is whole.
        make_private(to).map_err(file_error(to))?;
        let part = beside(to, ".part");
        let copied = copy(&folder.join(Self::FILE_NAME), &part)
            .and_then(|()| fs::rename(&part, to).map_err(file_error(to)))
            .and_then(|()| sync_folder(to).map_err(file_error(to)));
        match copied {
            Ok(()) => check(to),
            Err(error) => {
                // An empty file and a part of one: nothing that anybody wants.
                let _ = (fs::remove_file(&part), fs::remove_file(to));
                Err(error)
            }
        }
    }

    /// Puts a copy into a folder that no server uses. All stores get new backend ids, so that clients that know
    /// events which the copy does not have notice. What was there is moved into a folder beside it, which is
    /// returned.
    ///
    /// # Errors
    ///
    /// [`BackupError`]; the folder's data is then as it was.
    pub fn restore(backup: &Path, folder: &Path) -> Result<Option<PathBuf>, BackupError> {
        let _lock = FolderLock::acquire(folder)?;
        let new = folder.join("livestore-sync.db.restoring");
        // Of an attempt that was interrupted.
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(&new, suffix));
        }
        let restored = copy(backup, &new).and_then(|()| check(&new)).and_then(|()| begin_anew(&new));
        if let Err(error) = restored {
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        let replaced = move_aside(folder)?;
        let path = folder.join(Self::FILE_NAME);
        fs::rename(&new, &path).map_err(file_error(&path))?;
        sync_folder(&path).map_err(file_error(folder))?;
        Ok(replaced)
    }
}

/// One read transaction, so that writers neither wait nor make it begin again.
fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let failed = database_error(from);
    let connection =
        Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(&failed)?;
    no_temporary_files(&connection).map_err(&failed)?;
    if !connection.table_exists(None, "livestore_stores").map_err(&failed)? {
        return Err(BackupError::NoDataFile(from.display().to_string()));
    }
    // SQLite fills an empty file, and no other.
    let file = make_private(to).map_err(file_error(to))?;
    let name = to.to_str().ok_or_else(|| file_error(to)(io::ErrorKind::InvalidFilename.into()))?;
    connection.execute("VACUUM INTO ?1", [name]).map_err(&failed)?;
    file.sync_all().map_err(file_error(to))
}

/// Whether SQLite finds the file whole.
fn check(path: &Path) -> Result<(), BackupError> {
    let failed = database_error(path);
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(&failed)?;
    let finding: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(&failed)?;
    if finding == "ok" { Ok(()) } else { Err(BackupError::Damaged { path: path.display().to_string(), finding }) }
}

/// Gives every store another backend id, those without events as well.
fn begin_anew(path: &Path) -> Result<(), BackupError> {
    let failed = database_error(path);
    let mut connection = schema::open(path, Synchronous::Full)?;
    let give_ids = |connection: &mut Connection| {
        let transaction = connection.transaction()?;
        transaction.execute_batch(
            "UPDATE stores SET backend_id = lower(hex(randomblob(11)));
             UPDATE livestore_stores SET backend_id = lower(hex(randomblob(11)));
             UPDATE livestore_meta SET value = hex(randomblob(16)) WHERE name = 'secret';
             DELETE FROM empty_stores;",
        )?;
        transaction.commit()?;
        // All of it into the one file.
        connection.pragma_update(None, "journal_mode", "DELETE")
    };
    give_ids(&mut connection).map_err(&failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(file_error(path))
}

/// Moves the data that is there into a folder of its own. The data file goes first: without it the rest is nothing.
fn move_aside(folder: &Path) -> Result<Option<PathBuf>, BackupError> {
    let path = folder.join(SqliteFile::FILE_NAME);
    let mut files = ["", "-wal", "-shm"].map(|suffix| beside(&path, suffix)).to_vec();
    files.push(folder.join(CLIENTS_FILE_NAME));
    files.retain(|file| file.exists());
    if files.is_empty() {
        return Ok(None);
    }
    let mut names = (1..).map(|number| folder.join(format!("replaced-{number}")));
    let aside = names.find(|name| !name.exists()).expect("there is always another name");
    super::folder::make_folder(&aside).map_err(file_error(&aside))?;
    for file in files {
        let to = aside.join(file.file_name().unwrap_or_default());
        fs::rename(&file, &to).map_err(file_error(&file))?;
    }
    Ok(Some(aside))
}
