//! A database that another process may have open: read as it changes, and left as it was.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};

use super::error::Error;
use super::{output, text};

/// How often one read begins again because the file changed meanwhile.
const REOPENS_MAX: u32 = 10;

/// A database, opened read-only.
pub(super) struct Database {
    path: PathBuf,
    connection: Connection,
    /// Set while SQLite takes the file for immutable.
    still: Option<Stamp>,
}

/// How SQLite shall read a file.
#[derive(Debug, PartialEq, Eq)]
enum Mode {
    /// With SQLite's locks, beside whoever writes.
    Shared,
    /// As it lies there.
    Still,
}

/// A database in WAL mode that nobody has open has no `-wal` file, and SQLite would make one, with a
/// `-shm` file, and leave both there. Such a file is read as it lies, and again if that changes.
fn mode(is_wal: bool, has_wal_file: bool) -> Mode {
    if is_wal && !has_wal_file { Mode::Still } else { Mode::Shared }
}

/// What changes when somebody opens or writes a file.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
    has_wal_file: bool,
}

impl Stamp {
    fn of(path: &Path) -> io::Result<Self> {
        let file = fs::metadata(path)?;
        Ok(Self { bytes: file.len(), modified: file.modified().ok(), has_wal_file: beside(path, "-wal").exists() })
    }
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let stamp = Stamp::of(path).map_err(Error::path(path))?;
        let is_wal = is_wal(path)?;
        let connection = match mode(is_wal, stamp.has_wal_file) {
            Mode::Shared => match open_shared(path) {
                // The `-shm` file is missing and cannot be made.
                Err(error) if is_wal && is_cannot_open(&error) => {
                    let name = text::safe(&path.display().to_string());
                    output::note(&format!(
                        "{name} was not closed by its last writer, and a file beside it cannot be made: \
                         what only {name}-wal has is not shown"
                    ));
                    open_still(path)
                }
                result => {
                    let connection = result.map_err(Error::database(path))?;
                    return Ok(Self { path: path.into(), connection, still: None });
                }
            },
            Mode::Still => open_still(path),
        };
        let connection = connection.map_err(Error::database(path))?;
        Ok(Self { path: path.into(), connection, still: Some(stamp) })
    }

    /// Reads, and begins again if the file turns out to have changed.
    pub(super) fn read<T>(&mut self, mut read: impl FnMut(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        for _ in 0..REOPENS_MAX {
            let result = read(&self.connection);
            match &self.still {
                Some(stamp) if Stamp::of(&self.path).map_err(Error::path(&self.path))? != *stamp => {
                    *self = Self::open(&self.path)?;
                }
                _ => return result.map_err(Error::database(&self.path)),
            }
        }
        Err(Error::Unsteady(self.path.clone()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Whether a file's header says that it is in WAL mode. An empty file is an empty database.
fn is_wal(path: &Path) -> Result<bool, Error> {
    let mut header = Vec::new();
    let file = File::open(path).map_err(Error::path(path))?;
    file.take(20).read_to_end(&mut header).map_err(Error::path(path))?;
    if !header.is_empty() && !header.starts_with(b"SQLite format 3\0") {
        return Err(Error::NotADatabase(path.into()));
    }
    Ok(header.get(18..20) == Some(&[2, 2]))
}

fn open_shared(path: &Path) -> rusqlite::Result<Connection> {
    probed(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

fn open_still(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    probed(Connection::open_with_flags(immutable_uri(path), flags)?)
}

/// SQLite touches a file when it is first read.
fn probed(connection: Connection) -> rusqlite::Result<Connection> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

fn is_cannot_open(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen)
}

fn immutable_uri(path: &Path) -> String {
    let mut uri = String::from("file:");
    if path.is_absolute() {
        // An empty authority; a drive's letter comes after a slash.
        uri.push_str(if cfg!(windows) { "///" } else { "//" });
    }
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(byte)),
            b':' if cfg!(windows) => uri.push(':'),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            byte => write!(uri, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    uri.push_str("?immutable=1");
    uri
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn writer(path: &Path) -> Connection {
        let connection = Connection::open(path).expect("opens");
        connection.pragma_update(None, "journal_mode", "WAL").expect("as workerd does");
        connection.execute_batch("CREATE TABLE IF NOT EXISTS t (n INTEGER)").expect("creates");
        connection
    }

    fn insert(writer: &Connection) {
        writer.execute("INSERT INTO t VALUES (1)", []).expect("nobody locks the writer out");
    }

    fn count(database: &mut Database) -> i64 {
        database.read(|connection| connection.query_row("SELECT count(*) FROM t", [], |row| row.get(0))).expect("reads")
    }

    fn names(folder: &TempDir) -> Vec<String> {
        let names = fs::read_dir(folder.path()).expect("a folder");
        let mut names: Vec<_> = names.map(|entry| entry.expect("a file").file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_closed_file_is_read_without_a_trace() {
        assert_eq!(mode(true, false), Mode::Still);
        assert_eq!(mode(true, true), Mode::Shared);
        assert_eq!(mode(false, false), Mode::Shared);
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("odd name?#%25.sqlite");
        insert(&writer(&path));
        let before = (names(&folder), fs::read(&path).expect("reads"));
        assert_eq!(before.0.len(), 1);
        let mut database = Database::open(&path).expect("opens");
        assert_eq!(count(&mut database), 1);
        drop(database);
        assert_eq!((names(&folder), fs::read(&path).expect("reads")), before);
    }

    #[test]
    fn writers_go_on_and_are_seen() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("a.sqlite");
        let first = writer(&path);
        insert(&first);
        let mut database = Database::open(&path).expect("opens");
        assert!(database.still.is_none());
        assert_eq!(count(&mut database), 1);
        insert(&first);
        assert_eq!(count(&mut database), 2);
        drop(first);
        insert(&writer(&path));
        assert_eq!(count(&mut database), 3);
    }

    #[test]
    fn a_file_that_is_opened_by_a_writer_meanwhile_is_read_anew() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("a.sqlite");
        insert(&writer(&path));
        let mut database = Database::open(&path).expect("opens");
        assert_eq!(count(&mut database), 1);
        assert!(database.still.is_some());
        let second = writer(&path);
        insert(&second);
        assert_eq!(count(&mut database), 2);
        assert!(database.still.is_none());
        insert(&second);
        assert_eq!(count(&mut database), 3);
        // Again, by a writer that has come and gone.
        drop((second, database));
        writer(&path).execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpoints");
        let mut database = Database::open(&path).expect("opens");
        assert_eq!(count(&mut database), 3);
        insert(&writer(&path));
        assert_eq!(count(&mut database), 4);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_whose_shm_cannot_be_made_is_read_without_its_wal() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("a.sqlite");
        let writer = writer(&path);
        insert(&writer);
        writer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("checkpoints");
        insert(&writer);
        let copy = folder.path().join("b.sqlite");
        fs::copy(&path, &copy).expect("copies");
        fs::copy(beside(&path, "-wal"), beside(&copy, "-wal")).expect("copies");
        // Permissions do not hold root up, this does: SQLite follows no links here.
        std::os::unix::fs::symlink("nowhere", beside(&copy, "-shm")).expect("a link");
        assert_eq!(count(&mut Database::open(&copy).expect("opens")), 1);
        fs::remove_file(beside(&copy, "-shm")).expect("removes");
        assert_eq!(count(&mut Database::open(&copy).expect("opens")), 2);
    }

    #[test]
    fn other_journals_are_fine() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("a.sqlite");
        let writer = writer(&path);
        writer.pragma_update(None, "journal_mode", "DELETE").expect("changes");
        insert(&writer);
        let mut database = Database::open(&path).expect("opens");
        assert!(database.still.is_none());
        assert_eq!(count(&mut database), 1);
        insert(&writer);
        assert_eq!(count(&mut database), 2);
        drop((writer, database));
        assert_eq!(names(&folder), ["a.sqlite"]);
    }

    #[test]
    fn other_files_are_no_databases() {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("a.sqlite");
        assert!(matches!(Database::open(&path), Err(Error::Path { .. })));
        fs::write(&path, "not a database, though long enough for its header").expect("writes");
        assert!(matches!(Database::open(&path), Err(Error::NotADatabase(_))));
        fs::write(&path, "SQLite format 3\0 not a database, though it begins like one").expect("writes");
        assert!(matches!(Database::open(&path), Err(Error::NotADatabase(_) | Error::Database { .. })));
        fs::write(&path, "").expect("writes");
        assert!(Database::open(&path).is_ok(), "SQLite's empty database");
    }
}
