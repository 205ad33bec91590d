use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::run::{Result, cargo, command, output, run, run_together, target, together};
use crate::setup::{self, WASM};
use crate::worker::{self, STORAGES};

/// What the wire crate must never come to depend on.
const NOT_IN_PROTOCOL: [&str; 8] = ["tokio", "worker", "http", "rusqlite", "getrandom", "uuid", "time", "futures-util"];

const USAGE_WORKER: &str = "--worker d1|do-sqlite";

/// Everything. Stops at the first step that fails; says how long each took.
pub(crate) fn all() -> Result {
    let mut times = Vec::new();
    let result = all_steps(&mut times);
    eprintln!();
    for (step, time) in times {
        eprintln!("{:>7.1} s  {step}", time.as_secs_f64());
    }
    result
}

#[expect(clippy::disallowed_methods, reason = "this runs on the host only")]
fn all_steps(times: &mut Vec<(String, Duration)>) -> Result {
    let mut step = |name: &str, run: &dyn Fn() -> Result| {
        let started = Instant::now();
        let result = run();
        times.push((name.into(), started.elapsed()));
        result.map_err(|error| format!("{name}: {error}"))
    };
    // Compilers end with one thread; what is beside them uses the other cores.
    step("set-up and lint", &|| {
        setup::wasm_target()?;
        together([setup::all as fn() -> Result, lint])
    })?;
    step("wasm", &wasm)?;
    step("unit", &unit)?;
    // Before the release build, which goes to the same place.
    step("client objects and panics", &do_rpc)?;
    step("builds of the Worker and the native binary", &|| {
        together([worker::bundles as fn() -> Result, || binary().map(drop)])
    })?;
    step("conformance", &worker::conformance)?;
    step("Blackbox, native", &|| Suite::Blackbox.run(&Server::Native, &[]))?;
    // Most of its time it waits.
    step("Blackbox, worker", &|| {
        let suites: Result<Vec<_>> =
            STORAGES.iter().map(|storage| Suite::Blackbox.command(&Server::Worker(storage), &[])).collect();
        run_together(&mut suites?)
    })?;
    step("Interop, native", &|| Suite::Interop.run(&Server::Native, &[]))?;
    for storage in STORAGES {
        step(&format!("Interop, worker, {storage}"), &|| Suite::Interop.run(&Server::Worker(storage), &[]))?;
    }
    Ok(())
}

pub(crate) fn lint() -> Result {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    run(cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    setup::wasm_target()?;
    let home = ["-p", "livestore-sync-server", "--no-default-features", "--features", "worker"];
    let target = ["--target", WASM, "--locked"];
    run(&mut cargo(&[&["clippy"], &home[..], &target, &["--", "-D", "warnings"]].concat()))?;
    let workers = worker::examples()?;
    run(cargo(&["clippy"]).args(&workers).args(target).args(["--", "-D", "warnings"]))?;
    run(cargo(&[&["doc", "--no-deps"], &home[..], &target].concat()).env("RUSTDOCFLAGS", "-D warnings"))
}

pub(crate) fn unit() -> Result {
    run(&mut cargo(&["test", "--locked"]))?;
    run(&mut cargo(&["test", "-p", "xtask", "--locked"]))
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
    run(cargo(&["build"]).args(worker::examples()?).args(target))
}

/// The native binary, as users run it.
pub(crate) fn binary() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "-p", "livestore-sync", "--locked"]))?;
    Ok(target().join("release/livestore-sync"))
}

/// The program through which the interop suite holds stores of the Rust client.
fn store_driver() -> Result<PathBuf> {
    run(&mut cargo(&["build", "-p", "livestore-store-driver", "--locked"]))?;
    Ok(target().join("debug/livestore-store-driver"))
}

pub(crate) fn blackbox(arguments: &[String]) -> Result {
    by_arguments(Suite::Blackbox, arguments)
}

pub(crate) fn interop(arguments: &[String]) -> Result {
    by_arguments(Suite::Interop, arguments)
}

/// Clients that are Durable Objects, and what a panic leaves behind: against a debug build, under `wrangler dev`.
pub(crate) fn do_rpc() -> Result {
    worker::build_debug()?;
    run(command("npm", &["test"]).current_dir(setup::do_rpc_packages()?))
}

fn by_arguments(suite: Suite, arguments: &[String]) -> Result {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (server, rest) = match arguments.split_first() {
        Some((&"--worker", rest)) => {
            let (storage, rest) = rest.split_first().ok_or(USAGE_WORKER)?;
            let server = Server::Worker(worker::storage_named(storage)?);
            worker::bundles()?;
            (server, rest)
        }
        _ => (Server::Native, &arguments[..]),
    };
    // Else it would be one of the suite's own, and the suite would run against something else than was meant.
    if rest.contains(&"--worker") {
        return Err(format!("{USAGE_WORKER} comes before all other arguments"));
    }
    suite.run(&server, rest)
}

/// The server that a suite starts.
enum Server<'a> {
    Native,
    /// In workerd, as bundled before, with events in this storage.
    Worker(&'a str),
}

#[derive(Clone, Copy, Debug)]
enum Suite {
    Blackbox,
    Interop,
}

impl Suite {
    fn run(self, server: &Server, arguments: &[&str]) -> Result {
        run(&mut self.command(server, arguments)?)
    }

    fn command(self, server: &Server, arguments: &[&str]) -> Result<Command> {
        let mut suite = match self {
            Self::Blackbox => {
                let features: &[&str] = match server {
                    Server::Native => &[],
                    Server::Worker(_) => &["--no-default-features", "--features", "process"],
                };
                let suite = ["test", "-p", "livestore-sync-tests", "--no-fail-fast", "--locked"];
                cargo(&[&suite[..], features, arguments].concat())
            }
            Self::Interop => {
                let mut suite = command("npm", &[&["test", "--"], arguments].concat());
                suite.current_dir(setup::interop_packages()?).env("LIVESTORE_STORE_DRIVER", store_driver()?);
                suite
            }
        };
        server.choose(&mut suite)?;
        Ok(suite)
    }
}

impl Server<'_> {
    /// Tells a suite; whatever the environment said before does not count.
    fn choose(&self, suite: &mut Command) -> Result {
        for variable in ["LIVESTORE_SYNC_URL", "LIVESTORE_SYNC_BIN", "LIVESTORE_SYNC_WORKER"] {
            suite.env_remove(variable);
        }
        match self {
            Self::Native => suite.env("LIVESTORE_SYNC_BIN", binary()?),
            Self::Worker(storage) => suite.env("LIVESTORE_SYNC_WORKER", storage),
        };
        Ok(())
    }
}
