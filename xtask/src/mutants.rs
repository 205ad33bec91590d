//! Tests of the tests: faults that are planted one at a time into a copy of the sources, each of which the host's
//! tests must find, most of all its simulation. Called by hand.
//!
//! `xtask/mutants.txt` lists them. A fault changes whole lines of one file; a test that still passes fails the step, and
//! so does a fault whose lines are not there exactly once, or which does not compile.

mod copy;
mod list;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::artifacts;
use crate::run::{Result, prioritised, root, target};
use list::Fault;

const LIST: &str = "xtask/mutants.txt";

/// The package, and those of its tests that must find every fault.
const PACKAGE: &str = "livestore-sync-server";
const TESTS: &str = "host::";

/// A fault may make the tests wait for ever.
const TIME_MAX: Duration = Duration::from_secs(300);

pub(crate) fn mutants() -> Result {
    let text = fs::read_to_string(root().join(LIST)).map_err(|error| format!("cannot read {LIST}: {error}"))?;
    let faults = list::parse(&text)?;
    let copy = target().join("mutants");
    copy::update(&root(), &copy, &target())?;
    if passes(&copy)? {
        let found = faults.iter().map(|fault| find(fault, &copy)).collect::<Vec<_>>();
        let survived: Vec<_> = found.into_iter().filter_map(Result::err).collect();
        println!("{} of {} faults found", faults.len() - survived.len(), faults.len());
        return if survived.is_empty() { Ok(()) } else { Err(survived.join("\n")) };
    }
    Err(format!("{TESTS} fails, or there is no such test, before any fault is planted"))
}

/// Plants a fault, tests, and takes it out.
fn find(fault: &Fault, copy: &Path) -> Result {
    let failed = |error| format!("{:?}: {error}", fault.name);
    let path = copy.join(&fault.file);
    let original = fs::read_to_string(&path).map_err(|error| failed(format!("cannot read {}: {error}", fault.file)))?;
    let planted = fault.plant(&original).map_err(failed)?;
    let write = |text: &str| fs::write(&path, text).map_err(|error| failed(format!("cannot write it: {error}")));
    write(&planted)?;
    let passed = passes(copy);
    write(&original)?;
    match passed.map_err(failed)? {
        false => {
            println!("found: {}", fault.name);
            Ok(())
        }
        true => Err(failed("it was not found".into())),
    }
}

/// Whether the tests of the copy pass; there must be some. Fails if they do not compile.
fn passes(copy: &Path) -> Result<bool> {
    let manifest = copy.join("Cargo.toml").display().to_string();
    let shared = target().display().to_string();
    // In the folder of all builds: dependencies are there already.
    let build = ["test", "--no-run", "-p", PACKAGE, "--lib", "--manifest-path", &manifest, "--target-dir", &shared];
    let programs = artifacts::build(&build)?;
    let test = programs.iter().find(|program| program.is_test).ok_or("no test was built")?;
    let mut command = Command::new(&test.path);
    command.arg(TESTS).current_dir(copy);
    let mut command = prioritised(&command);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", test.path.display()))?;
    let (sender, ended) = channel();
    let mut printed = child.stdout.take();
    // Its output ends when it does.
    std::thread::spawn(move || {
        let read = printed.as_mut().map(std::io::read_to_string);
        sender.send(read.and_then(std::result::Result::ok).unwrap_or_default()).ok()
    });
    let printed = match ended.recv_timeout(TIME_MAX) {
        Ok(printed) => printed,
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            child.kill().map_err(|error| format!("cannot end a test: {error}"))?;
            String::new()
        }
    };
    let status = child.wait().map_err(|error| format!("cannot wait for a test: {error}"))?;
    Ok(status.success() && !printed.contains("\nrunning 0 tests"))
}
