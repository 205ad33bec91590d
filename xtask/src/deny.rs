//! Licences, duplicates, origins and known vulnerabilities of what is built upon, by cargo-deny and `deny.toml`. Called by
//! `tiers` and by hand.

use std::process::Command;

use crate::run::{Result, output, root, run};
use crate::tools;

/// Where cargo-deny has its advisories from.
const ADVISORIES: &str = "https://github.com/RustSec/advisory-db";

pub(crate) fn deny() -> Result {
    let program = tools::cargo_deny()?;
    let mut deny = Command::new(&program);
    run(deny.args(["--all-features", "--locked", "check", "bans", "licenses", "sources"]).current_dir(root()))?;
    // The database is a repository, which not every network lets through. Elsewhere a new advisory fails the step.
    let reached = output(Command::new("git").args(["ls-remote", "--exit-code", ADVISORIES, "HEAD"]));
    match reached {
        Ok(_) => {
            run(Command::new(program).args(["--all-features", "--locked", "check", "advisories"]).current_dir(root()))
        }
        Err(_) => {
            println!("deny: the database of advisories is not in reach, so they were not checked");
            Ok(())
        }
    }
}
