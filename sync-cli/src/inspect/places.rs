//! Which files may be databases of a sync server.

use std::fs;
use std::path::{Path, PathBuf};

use livestore_sync_server::event_log::SqliteFile;

use super::error::Error;
use crate::cli::{DATA_DEFAULT, DATA_VARIABLE};

/// Folders that are entered, one in another: from a project to wrangler's objects it takes five.
const DEPTH_MAX: u32 = 6;

/// Files to open, and what follows if none of them is of a sync server.
pub(super) struct Places {
    pub(super) files: Vec<PathBuf>,
    pub(super) asked: Asked,
}

/// What was asked for.
pub(super) enum Asked {
    /// This file and no other.
    File(PathBuf),
    /// Whatever is in this folder.
    Folder(PathBuf),
    /// What usual places have.
    Usual { folder: PathBuf, data: PathBuf },
}

/// Where a database comes from, as far as its path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A local D1 database of wrangler.
    D1,
    /// The SQLite of a Durable Object of wrangler.
    Object,
    /// The native server's data file.
    Native,
    /// Any other place.
    File,
}

impl Kind {
    pub(super) fn of(path: &Path) -> Self {
        let folder = path.parent();
        let is_called =
            |path: Option<&Path>, name: &str| path.and_then(Path::file_name).is_some_and(|found| found == name);
        if is_called(Some(path), SqliteFile::FILE_NAME) {
            Self::Native
        } else if is_called(folder, "miniflare-D1DatabaseObject") {
            Self::D1
        } else if is_called(folder.and_then(Path::parent), "do") {
            Self::Object
        } else {
            Self::File
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::D1 => "d1",
            Self::Object => "object",
            Self::Native => "native",
            Self::File => "file",
        }
    }
}

/// The files at the path, or at the usual places.
pub(super) fn find(path: Option<&Path>) -> Result<Places, Error> {
    let mut files = Vec::new();
    let asked = match path {
        Some(path) if fs::metadata(path).map_err(Error::path(path))?.is_dir() => {
            collect(path, 0, &mut files).map_err(Error::path(path))?;
            Asked::Folder(path.into())
        }
        Some(path) => {
            files.push(path.into());
            Asked::File(path.into())
        }
        None => {
            let folder = std::env::current_dir().map_err(Error::path(Path::new(".")))?;
            let data = std::env::var_os(DATA_VARIABLE).map_or_else(|| DATA_DEFAULT.into(), PathBuf::from);
            for found in usual(&folder, &data).into_iter().filter(|found| found.is_dir()) {
                collect(&found, 0, &mut files).map_err(Error::path(&found))?;
            }
            Asked::Usual { folder, data }
        }
    };
    files.sort();
    Ok(Places { files, asked })
}

/// Wrangler's state that is nearest, going up from a folder, and the native server's data.
fn usual(folder: &Path, data: &Path) -> Vec<PathBuf> {
    let state = Path::new(".wrangler").join("state");
    let above = folder.ancestors().map(|ancestor| ancestor.join(&state)).find(|found| found.is_dir());
    // What is in this folder is shown as people would type it.
    let state = above.map(|found| if found == folder.join(&state) { state } else { found });
    let data = data.strip_prefix(".").unwrap_or(data);
    state.into_iter().chain([data.into()]).collect()
}

fn collect(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    for child in fs::read_dir(folder)? {
        let child = child?;
        let child_name = child.file_name();
        let child_name = child_name.to_string_lossy();
        // Follows links; what has gone meanwhile is neither.
        let path = child.path();
        if path.is_dir() {
            if depth < DEPTH_MAX && leads_to_databases(&name, &child_name) {
                collect(&path, depth + 1, files)?;
            }
        } else if may_be_database(&child_name) {
            files.push(path);
        }
    }
    Ok(())
}

/// Whether a folder's child is on the way to databases: `.wrangler/state/v3/{d1,do}/…`, or `data`.
fn leads_to_databases(folder: &str, child: &str) -> bool {
    matches!(child, ".wrangler" | "state" | "v3" | "d1" | "do" | "data") || matches!(folder, "d1" | "do")
}

/// Whether a file is called like a database of wrangler or of the native server. Wrangler keeps books
/// of its own in `metadata.sqlite`.
fn may_be_database(name: &str) -> bool {
    name == SqliteFile::FILE_NAME || (name.ends_with(".sqlite") && name != "metadata.sqlite")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_what_wrote_a_file() {
        for (path, kind) in [
            (".wrangler/state/v3/d1/miniflare-D1DatabaseObject/a36f.sqlite", Kind::D1),
            (".wrangler/state/v3/do/livestore-sync-WebSocketServer/0b9b.sqlite", Kind::Object),
            ("data/livestore-sync.db", Kind::Native),
            ("livestore-sync.db", Kind::Native),
            ("backup.sqlite", Kind::File),
            ("do/backup.sqlite", Kind::File),
        ] {
            assert_eq!(Kind::of(Path::new(path)), kind, "{path}");
        }
    }

    #[test]
    fn folders_are_entered_only_towards_databases() {
        for (folder, child, enters) in [
            ("app", ".wrangler", true),
            (".wrangler", "state", true),
            ("state", "v3", true),
            ("v3", "d1", true),
            ("v3", "do", true),
            ("d1", "miniflare-D1DatabaseObject", true),
            ("do", "worker-Class", true),
            ("app", "data", true),
            ("", "node_modules", false),
            ("v3", "cache", false),
            ("v3", "r2", false),
            (".wrangler", "tmp", false),
        ] {
            assert_eq!(leads_to_databases(folder, child), enters, "{folder}/{child}");
        }
    }

    #[test]
    fn books_of_wrangler_are_no_candidates() {
        for (name, may_be) in [
            ("a36f.sqlite", true),
            ("livestore-sync.db", true),
            ("metadata.sqlite", false),
            ("a36f.sqlite-wal", false),
            ("a36f.sqlite-shm", false),
            ("livestore-sync.lock", false),
        ] {
            assert_eq!(may_be_database(name), may_be, "{name}");
        }
    }
}
