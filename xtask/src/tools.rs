//! Tools that are Rust programs, at versions of their own or at those that Cargo.lock decides. Called by the steps that
//! run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Result, cargo, root, run, target};

struct Tool {
    package: &'static str,
    program: &'static str,
    version: Version,
    /// Whether its own lock file is used to build it.
    locked: bool,
}

enum Version {
    /// That of a library in Cargo.lock, which the tool belongs to.
    Of(&'static str),
    Exactly(&'static str),
}

const WORKER_BUILD: Tool =
    Tool { package: "worker-build", program: "worker-build", version: Version::Of("worker"), locked: true };

/// Without its lock file: that may name versions that a registry does not have yet.
const WASM_BINDGEN: Tool =
    Tool { package: "wasm-bindgen-cli", program: "wasm-bindgen", version: Version::Of("wasm-bindgen"), locked: false };

const CARGO_DENY: Tool =
    Tool { package: "cargo-deny", program: "cargo-deny", version: Version::Exactly("0.20.2"), locked: true };

pub(crate) fn worker_build() -> Result<PathBuf> {
    WORKER_BUILD.get()
}

pub(crate) fn wasm_bindgen() -> Result<PathBuf> {
    WASM_BINDGEN.get()
}

pub(crate) fn cargo_deny() -> Result<PathBuf> {
    CARGO_DENY.get()
}

impl Tool {
    /// Where it is, installed if it is not there at the right version.
    fn get(&self) -> Result<PathBuf> {
        let version = match self.version {
            Version::Of(library) => locked_version(&read_lock()?, library)?,
            Version::Exactly(version) => version.into(),
        };
        let folder = target().join("tools");
        let own = folder.join("bin").join(self.program).with_extension(std::env::consts::EXE_EXTENSION);
        let cargos = cargo_home().map(|home| home.join("bin").join(self.program));
        let candidates = [Some(own.clone()), Some(self.program.into()), cargos];
        if let Some(found) = candidates.into_iter().flatten().find(|path| has_version(path, &version)) {
            return Ok(found);
        }
        run(&mut self.install(&folder, &version)).map_err(|error| {
            format!(
                "{error}\n{} {version} is missing and cannot be installed; a registry of crates must be in reach. \
                 Or put {} {version} on the PATH.",
                self.package, self.program
            )
        })?;
        if has_version(&own, &version) { Ok(own) } else { Err(format!("{} is not {version}", own.display())) }
    }

    /// Without optimisation: building these takes longer than all that they do, and so twice as long.
    fn install(&self, folder: &Path, version: &str) -> Command {
        let mut install = cargo(&["install", self.package, "--version", &format!("={version}"), "--force", "--debug"]);
        install.args(["--config", "profile.dev.debug=false", "--bin", self.program]).arg("--root").arg(folder);
        // What they have in common is built once.
        install.arg("--target-dir").arg(folder.join("build"));
        if self.locked {
            install.arg("--locked");
        }
        install
    }
}

fn cargo_home() -> Option<PathBuf> {
    let home = std::env::home_dir().map(|home| home.join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home)
}

fn has_version(program: &Path, version: &str) -> bool {
    let printed = Command::new(program).arg("--version").output();
    let printed = printed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // `wasm-bindgen 0.2.1`, or only the version.
    printed.is_ok_and(|printed| printed.split_whitespace().any(|word| word == version))
}

fn read_lock() -> Result<String> {
    let path = root().join("Cargo.lock");
    fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The version of the one package of this name in a lock file.
fn locked_version(lock: &str, package: &str) -> Result<String> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while lines.any(|line| line == name) {
        let version = lines.next().and_then(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
        versions.extend(version);
    }
    match versions[..] {
        [version] => Ok(version.into()),
        [] => Err(format!("Cargo.lock does not have {package}")),
        _ => Err(format!("Cargo.lock has {package} more than once: {}", versions.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::locked_version;

    const LOCK: &str = "\
[[package]]
name = \"worker\"
version = \"0.8.7\"

[[package]]
name = \"worker-macros\"
version = \"0.8.8\"

[[package]]
name = \"twice\"
version = \"1.0.0\"

[[package]]
name = \"twice\"
version = \"2.0.0\"
";

    #[test]
    fn a_locked_version_is_the_only_one() {
        assert_eq!(locked_version(LOCK, "worker"), Ok("0.8.7".into()));
        assert!(locked_version(LOCK, "work").is_err());
        assert!(locked_version(LOCK, "twice").is_err());
    }
}
