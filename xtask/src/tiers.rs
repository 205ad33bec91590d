//! The test run in three tiers: `check` before each commit, `platforms` and `world` before a release; `test` is all of
//! them, and what CI runs. Each prints how long its steps took.
//!
//! Builds come first, each of them once. Then what mostly waits (suites against servers) runs beside what computes
//! (features, packages), which gets what the others leave of the processor: so neither waits for the other, and
//! no test is measured against a busy compiler.

use std::sync::Mutex;

use crate::run::{Manner, Result, cargo, lane, run, together};
use crate::steps::Steps;
use crate::suites::{self, Built, Server, Which};
use crate::{api, deny, features, lint, oldest, package, setup, trees, worker};

/// The test that kills the server again and again; it belongs to the world.
const KILL: &str = "kill";

/// Seconds to minutes: what anyone runs before a commit. Needs neither Node nor wasm tools.
pub(crate) fn check() -> Result {
    reported(steps_of_check)
}

/// Each platform: Workers, event logs in workerd, raw frames against each server, features, packages.
pub(crate) fn platforms() -> Result {
    reported(|steps| {
        let built = prepare(steps)?;
        beside(&|| waits_of_platforms(steps, &built), &|| computes(steps))
    })
}

/// Published clients, client objects, crashes.
pub(crate) fn world() -> Result {
    reported(|steps| {
        let built = prepare(steps)?;
        waits_of_world(steps, &built)
    })
}

/// Everything.
pub(crate) fn test() -> Result {
    reported(|steps| {
        // The one waits for registries, the other compiles.
        together([
            lane(Manner::Beside, || steps.step("set-up", setup::all)),
            lane(Manner::Front, || steps_of_check(steps)),
        ])?;
        let built = prepare(steps)?;
        let waits = || {
            waits_of_platforms(steps, &built)?;
            waits_of_world(steps, &built)
        };
        beside(&waits, &|| computes(steps))
    })
}

/// `cargo test` of everything that needs no server given.
pub(crate) fn unit() -> Result {
    run(&mut cargo(&["test", "--workspace", "--exclude", "livestore-sync-tests", "--locked"]))
}

fn steps_of_check(steps: &Steps) -> Result {
    steps.step("format, laws, clippy", lint::quick)?;
    steps.step("public API, documentation", api::compare)?;
    steps.step("unit", unit)
}

/// Builds what the suites run.
fn prepare(steps: &Steps) -> Result<Built> {
    steps.step("what is installed", setup::all)?;
    let built = Mutex::new(None);
    // One compiler at the end of each of these has one thread.
    together([
        lane(Manner::Front, || {
            steps.step("builds for the host", || {
                let all = Built::all()?;
                built.lock().map_err(|error| error.to_string())?.replace(all);
                Ok(())
            })
        }),
        lane(Manner::Beside, || {
            steps.step("builds of Workers", worker::bundles)?;
            // After those that are bundled, since it is made in the same folder.
            steps.step("debug build of the Worker", worker::build_debug)
        }),
    ])?;
    built.into_inner().map_err(|error| error.to_string())?.ok_or_else(|| "nothing was built".into())
}

fn waits_of_platforms(steps: &Steps, built: &Built) -> Result {
    steps.step("event logs in workerd", worker::conformance_of_bundle)?;
    steps.step("blackbox, native", || built.blackbox(Server::Native, Which::AllBut(KILL), &[]))?;
    steps.step("blackbox, Workers", || suites::blackbox_of_workers(built, Which::AllBut(KILL)))
}

fn waits_of_world(steps: &Steps, built: &Built) -> Result {
    steps.step("kill, native", || built.blackbox(Server::Native, Which::Only(KILL), &[]))?;
    steps.step("kill, Workers", || suites::blackbox_of_workers(built, Which::Only(KILL)))?;
    steps.step("client objects and panics", suites::do_rpc)?;
    // One after the other: two at a time take as long, and their clients meet their own limits of time.
    suites::servers().try_for_each(|server| steps.step(&format!("interop, {server:?}"), || built.interop(server, &[])))
}

fn computes(steps: &Steps) -> Result {
    steps.step("dependencies", trees::trees)?;
    steps.step("clippy of Workers", lint::wasm)?;
    steps.step("every Worker linked", worker::link)?;
    steps.step("features one by one", features::features)?;
    steps.step("oldest Rust", oldest::oldest)?;
    steps.step("packages", package::package)?;
    steps.step("licences, duplicates, advisories", deny::deny)
}

/// What waits, and what computes in the meantime.
fn beside(waits: &(dyn Fn() -> Result + Sync), computes: &(dyn Fn() -> Result + Sync)) -> Result {
    together([lane(Manner::Front, waits), lane(Manner::Spare, computes)])
}

fn reported(run: impl FnOnce(&Steps) -> Result) -> Result {
    let steps = Steps::new();
    let result = run(&steps);
    eprintln!("\n{}", steps.report());
    result
}
