//! `cargo xtask …`: everything beyond plain cargo, set-up included, so that nobody needs another
//! tool to start.

mod bench;
mod laws;
mod manifest;
mod run;
mod setup;
mod test;
mod tools;
mod worker;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  test        everything: lint, unit, wasm, worker, conformance, blackbox and interop (what CI runs)
  lint        formatting, clippy and rustdoc, on the host and on wasm32
  unit        cargo test
  wasm        the protocol and the engine for wasm32, and what they may depend on
  blackbox    the black-box suite and the kill test, against the native binary;
              --worker d1|do-sqlite: against the Worker in workerd
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
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let result = match command {
        "test" => test::all(),
        "lint" => test::lint(),
        "laws" => laws::laws(rest),
        "unit" => test::unit(),
        "wasm" => test::wasm(),
        "blackbox" => test::blackbox(rest),
        "interop" => test::interop(rest),
        "do-rpc" => test::do_rpc(),
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
