//! `cargo xtask …`: everything beyond plain cargo, set-up included, so that no other tool is needed to start. Called by
//! people and by CI; builds in a second, since it has no dependencies.

mod api;
mod artifacts;
mod bench;
mod deny;
mod features;
mod laws;
mod lint;
mod manifest;
mod mutants;
mod oldest;
mod package;
mod run;
mod setup;
mod steps;
mod suites;
mod tiers;
mod tools;
mod trees;
mod worker;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  test        all three tiers (what CI runs); each prints how long its steps took
    check     format, clippy, laws, public API, documentation, unit tests: before each commit
    platforms Workers, event logs in workerd, blackbox, features, packages, dependencies
    world     interop, client objects, crashes

  lint        format, clippy, laws, public API and documentation, on the host and for Workers
  laws        the code against the tables in ARCHITECTURE.md; --arrows prints what they would say now
  api         the public API against the snapshots `api.txt`; --bless writes them
  unit        cargo test
  features    each feature of each published package alone, on the host and on wasm32
  package     packs what is published, and compiles it from the tarballs
  oldest      builds with the oldest supported Rust, where that is installed
  trees       what packages may come to depend on
  deny        licences, duplicates and advisories of dependencies
  mutants     plants faults into a copy of the engine; its simulation must find each: after a
              change of the engine, and in no tier, since it takes a quarter of an hour
  blackbox    the black-box suite and the kill test, against the native binary; --test NAME for one;
              --worker d1|do-sqlite, before the rest: against the Worker in workerd
  interop     published LiveStore clients against the native binary; --worker as above
  do-rpc      published clients that are Durable Objects, and panics, under `wrangler dev`

  dev         the Worker on http://localhost:8787 under `wrangler dev`; --port N,
              --storage d1|do-sqlite, and any flag of `wrangler dev`, like --persist-to FOLDER
  worker      builds the Worker and bundles it as it is deployed, prints its size, fails if it is too large
  build-worker FOLDER
              builds the crate of a Worker into FOLDER/build; wrangler.toml calls it
  conformance the suite of event logs on D1 and on object SQLite, inside workerd
  bench       this server and the published reference, measured side by side on this machine, as a
              Markdown table; --quick takes minutes, --no-reference leaves the reference out
  setup       what the commands above need, installed ahead of time

Each command installs what it needs and says what is missing if it can't.";

fn main() -> ExitCode {
    if let Some(ended) = api::as_rustdoc() {
        return ended;
    }
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "test" => tiers::test(),
        "check" => tiers::check(),
        "platforms" => tiers::platforms(),
        "world" => tiers::world(),
        "lint" => lint::lint(),
        "laws" => laws::laws(rest),
        "api" => api::api(rest),
        "unit" => tiers::unit(),
        "features" => features::features(),
        "oldest" => oldest::oldest(),
        "package" => package::package(),
        "trees" => trees::trees(),
        "deny" => deny::deny(),
        "mutants" => mutants::mutants(),
        "blackbox" => suites::blackbox(rest),
        "interop" => suites::interop(rest),
        "do-rpc" => worker::build_debug().and_then(|()| suites::do_rpc()),
        "bench" => bench::bench(rest),
        "conformance" => worker::conformance(),
        "dev" => worker::dev(rest),
        "worker" => worker::bundle(),
        "build-worker" => worker::build(rest),
        "setup" => setup::all(),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(format!("there is no command {other:?}\n\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}
