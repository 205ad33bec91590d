//! `livestore-sync backup` and `livestore-sync restore`: copies of the native server's data file. What they do to
//! files is the library's; what they say of the events is `inspect verify`'s.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use livestore_sync_server::event_log::{BackupError, SqliteFile};

use crate::cli::{DATA_DEFAULT, DATA_VARIABLE};
use crate::inspect::{self, note};

/// The exit code when a copy was made, but its events are not whole.
const EXIT_FAULT: u8 = 1;
/// The exit code when nothing was done; clap's, too.
const EXIT_FAILURE: u8 = 2;

/// Copy the data file, also while a server writes to it.
///
/// The copy is one file with all events of all stores, as they were at one moment. Nobody waits for it, and it
/// comes to an end however much is written meanwhile. It is checked: SQLite's own check, and that the events of
/// each store are one chain. Only its owner can read it. Run it on the machine of the server, as the same user.
///
/// Exit codes: 0, all is well; 1, there is a copy, but what it was made from is damaged; 2, there is none.
#[derive(Args)]
pub(crate) struct Backup {
    /// The copy; it must not exist
    #[arg(value_name = "DEST")]
    to: PathBuf,

    /// The server's data folder
    #[arg(long, env = DATA_VARIABLE, default_value = DATA_DEFAULT)]
    data: PathBuf,
}

/// Put a copy of the data file into a data folder that no server uses.
///
/// All stores get new backend ids, so that clients which know events that the copy does not have notice, instead
/// of going on with another history than everybody else. What was in the folder before is moved into a folder in
/// it.
///
/// Exit codes: 0, all is well; 1, it is put back, but its events are not whole; 2, nothing was changed.
#[derive(Args)]
pub(crate) struct Restore {
    /// What `backup` made
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,

    /// The data folder; made if it does not exist
    #[arg(long, env = DATA_VARIABLE, default_value = DATA_DEFAULT)]
    data: PathBuf,
}

impl Backup {
    pub(crate) fn run(self) -> ExitCode {
        match SqliteFile::backup(&self.data, &self.to) {
            Ok(()) => verified(&self.to, &format!("{} is a copy of {}", self.to.display(), self.data.display())),
            Err(error @ BackupError::Damaged { .. }) => failed(&error.to_string(), EXIT_FAULT),
            Err(error) => failed(&error.to_string(), EXIT_FAILURE),
        }
    }
}

impl Restore {
    pub(crate) fn run(self) -> ExitCode {
        match SqliteFile::restore(&self.backup, &self.data) {
            Ok(replaced) => {
                if let Some(replaced) = replaced {
                    note(&format!("what was in {} is in {}", self.data.display(), replaced.display()));
                }
                let done = format!("{} is in {}, with new backend ids", self.backup.display(), self.data.display());
                verified(&self.data.join(SqliteFile::FILE_NAME), &done)
            }
            Err(error) => failed(&error.to_string(), EXIT_FAILURE),
        }
    }
}

/// Looks at the chains of all stores.
fn verified(path: &Path, done: &str) -> ExitCode {
    match inspect::faults(path) {
        Ok(faults) if faults.is_empty() => {
            // Nobody may read it; the exit code says so, too.
            let _ = writeln!(std::io::stdout(), "{done}; all chains are whole");
            ExitCode::SUCCESS
        }
        Ok(faults) => {
            faults.iter().for_each(|fault| note(fault));
            failed(&format!("{done}, but not all of its chains are whole"), EXIT_FAULT)
        }
        Err(error) => failed(&format!("{done}, but cannot be checked: {error}"), EXIT_FAULT),
    }
}

fn failed(text: &str, code: u8) -> ExitCode {
    note(text);
    ExitCode::from(code)
}
