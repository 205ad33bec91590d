//! The Worker: built, bundled as it is deployed, run locally. Called by `suites`, `tiers`, wrangler and by hand.

use std::process::Command;

use crate::manifest;
use crate::run::{Result, cargo, command, output, replace, root, run};
use crate::setup;
use crate::tools;

/// The folder with the deployed Worker.
const DEPLOYED: &str = "examples/worker";

/// The Worker with the suite of event logs.
const CONFORMANCE: &str = "tests/conformance-worker";

/// The profile of Cargo.toml for Workers.
const PROFILE: &str = "worker";

/// A ninth of what Cloudflare takes on its free plan (3 MB). The reference 0.4.0 has 280,000, minified; budgets, time
/// limits, repeated reads, large events and stores that begin with their first event are worth the rest.
const BUNDLE_GZIP_BYTES_MAX: usize = 400_000;

const USAGE_BUILD: &str = "cargo xtask build-worker [FOLDER]";
const USAGE_DEV: &str = "cargo xtask dev [--port N] [--storage d1|do-sqlite] [more flags for `wrangler dev`]";

/// Where the Worker keeps events; tests run with each.
pub(crate) const STORAGES: [&str; 2] = ["d1", "do-sqlite"];

/// Builds one crate into its folder `build`, ready for wrangler, which calls this.
pub(crate) fn build(arguments: &[String]) -> Result {
    let folder = match arguments {
        [] => DEPLOYED,
        [folder] if !folder.starts_with('-') => folder,
        _ => return Err(format!("usage: {USAGE_BUILD}")),
    };
    run_worker_build(folder, &["--profile", PROFILE, "--no-opt"])?;
    // `worker-build` would do this too, but it keeps the names of functions: a sixth of what is deployed.
    // What the runtime must be able to do is written in the file, except for what wasm-bindgen needs to catch exceptions.
    let wasm = root().join(folder).join("build/index_bg.wasm");
    let mut optimize = Command::new(setup::worker_program("wasm-opt")?);
    optimize.args(["-O3", "--enable-exception-handling"]).arg(&wasm).arg("-o").arg(&wasm);
    run(&mut optimize)
}

/// The deployed Worker with what only its debug build has: the routes that tests of panics need.
pub(crate) fn build_debug() -> Result {
    run_worker_build(DEPLOYED, &["--dev"])
}

fn run_worker_build(folder: &str, how: &[&str]) -> Result {
    setup::wasm_target()?;
    let mut build = Command::new(tools::worker_build()?);
    build.args(how).arg("--locked").current_dir(root().join(folder));
    // It would download what is not named here.
    build.env("WASM_BINDGEN_BIN", tools::wasm_bindgen()?).env("ESBUILD_BIN", setup::worker_program("esbuild")?);
    build.env("WASM_OPT_BIN", setup::worker_program("wasm-opt")?);
    run(&mut build)
}

/// Links every Worker, also those that are not bundled; clippy stops before that.
pub(crate) fn link() -> Result {
    setup::wasm_target()?;
    run(cargo(&["build", "--target", setup::WASM, "--locked"]).args(packages()?))
}

/// Makes what would be deployed, and fails if it is too large.
pub(crate) fn bundle() -> Result {
    bundle_of(".", Some(BUNDLE_GZIP_BYTES_MAX))
}

/// The same, with the Workers that the suites need beside it.
pub(crate) fn bundles() -> Result {
    bundle()?;
    bundle_of("tests/hook-worker", None)?;
    bundle_of(CONFORMANCE, None)
}

/// The same for the folder with another wrangler.toml.
fn bundle_of(folder: &str, bytes_max: Option<usize>) -> Result {
    let mut bundle = command("node", &[]);
    bundle.arg(setup::worker_packages()?.join("bundle.mjs")).arg(root().join(folder)).env(METRICS.0, METRICS.1);
    eprintln!("\n> bundle {folder}");
    let report = output(&mut bundle)?;
    print!("{report}");
    let bytes = report.lines().last().and_then(|line| line.parse::<usize>().ok());
    let bytes = bytes.ok_or("the bundle's size is missing")?;
    println!("{bytes} bytes gzipped{}", bytes_max.map(|max| format!(", of at most {max}")).unwrap_or_default());
    match bytes_max {
        Some(max) if bytes > max => Err(format!("the bundle has {bytes} bytes gzipped, more than {max}")),
        _ => Ok(()),
    }
}

/// The suite of event logs, inside workerd.
pub(crate) fn conformance() -> Result {
    bundle_of(CONFORMANCE, None)?;
    conformance_of_bundle()
}

/// The same, with what was bundled before.
pub(crate) fn conformance_of_bundle() -> Result {
    run(&mut command("node", &[&format!("{CONFORMANCE}/run.mjs")]))
}

const METRICS: (&str, &str) = ("WRANGLER_SEND_METRICS", "false");

/// `wrangler dev` on this machine.
pub(crate) fn dev(arguments: &[String]) -> Result {
    let (mut port, mut storage, mut more) = ("8787", "d1", Vec::new());
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "--port" => port = rest.next().ok_or(USAGE_DEV)?,
            "--storage" => storage = storage_named(rest.next().ok_or(USAGE_DEV)?)?,
            "--help" => return Err(format!("usage: {USAGE_DEV}")),
            other => more.push(other),
        }
    }
    // Here and not only in the build that wrangler starts: what is missing is said once, at the top.
    setup::worker()?;
    let mut dev = Command::new(setup::worker_program("wrangler")?);
    dev.args(["dev", "--local", "--port", port, "--var", &format!("LIVESTORE_SYNC_STORAGE:{storage}")]);
    replace(dev.args(more).current_dir(root()).env(METRICS.0, METRICS.1))
}

/// Every package that is a Worker, as arguments for cargo. On other targets than wasm32 they are empty.
pub(crate) fn packages() -> Result<Vec<String>> {
    let mut packages = Vec::new();
    for member in manifest::members()? {
        let manifest = manifest::read(&member)?;
        if manifest.contains("cdylib") {
            packages.extend(["-p".to_owned(), manifest::name(&manifest)?]);
        }
    }
    if packages.is_empty() { Err("no package is a Worker".into()) } else { Ok(packages) }
}

/// One of the storages, or an error that names them.
pub(crate) fn storage_named(name: &str) -> Result<&'static str> {
    let known = STORAGES.into_iter().find(|storage| *storage == name);
    known.ok_or_else(|| format!("a worker's storage is one of {}, not {name:?}", STORAGES.join(", ")))
}
