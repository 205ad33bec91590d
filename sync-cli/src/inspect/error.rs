//! Why `inspect` ends early, in words for people. Every room of the command uses it.

use std::path::{Path, PathBuf};

use super::text;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "found no database of a sync server: there is no .wrangler/state in {} or above it, and no {}. \
         Start a server first, or say where to look with --path", shown(.folder), shown(.data)
    )]
    NothingHere { folder: PathBuf, data: PathBuf },
    #[error("found no database of a sync server in {}", shown(.0))]
    NothingThere(PathBuf),
    #[error("cannot read {}: {source}", shown(.path))]
    Path { path: PathBuf, source: std::io::Error },
    #[error("{} is not a SQLite database", shown(.0))]
    NotADatabase(PathBuf),
    #[error("{} is a SQLite database, but holds no LiveStore events", shown(.0))]
    NoEvents(PathBuf),
    #[error("cannot read {}: {source}", shown(.path))]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("{} kept changing while it was read; try again", shown(.0))]
    Unsteady(PathBuf),
    #[error("there is no store {:?}{}", .store, those_known(.known))]
    NoSuchStore { store: String, known: Vec<String> },
    #[error("there are {} stores {:?}; choose one with --path:{}", .files.len(), .store, lines(.files))]
    SeveralStores { store: String, files: Vec<PathBuf> },
    #[error("the events of store {:?} cannot be read: {problem}", .store)]
    NoTable { store: String, problem: String },
    #[error("{} is gone", shown(.0))]
    Gone(PathBuf),
    /// Nobody reads the output any more.
    #[error("the output is closed")]
    Closed,
    #[error("cannot write: {0}")]
    Output(std::io::Error),
}

impl Error {
    pub(super) fn path(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Path { path: path.into(), source }
    }

    pub(super) fn database(path: &Path) -> impl FnOnce(rusqlite::Error) -> Self {
        |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::NotADatabase(path.into()),
            _ => Self::Database { path: path.into(), source },
        }
    }

    /// Whether SQLite found the file to be damaged.
    pub(super) fn is_corrupt(&self) -> bool {
        matches!(self, Self::Database { source, .. }
            if source.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe { Self::Closed } else { Self::Output(error) }
    }
}

/// Stores that an error names; more are counted.
const STORES_NAMED_MAX: usize = 20;

fn shown(path: &Path) -> String {
    text::safe(&path.display().to_string())
}

fn those_known(stores: &[String]) -> String {
    if stores.is_empty() {
        return "; there are none yet".into();
    }
    let named: Vec<_> = stores.iter().take(STORES_NAMED_MAX).map(|store| format!("{store:?}")).collect();
    let more = match stores.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; there are: {}{more}", named.join(", "))
}

fn lines(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("\n  --path {}", shown(file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_stores_come_with_those_that_exist() {
        let error = |count: usize| {
            let known = (0..count).map(|n| format!("s{n}")).collect();
            Error::NoSuchStore { store: "x\u{1b}".into(), known }.to_string()
        };
        assert_eq!(error(0), r#"there is no store "x\u{1b}"; there are none yet"#);
        assert_eq!(error(2), r#"there is no store "x\u{1b}"; there are: "s0", "s1""#);
        assert!(error(STORES_NAMED_MAX).ends_with(r#""s19""#));
        assert!(error(STORES_NAMED_MAX + 1).ends_with(r#""s19" and 1 more"#));
    }

    #[test]
    fn several_stores_come_with_what_to_type() {
        let files = vec!["a.sqlite".into(), "b.sqlite".into()];
        assert_eq!(
            Error::SeveralStores { store: "s".into(), files }.to_string(),
            "there are 2 stores \"s\"; choose one with --path:\n  --path a.sqlite\n  --path b.sqlite"
        );
    }
}
