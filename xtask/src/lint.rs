//! What is wrong with the code without running it: format, clippy, the laws, documentation. Called by `tiers` and by
//! hand.

use crate::run::{Result, cargo, run};
use crate::setup::{self, WASM};
use crate::{api, laws, worker};

/// What makes a finding of clippy a failure.
pub(crate) const DENY: [&str; 3] = ["--", "-D", "warnings"];

/// What takes seconds, on the host.
pub(crate) fn quick() -> Result {
    run(&mut cargo(&["fmt", "--all", "--check"]))?;
    laws::laws(&[])?;
    run(cargo(&["clippy", "--workspace", "--all-targets", "--locked"]).args(DENY))
}

/// All of it. The libraries for wasm32 are looked at by `features`.
pub(crate) fn lint() -> Result {
    quick()?;
    api::compare()?;
    wasm()
}

/// The Workers among the packages, and the documentation that they would show.
pub(crate) fn wasm() -> Result {
    setup::wasm_target()?;
    run(cargo(&["clippy", "--target", WASM, "--locked"]).args(worker::packages()?).args(DENY))
}
