//! The suites that run against a whole server, native or in workerd: `blackbox`, `interop`, `do-rpc`. Called by `tiers`
//! and by hand.

use std::path::PathBuf;
use std::process::Command;

use crate::artifacts::{self, Program};
use crate::manifest;
use crate::run::{Manner, Result, cargo, command, lane, root, run, target, together};
use crate::setup;
use crate::worker::{self, STORAGES};

const BLACKBOX: &str = "livestore-sync-tests";
const DRIVER: &str = "livestore-store-driver";

const USAGE_BLACKBOX: &str =
    "cargo xtask blackbox [--worker d1|do-sqlite] [--test NAME]... [-- filter and flags of the tests]";

/// The server that a suite starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Server {
    Native,
    /// In workerd, as bundled before, with events in this storage.
    Worker(&'static str),
}

/// The native server, then the Worker with each storage.
pub(crate) fn servers() -> impl Iterator<Item = Server> {
    std::iter::once(Server::Native).chain(STORAGES.map(Server::Worker))
}

/// What the suites run, built.
pub(crate) struct Built {
    programs: Vec<Program>,
    binary: PathBuf,
}

/// What tests of the blackbox suite to run.
#[derive(Clone, Copy)]
pub(crate) enum Which<'a> {
    All,
    Only(&'a str),
    AllBut(&'a str),
}

/// The native binary, as users run it.
pub(crate) fn binary() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "-p", "livestore-sync", "--locked"]))?;
    Ok(target().join("release/livestore-sync"))
}

impl Built {
    /// Everything, with all that `cargo test` builds: what packages have in common is then built once.
    pub(crate) fn all() -> Result<Self> {
        Ok(Self { programs: artifacts::build(&["build", "--workspace", "--all-targets"])?, binary: binary()? })
    }

    /// What one suite needs, by hand.
    fn of(package: &str, server: Server) -> Result<Self> {
        let binary = match server {
            Server::Native => binary()?,
            Server::Worker(_) => worker::bundles().map(|()| PathBuf::new())?,
        };
        Ok(Self { programs: artifacts::build(&["build", "-p", package, "--all-targets"])?, binary })
    }

    /// Raw frames against a server: every test, also after one has failed.
    pub(crate) fn blackbox(&self, server: Server, which: Which, arguments: &[&str]) -> Result {
        let native_only = manifest::tests_that_require("native", &manifest::read("tests")?);
        let chosen =
            self.programs.iter().filter(|program| program.package == BLACKBOX && program.is_test).filter(|test| {
                let fits = matches!(server, Server::Native) || !native_only.contains(&test.name);
                fits && match which {
                    Which::All => true,
                    Which::Only(name) => test.name == name,
                    Which::AllBut(name) => test.name != name,
                }
            });
        let mut failed = Vec::new();
        let mut count = 0;
        for test in chosen {
            count += 1;
            let mut test_run = Command::new(&test.path);
            test_run.args(arguments).current_dir(root().join("tests"));
            self.choose(server, &mut test_run);
            if run(&mut test_run).is_err() {
                failed.push(test.name.as_str());
            }
        }
        match (count, &failed[..]) {
            (0, _) => Err(format!("there is no such test for {server:?}")),
            (_, []) => Ok(()),
            _ => Err(format!("against {server:?} these have failed: {}", failed.join(", "))),
        }
    }

    /// The published LiveStore clients, with the Rust client's stores beside them.
    pub(crate) fn interop(&self, server: Server, arguments: &[&str]) -> Result {
        let driver = self.programs.iter().find(|program| program.package == DRIVER && !program.is_test);
        let driver = driver.ok_or_else(|| format!("{DRIVER} has not been built"))?;
        let mut suite = command("npm", &[&["test", "--"], arguments].concat());
        suite.current_dir(setup::interop_packages()?).env("LIVESTORE_STORE_DRIVER", &driver.path);
        self.choose(server, &mut suite);
        run(&mut suite)
    }

    /// Tells a suite its server; what the environment said before does not count.
    fn choose(&self, server: Server, suite: &mut Command) {
        for variable in ["LIVESTORE_SYNC_URL", "LIVESTORE_SYNC_BIN", "LIVESTORE_SYNC_WORKER"] {
            suite.env_remove(variable);
        }
        match server {
            Server::Native => suite.env("LIVESTORE_SYNC_BIN", &self.binary),
            Server::Worker(storage) => suite.env("LIVESTORE_SYNC_WORKER", storage),
        };
    }
}

/// The Worker with each storage, beside each other: most of the time they wait.
pub(crate) fn blackbox_of_workers(built: &Built, which: Which) -> Result {
    together(STORAGES.map(|storage| lane(Manner::Beside, move || built.blackbox(Server::Worker(storage), which, &[]))))
}

pub(crate) fn blackbox(arguments: &[String]) -> Result {
    let (server, rest) = server_of(arguments)?;
    let split = rest.iter().position(|argument| *argument == "--").unwrap_or(rest.len());
    let (names, rest) = (&rest[..split], rest.get(split + 1..).unwrap_or_default());
    let names = names.chunks(2).map(|pair| match pair {
        ["--test", name] => Ok(*name),
        _ => Err(format!("usage: {USAGE_BLACKBOX}")),
    });
    let names = names.collect::<Result<Vec<_>>>()?;
    let built = Built::of(BLACKBOX, server)?;
    if names.is_empty() {
        return built.blackbox(server, Which::All, rest);
    }
    names.into_iter().try_for_each(|name| built.blackbox(server, Which::Only(name), rest))
}

pub(crate) fn interop(arguments: &[String]) -> Result {
    let (server, rest) = server_of(arguments)?;
    Built::of(DRIVER, server)?.interop(server, &rest)
}

/// Clients that are Durable Objects, and what a panic leaves behind: under `wrangler dev`, against a debug build that
/// is made before.
pub(crate) fn do_rpc() -> Result {
    run(command("npm", &["test"]).current_dir(setup::do_rpc_packages()?))
}

/// `--worker STORAGE`, if it comes first, and what is behind it.
fn server_of(arguments: &[String]) -> Result<(Server, Vec<&str>)> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments.split_first() {
        Some((&"--worker", rest)) => {
            let (storage, rest) = rest.split_first().ok_or("--worker d1|do-sqlite")?;
            Ok((Server::Worker(worker::storage_named(storage)?), rest.to_vec()))
        }
        // Else the suite would run against something else than was meant.
        _ if arguments.contains(&"--worker") => Err("--worker d1|do-sqlite comes before all other arguments".into()),
        _ => Ok((Server::Native, arguments)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Server, server_of};

    #[test]
    fn the_server_is_chosen_first() {
        let of = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            server_of(&arguments).map(|(server, rest)| (format!("{server:?}"), rest.join(" ")))
        };
        assert_eq!(of(&["--test", "kill"]), Ok(("Native".into(), "--test kill".into())));
        assert_eq!(of(&["--worker", "d1", "x"]), Ok(("Worker(\"d1\")".into(), "x".into())));
        assert!(of(&["x", "--worker", "d1"]).is_err());
        assert!(of(&["--worker"]).is_err());
        assert!(of(&["--worker", "files"]).is_err());
        assert_eq!(super::servers().filter(|server| matches!(server, Server::Worker(_))).count(), 2);
    }
}
