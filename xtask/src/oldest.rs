//! The oldest Rust that is supported, where it is installed. Called by `tiers` and by hand.
//!
//! Elsewhere it is kept by clippy, whose lint `incompatible_msrv` knows since when the standard library has what, and by
//! the resolver, which takes no dependency that wants a newer Rust; both go by `rust-version` in Cargo.toml.

use std::process::Command;

use crate::manifest;
use crate::run::{Result, command, output, run, target};

pub(crate) fn oldest() -> Result {
    let version = version(&manifest::read("")?).ok_or("Cargo.toml has no rust-version")?;
    let installed = output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    let Some(toolchain) = toolchain(&installed, &version) else {
        println!("oldest: Rust {version} is not installed, so nothing was built with it");
        return Ok(());
    };
    // Not with the cargo of another toolchain, which this program may have been started by.
    let mut check = command("rustup", &["run", toolchain, "cargo", "check", "--workspace", "--locked"]);
    check.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    run(check.arg("--target-dir").arg(target().join("oldest")))
}

fn version(manifest: &str) -> Option<String> {
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    version.map(str::to_owned)
}

/// The toolchain of this version, of a list of rustup.
fn toolchain<'a>(installed: &'a str, version: &str) -> Option<&'a str> {
    let names = installed.lines().filter_map(|line| line.split(' ').next());
    names.into_iter().find(|name| name.strip_prefix(version).is_some_and(|rest| rest.starts_with(['-', '.'])))
}

#[cfg(test)]
mod tests {
    use super::{toolchain, version};

    #[test]
    fn the_oldest_is_looked_up() {
        assert_eq!(version("[workspace.package]\nrust-version = \"1.90\"\n"), Some("1.90".into()));
        let installed = "stable-x (active, default)\n1.9.0-x\n1.90.1-x\n1.95.0-x\n";
        assert_eq!(toolchain(installed, "1.90"), Some("1.90.1-x"));
        assert_eq!(toolchain(installed, "1.91"), None);
    }
}
