//! The public API of each library as text, `api.txt` beside its Cargo.toml, so that a change of it is seen in review.
//! Called by `lint` and by hand. Broken links in the documentation fail here, too.
//!
//! rustdoc writes what it knows as JSON, and the package `xtask-api` turns that into text. The JSON is no stable output:
//! rustdoc has to be allowed to make it, and the form belongs to one version of Rust. With another one only the
//! documentation is checked.

use std::fs;
use std::process::{Command, ExitCode};

use crate::artifacts;
use crate::run::{Result, cargo, command, output, root, run, target};
use crate::setup::{self, WASM};

/// The Rust whose JSON `xtask-api` reads.
const RUST: &str = "1.95";

/// Set for the rustdoc that this program stands for.
const AS_RUSTDOC: &str = "XTASK_AS_RUSTDOC";

/// A snapshot: of which library, on which platform.
struct Snapshot {
    library: &'static str,
    file: &'static str,
    target: Option<&'static str>,
}

const SNAPSHOTS: [Snapshot; 4] = [
    Snapshot { library: "livestore_sync_protocol", file: "sync-protocol/api.txt", target: None },
    Snapshot { library: "livestore_sync_client", file: "sync-client/api.txt", target: None },
    Snapshot { library: "livestore_sync_server", file: "sync-server/api.txt", target: None },
    Snapshot { library: "livestore_sync_server", file: "sync-server/api-worker.txt", target: Some(WASM) },
];

const USAGE: &str = "cargo xtask api [--bless]";

pub(crate) fn api(arguments: &[String]) -> Result {
    match arguments {
        [] => compare(),
        [bless] if bless == "--bless" => each(|snapshot, api| {
            let path = root().join(snapshot.file);
            fs::write(&path, api).map_err(|error| format!("cannot write {}: {error}", path.display()))
        }),
        _ => Err(format!("usage: {USAGE}")),
    }
}

/// Fails where an API is not what its snapshot says.
pub(crate) fn compare() -> Result {
    let mut differences = String::new();
    each(|snapshot, api| {
        let expected = fs::read_to_string(root().join(snapshot.file)).unwrap_or_default();
        if expected != api {
            differences += &format!("\n{}:\n{}", snapshot.file, difference(&expected, api));
        }
        Ok(())
    })?;
    if differences.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the public API has changed; if it is meant, `cargo xtask api --bless`, and a word in the changelog{differences}"
    ))
}

/// Documents all libraries, and hands over each API as text.
fn each(mut take: impl FnMut(&Snapshot, &str) -> Result) -> Result {
    setup::wasm_target()?;
    let readable = is_readable(&output(&mut command("rustc", &["--version"]))?);
    // With what tests need of dependencies, as clippy has them built.
    document(&["--workspace", "--lib", "--bins", "--examples", "--features", FEATURES], readable)?;
    document(&["-p", "livestore-sync-server", "--all-features", "--target", WASM], readable)?;
    if !readable {
        println!("api: snapshots are made with Rust {RUST}; with this one they cannot be compared");
        return Ok(());
    }
    let programs = artifacts::build(&["build", "-p", "xtask-api"])?;
    let printer = programs.first().ok_or("xtask-api is no program")?;
    for snapshot in &SNAPSHOTS {
        let folder = target().join(snapshot.target.unwrap_or_default()).join("doc");
        let json = folder.join(snapshot.library).with_extension("json");
        take(snapshot, &output(Command::new(&printer.path).arg(json))?)?;
    }
    Ok(())
}

/// What is public only with a feature that is not a default one.
const FEATURES: &str = "livestore-sync-server/test-util";

fn document(what: &[&str], as_json: bool) -> Result {
    let mut document = cargo(&["doc", "--no-deps", "--locked"]);
    document.args(what).env("RUSTDOCFLAGS", "-D warnings");
    if as_json {
        let this = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        document.env("RUSTDOC", this).env(AS_RUSTDOC, "1");
        document.env("RUSTDOCFLAGS", "-D warnings -Z unstable-options --output-format json");
    }
    run(&mut document)
}

/// Stands for rustdoc, where cargo was told to: with its unstable options allowed, for it alone. If all of a build had
/// them allowed, build scripts would find another compiler than in other steps, and everything would be built again.
pub(crate) fn as_rustdoc() -> Option<ExitCode> {
    std::env::var_os(AS_RUSTDOC)?;
    let mut rustdoc = Command::new("rustdoc");
    let status = rustdoc.args(std::env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").status();
    Some(if status.is_ok_and(|status| status.success()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_readable(version: &str) -> bool {
    version.strip_prefix("rustc ").and_then(|rest| rest.strip_prefix(RUST)).is_some_and(|rest| rest.starts_with('.'))
}

/// Lines that only one of two texts has.
fn difference(before: &str, after: &str) -> String {
    let only = |mark, these: &str, others: &str| {
        let lines: Vec<_> = others.lines().collect();
        let lines = these.lines().filter(move |line| !lines.contains(line)).map(|line| format!("{mark} {line}\n"));
        lines.collect::<String>()
    };
    only('-', before, after) + &only('+', after, before)
}

#[cfg(test)]
mod tests {
    use super::{difference, is_readable};

    #[test]
    fn differences_are_lines_of_one_only() {
        assert_eq!(difference("a\nb\nc\n", "a\nd\nc\n"), "- b\n+ d\n");
        assert_eq!(difference("a\n", "a\n"), "");
    }

    #[test]
    fn only_the_one_rust_is_readable() {
        assert!(is_readable("rustc 1.95.0 (59807616e 2026-04-14)"));
        assert!(!is_readable("rustc 1.96.0") && !is_readable("rustc 1.9.5"));
    }
}
