//! `cargo xtask bench`: starts the benchmark in `benches/`. Called by hand.

use crate::run::{Result, command, run, target};
use crate::setup;
use crate::suites::binary;
use crate::worker;

const USAGE: &str = "cargo xtask bench [--quick] [--no-reference]";

/// The native server, the Worker and the published reference, measured side by side.
pub(crate) fn bench(arguments: &[String]) -> Result {
    if let Some(unknown) = arguments.iter().find(|argument| !["--quick", "--no-reference"].contains(&argument.as_str()))
    {
        return Err(format!("bench does not know {unknown:?}: {USAGE}"));
    }
    let reference = !arguments.iter().any(|argument| argument == "--no-reference");
    let benches = setup::bench_packages(reference)?;
    worker::bundle()?;
    let mut bench = command("node", &["bench.mjs", "--server"]);
    bench.current_dir(benches).arg(binary()?);
    // Next to the build and not in the system's folder for that: it may be in memory, where commits cost nothing.
    bench.arg("--state").arg(target().join("bench")).args(arguments);
    run(&mut bench)
}
