//! Reads: a pool of connections that only read. Runs on tokio's threads for blocking work, never on the writer's.
//! What is read is in `rows`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::super::LogError;
use super::rows::ReadError;

/// Connections that only read. With a write-ahead log they see the last commit and neither wait for the writer
/// nor delay it. There is a fixed number of them, open from the start, so that a burst of pulls neither fails for
/// want of file descriptors nor leaves anything behind; who finds all in use waits for its turn.
pub(super) struct Readers {
    path: PathBuf,
    /// As many permits as there are connections. First come, first served.
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
    /// Shared while a connection reads; alone while all have to wait.
    gate: RwLock<()>,
}

/// More would not help: SQLite renders as fast as a core can, and a page is short work.
const READERS_MAX: usize = 4;
const READERS_MIN: usize = 2;

/// Statements that a connection keeps prepared: a few for each of the tables that are read most.
const STATEMENTS_MAX: usize = 64;

/// What a connection keeps of the file, in KiB.
const CACHE_KIB: i64 = 2_000;

impl Readers {
    pub(super) fn open(path: PathBuf) -> rusqlite::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(READERS_MIN, std::num::NonZero::get);
        let count = cores.clamp(READERS_MIN, READERS_MAX);
        let readers =
            Self { path, turns: Arc::new(Semaphore::new(count)), idle: Mutex::default(), gate: RwLock::default() };
        let idle = (0..count).map(|_| readers.connect()).collect::<rusqlite::Result<_>>()?;
        Ok(Self { idle: Mutex::new(idle), ..readers })
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        super::no_temporary_files(&connection)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // Opens all of its files.
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))?;
        Ok(connection)
    }

    /// Reads with one of the connections.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, LogError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(LogError::nothing_stored)?;
        let readers = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || {
            // Its caller may be gone before it is.
            let _turn = turn;
            readers.with(read)
        });
        reading.await.map_err(LogError::nothing_stored)?.map_err(LogError::from)
    }

    pub(super) fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let _shared = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let pooled = idle().pop();
        // There is one for each turn, unless a read has panicked.
        let connection = pooled.map_or_else(|| self.connect(), Ok)?;
        let result = read(&connection);
        idle().push(connection);
        result
    }

    /// Runs something while nothing is read. Reads that begin meanwhile wait.
    pub(super) fn paused<T>(&self, run: impl FnOnce() -> T) -> T {
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        run()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_burst_of_reads_shares_a_few_connections() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        Connection::open(&path).expect("opens").pragma_update(None, "journal_mode", "WAL").expect("a file");
        let readers = Arc::new(Readers::open(path).expect("opens"));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let reads = (0..200).map(|_| {
            let (readers, running, most) = (Arc::clone(&readers), Arc::clone(&running), Arc::clone(&most));
            tokio::spawn(async move {
                let read = move |connection: &Connection| {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let one = connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0))?;
                    running.fetch_sub(1, Ordering::SeqCst);
                    Ok(one)
                };
                readers.read(read).await
            })
        });
        for read in reads.collect::<Vec<_>>() {
            assert_eq!(read.await.expect("ends").expect("reads"), 1);
        }
        assert!((1..=READERS_MAX).contains(&most.load(Ordering::SeqCst)), "{most:?} at once");
        let idle = readers.idle.lock().expect("idle").len();
        assert!((READERS_MIN..=READERS_MAX).contains(&idle), "{idle} connections");
    }

    #[tokio::test]
    async fn a_read_that_panics_costs_nobody_its_turn() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.db");
        Connection::open(&path).expect("opens").pragma_update(None, "journal_mode", "WAL").expect("a file");
        let readers = Arc::new(Readers::open(path).expect("opens"));
        for _ in 0..2 * READERS_MAX {
            readers.read::<()>(|_| panic!("as planned")).await.expect_err("it panicked");
        }
        readers.read(|_| Ok(())).await.expect("reads");
    }
}
