use std::path::PathBuf;

use crate::run::{Result, cargo, command, output, run, target};
use crate::setup::{self, WASM};

/// What the wire crate must never come to depend on.
const NOT_IN_PROTOCOL: [&str; 8] = ["tokio", "worker", "http", "rusqlite", "getrandom", "uuid", "time", "futures-util"];

pub(crate) fn all() -> Result {
    lint()?;
    wasm()?;
    unit()?;
    blackbox(&[])?;
    interop(&[])
}

pub(crate) fn lint() -> Result {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    run(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))
}

pub(crate) fn unit() -> Result {
    run(&mut cargo(&["test", "--locked"]))
}

pub(crate) fn wasm() -> Result {
    setup::wasm_target()?;
    let mut protocol =
        cargo(&["tree", "-p", "livestore-sync-protocol", "-e", "normal", "--prefix", "none", "--locked"]);
    let tree = output(&mut protocol)?;
    if let Some(found) =
        tree.lines().filter_map(|line| line.split(' ').next()).find(|name| NOT_IN_PROTOCOL.contains(name))
    {
        return Err(format!("sync-protocol depends on {found}; it holds the wire format and nothing else"));
    }
    let engine = ["-p", "livestore-sync-protocol", "-p", "livestore-sync-server", "--no-default-features"];
    let target = ["--target", WASM, "--locked"];
    run(&mut cargo(&[&["clippy"], &engine[..], &target, &["--", "-D", "warnings"]].concat()))?;
    run(&mut cargo(&[&["build"], &engine[..], &target].concat()))
}

/// The native binary, as users run it.
pub(crate) fn binary() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "-p", "livestore-sync-server", "--locked"]))?;
    Ok(target().join("release/livestore-sync"))
}

pub(crate) fn blackbox(arguments: &[String]) -> Result {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let suite = ["test", "-p", "livestore-sync-tests", "--no-fail-fast", "--locked"];
    run(cargo(&[&suite[..], &arguments].concat()).env("LIVESTORE_SYNC_BIN", binary()?))
}

pub(crate) fn interop(arguments: &[String]) -> Result {
    let suite = setup::interop_packages()?;
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let mut tests = command("npm", &[&["test", "--"], &arguments[..]].concat());
    run(tests.current_dir(suite).env("LIVESTORE_SYNC_BIN", binary()?))
}
