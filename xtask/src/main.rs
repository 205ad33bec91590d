//! `cargo xtask …`: everything beyond plain cargo, set-up included, so that nobody needs another
//! tool to start.

mod bench;
mod run;
mod setup;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask COMMAND

  test        everything: lint, unit, wasm32, blackbox, interop (what CI runs)
  lint        formatting, clippy on the host and on wasm32, rustdoc
  unit        cargo test
  wasm        the protocol and the engine for wasm32, and what they may depend on
  blackbox    the black-box suite and the kill test, against the native binary
  interop     published LiveStore clients against the native binary
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
        "unit" => test::unit(),
        "wasm" => test::wasm(),
        "blackbox" => test::blackbox(rest),
        "interop" => test::interop(rest),
        "bench" => bench::bench(rest),
        "setup" => setup::wasm_target().and_then(|()| setup::interop_packages().map(drop)),
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
