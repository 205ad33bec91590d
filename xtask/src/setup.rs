//! What steps need beside cargo: the standard library for wasm32, npm packages, tools. Called by the steps themselves.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Manner, Result, command, lane, output, root, run, together};
use crate::tools;

pub(crate) const WASM: &str = "wasm32-unknown-unknown";

/// The oldest Node that the published clients run on.
const NODE_MAJOR_MIN: u32 = 20;

/// The standard library for wasm32.
pub(crate) fn wasm_target() -> Result {
    let libraries = output(&mut command("rustc", &["--print", "target-libdir", "--target", WASM]))?;
    if Path::new(libraries.trim()).exists() {
        return Ok(());
    }
    run(&mut command("rustup", &["target", "add", WASM])).map_err(|error| {
        format!("the Rust target {WASM} is missing and cannot be installed: {error}\nInstall it with your toolchain.")
    })
}

/// What tests and Workers need.
pub(crate) fn all() -> Result {
    wasm_target()?;
    // The ones wait for a registry, the others for the compiler.
    let packages =
        || [worker_packages, interop_packages, do_rpc_packages].into_iter().try_for_each(|get| get().map(drop));
    let tools = || {
        let tools = [tools::worker_build, tools::wasm_bindgen, tools::cargo_deny];
        tools.into_iter().try_for_each(|get| get().map(drop))
    };
    together([lane(Manner::Beside, packages), lane(Manner::Front, tools)])
}

/// Everything that a Worker is built and run with.
pub(crate) fn worker() -> Result {
    wasm_target()?;
    worker_packages()?;
    tools::worker_build()?;
    tools::wasm_bindgen().map(drop)
}

/// The folder with the npm packages that build and run Workers.
pub(crate) fn worker_packages() -> Result<PathBuf> {
    npm_packages("worker", &["."])
}

/// A program of the npm packages that build and run Workers.
pub(crate) fn worker_program(name: &str) -> Result<PathBuf> {
    let suffix = if cfg!(windows) { ".cmd" } else { "" };
    let path = worker_packages()?.join(format!("node_modules/.bin/{name}{suffix}"));
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is missing; `npm ci` in worker/ installs it", path.display()))
    }
}

/// The folder of the interop suite, with the npm packages that its lock files name.
pub(crate) fn interop_packages() -> Result<PathBuf> {
    npm_packages("tests/interop", &["v03", "v04", "next"])
}

/// The folder of the tests with clients that are Durable Objects.
pub(crate) fn do_rpc_packages() -> Result<PathBuf> {
    worker_packages()?;
    npm_packages("tests/interop/do-rpc", &["."])
}

/// The folder of the benchmark, with the npm packages that it needs.
pub(crate) fn bench_packages(reference: bool) -> Result<PathBuf> {
    let reference: &[&str] = if reference { &["reference/v03", "reference/v04"] } else { &[] };
    npm_packages("benches", &[&["."], reference].concat())
}

/// A folder, with the npm packages that the lock files in these folders of it name.
fn npm_packages(base: &str, folders: &[&str]) -> Result<PathBuf> {
    let version = output(&mut command("node", &["--version"]))
        .map_err(|error| format!("{error}\n{base} needs Node.js {NODE_MAJOR_MIN} or newer, with npm."))?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Err(format!("Node.js is {version}; {base} needs {NODE_MAJOR_MIN} or newer."));
    }
    let base = root().join(base);
    for folder in folders {
        npm_ci(&base.join(folder))?;
    }
    Ok(base)
}

/// Installs what a lock file names, unless that is done already.
fn npm_ci(folder: &Path) -> Result {
    let read = |path: PathBuf| fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    let lock = read(folder.join("package-lock.json"))?;
    let installed = folder.join("node_modules/.installed-lock.json");
    if read(installed.clone()).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    // Clients are used as published; their packages' install scripts build nothing that is needed.
    let mut install = command("npm", &["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
    run(install.current_dir(folder)).map_err(|error| {
        format!("{error}\nThe npm packages of {} are missing; the npm registry must be in reach.", folder.display())
    })?;
    fs::write(&installed, lock).map_err(|error| format!("cannot write {}: {error}", installed.display()))
}
