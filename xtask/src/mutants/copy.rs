//! A copy of the workspace's sources, kept up to date: only what has changed is written, so that what was built of the
//! copy stays built. Called by `mutants`.

use std::fs;
use std::path::Path;

use crate::run::Result;

/// What no build needs.
const LEFT_OUT: [&str; 6] = [".git", ".wrangler", "build", "data", "node_modules", "target"];

/// Makes one folder like another, and leaves out `without` and what no build needs.
pub(super) fn update(from: &Path, to: &Path, without: &Path) -> Result {
    let failed = |error| format!("cannot copy {} to {}: {error}", from.display(), to.display());
    fs::create_dir_all(to).map_err(failed)?;
    let mut names = Vec::new();
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, name) = (entry.path(), entry.file_name());
        if path == without || name.to_str().is_some_and(|name| LEFT_OUT.contains(&name)) {
            continue;
        }
        let copy = to.join(&name);
        if path.is_dir() {
            update(&path, &copy, without)?;
        } else {
            let text = fs::read(&path).map_err(failed)?;
            if fs::read(&copy).ok().as_ref() != Some(&text) {
                fs::write(&copy, text).map_err(failed)?;
            }
        }
        names.push(name);
    }
    for entry in fs::read_dir(to).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !names.contains(&entry.file_name()) {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::update;

    #[test]
    fn only_what_has_changed_is_written() {
        let folder = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        let (from, to) = (folder.join("from"), folder.join("to"));
        fs::create_dir_all(from.join("a/target")).unwrap();
        fs::create_dir_all(from.join("out")).unwrap();
        for (name, text) in [("a/b", "1"), ("a/target/c", "2"), ("d", "3"), ("out/e", "4")] {
            fs::write(from.join(name), text).unwrap();
        }
        update(&from, &to, &from.join("out")).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b")).unwrap(), "1");
        assert!(!to.join("a/target").exists() && !to.join("out").exists());

        let old = SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(to.join("d")).unwrap().set_modified(old).unwrap();
        fs::write(from.join("a/b"), "5").unwrap();
        fs::write(to.join("stray"), "").unwrap();
        update(&from, &to, &from.join("out")).unwrap();
        assert_eq!(fs::read_to_string(to.join("a/b")).unwrap(), "5");
        assert_eq!(fs::metadata(to.join("d")).unwrap().modified().unwrap(), old);
        assert!(!to.join("stray").exists());
        fs::remove_dir_all(folder).unwrap();
    }
}
