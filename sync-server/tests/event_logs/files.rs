//! The files of a data folder: who may read them, what happens when they go, and copies of them.

use std::fs;
use std::path::Path;

use livestore_sync_server::event_log::{
    AppendError, BackupError, EventLog, Head, LogError, OpenError, SqliteFile, SqliteLog, Synchronous,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::sqlite::{append, batch, clients, open, store};

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[cfg(unix)]
#[tokio::test]
async fn data_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().expect("a folder");
    let folder = parent.path().join("a").join("data");
    let file = open(&folder).await;
    append(&store(&file, "s").await, batch("a", 0, 1)).await.expect("appends");
    let names: Vec<_> = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("a file").path()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in &names {
        assert_eq!(mode(name), 0o600, "{}", name.display());
    }
    assert_eq!(mode(&folder), 0o700);
    // What is there is left as it is: somebody may have reasons.
    drop(file);
    drop(open(&folder).await);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("opens it");
    let data = folder.join(SqliteFile::FILE_NAME);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o640)).expect("opens it");
    let _file = open(&folder).await;
    assert_eq!((mode(&folder), mode(&data)), (0o755, 0o640));
}

async fn expect_refused(log: &SqliteLog) {
    let error = append(log, batch("a", 1, 2)).await.expect_err("nothing may be acknowledged");
    assert!(matches!(&error, AppendError::Log(LogError::NothingStored(_))), "{error:?}");
    assert!(error.to_string().contains("removed or replaced"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn nothing_is_acknowledged_into_files_that_are_gone() {
    for name in ["livestore-sync.db", "livestore-sync.db-wal", "livestore-sync.db-shm"] {
        let folder = TempDir::new().expect("a folder");
        let file = open(folder.path()).await;
        let log = store(&file, "s").await;
        append(&log, batch("a", 0, 1)).await.expect("appends");
        let (path, aside) = (folder.path().join(name), folder.path().join("aside"));
        fs::rename(&path, &aside).expect("takes it away");
        expect_refused(&log).await;
        fs::copy(&aside, &path).expect("another one of that name");
        expect_refused(&log).await;
        fs::rename(&aside, &path).expect("puts it back");
        append(&log, batch("a", 1, 2)).await.expect("it is the one");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn an_emptied_folder_is_still_in_use() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    let log = store(&file, "s").await;
    append(&log, batch("a", 0, 1)).await.expect("appends");
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        fs::remove_file(entry.expect("a file").path()).expect("removes it");
    }
    expect_refused(&log).await;
    let second = SqliteFile::open(folder.path(), Synchronous::Off).map(drop);
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
}

#[tokio::test]
async fn a_backup_is_made_while_others_write() {
    let folder = TempDir::new().expect("a folder");
    let copy = folder.path().join("copy.db");
    let file = open(folder.path()).await;
    let log = store(&file, "s").await;
    append(&log, batch("a", 0, 2_000)).await.expect("appends");
    let (data, to) = (folder.path().to_owned(), copy.clone());
    let mut backup = tokio::task::spawn_blocking(move || SqliteFile::backup(&data, &to));
    let mut pushed = 2_000;
    loop {
        append(&log, batch("b", pushed, pushed + 1)).await.expect("writers go on");
        pushed += 1;
        if backup.is_finished() {
            break;
        }
    }
    (&mut backup).await.expect("ends").expect("copies");
    let events: i64 = Connection::open(&copy)
        .expect("opens")
        .query_row("SELECT MAX(seqNum) FROM events", [], |row| row.get(0))
        .expect("reads");
    assert!((2_000..=pushed).contains(&events), "{events} of {pushed}");
    #[cfg(unix)]
    assert_eq!(mode(&copy), 0o600);
    let before = fs::read(&copy).expect("reads");
    assert!(matches!(SqliteFile::backup(folder.path(), &copy), Err(BackupError::Exists(_))));
    assert_eq!(fs::read(&copy).expect("reads"), before);
    // Without a server, too.
    drop((log, file));
    drop(open(folder.path()).await);
    let second = folder.path().join("second.db");
    SqliteFile::backup(folder.path(), &second).expect("copies");
    let nothing = TempDir::new().expect("a folder");
    SqliteFile::backup(nothing.path(), &nothing.path().join("x")).expect_err("there is nothing");
    assert_eq!(fs::read_dir(nothing.path()).expect("a folder").count(), 0, "and nothing is left behind");
}

#[tokio::test]
async fn what_is_restored_is_another_log() {
    let folder = TempDir::new().expect("a folder");
    let copy = folder.path().join("copy.db");
    let file = open(folder.path()).await;
    let (log, empty) = (store(&file, "s").await, store(&file, "empty").await);
    let ids = [log.backend_id().await.expect("an id"), empty.backend_id().await.expect("an id")];
    append(&log, batch("a", 0, 5)).await.expect("appends");
    SqliteFile::backup(folder.path(), &copy).expect("copies");
    append(&log, batch("lost", 5, 9)).await.expect("appends");
    let refused = SqliteFile::restore(&copy, folder.path());
    assert!(matches!(refused, Err(BackupError::Open(OpenError::InUse { .. }))), "{refused:?}");
    assert_eq!(clients(&log).await.len(), 9);
    drop((log, empty, file));
    drop(open(folder.path()).await);
    let backup = fs::read(&copy).expect("reads");
    for round in 1..=2 {
        let replaced = loop {
            match SqliteFile::restore(&copy, folder.path()) {
                // Its last owner has let go, but the writer takes a moment.
                Err(BackupError::Open(OpenError::InUse { .. })) => tokio::task::yield_now().await,
                restored => break restored.expect("restores").expect("there was something"),
            }
        };
        assert_eq!(replaced, folder.path().join(format!("replaced-{round}")));
        let file = open(folder.path()).await;
        let (log, empty) = (store(&file, "s").await, store(&file, "empty").await);
        assert_ne!(log.backend_id().await.expect("an id"), ids[0]);
        assert_ne!(empty.backend_id().await.expect("an id"), ids[1]);
        assert_eq!(clients(&log).await, ["a"; 5]);
        append(&log, batch("b", 5, 6)).await.expect("it goes on");
        drop((log, empty, file));
        drop(open(folder.path()).await);
    }
    assert_eq!(fs::read(&copy).expect("reads"), backup, "it can be used again");
    // What was there is not lost.
    let old = folder.path().join("old");
    fs::rename(folder.path().join("replaced-1"), &old).expect("moves");
    assert_eq!(clients(&store(&open(&old).await, "s").await).await.len(), 9);
    let elsewhere = folder.path().join("elsewhere");
    assert_eq!(SqliteFile::restore(&copy, &elsewhere).expect("restores"), None);
    assert_eq!(clients(&store(&open(&elsewhere).await, "s").await).await.len(), 5);
}

#[tokio::test]
async fn only_whole_copies_are_restored() {
    let folder = TempDir::new().expect("a folder");
    let file = open(folder.path()).await;
    append(&store(&file, "s").await, batch("a", 0, 3_000)).await.expect("appends");
    let copy = folder.path().join("copy.db");
    SqliteFile::backup(folder.path(), &copy).expect("copies");
    let whole = fs::read(&copy).expect("reads");
    let to = folder.path().join("to");
    let refused = |contents: &[u8]| {
        fs::write(&copy, contents).expect("writes");
        SqliteFile::restore(&copy, &to).expect_err("it is not whole")
    };
    refused(&whole[..whole.len() / 2]);
    let mut damaged = whole.clone();
    damaged[whole.len() / 2..whole.len() / 2 + 4_096].fill(0);
    refused(&damaged);
    refused(b"");
    refused(
        b"not a database, though long enough for its header, which has a hundred bytes, as everybody knows who ...",
    );
    assert!(!to.join(SqliteFile::FILE_NAME).exists());
    fs::write(&copy, &whole).expect("writes");
    SqliteFile::restore(&copy, &to).expect("restores");
    let file = open(&to).await;
    assert_eq!(store(&file, "s").await.head().await.expect("a head"), Head::new(super::sqlite::seq(3_000), 0));
}
