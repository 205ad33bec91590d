//! Every feature of every package that is published, alone and all together, on each platform that it is for. Called by
//! `tiers` and by hand.
//!
//! Elsewhere features are unified over the workspace, so that one which does not build alone would not be noticed.

use crate::lint::DENY;
use crate::manifest;
use crate::run::{Result, cargo, run};
use crate::setup::{self, WASM};

/// The packages that also build for wasm32.
const FOR_WASM: [&str; 2] = ["livestore-sync-protocol", "livestore-sync-server"];

pub(crate) fn features() -> Result {
    setup::wasm_target()?;
    for member in manifest::members()? {
        let manifest = manifest::read(&member)?;
        if !manifest::is_published(&manifest) {
            continue;
        }
        let package = manifest::name(&manifest)?;
        for set in sets(&manifest::features(&manifest)) {
            clippy(&package, &set, None)?;
            if FOR_WASM.contains(&package.as_str()) {
                clippy(&package, &set, Some(WASM))?;
            }
        }
    }
    Ok(())
}

/// None, each alone, all. The defaults are what the rest of the tests builds.
fn sets(features: &[String]) -> Vec<Vec<&str>> {
    let mut sets = vec![Vec::new()];
    sets.extend(features.iter().map(|feature| vec![feature.as_str()]));
    if features.len() > 1 {
        sets.push(features.iter().map(String::as_str).collect());
    }
    sets
}

fn clippy(package: &str, features: &[&str], target: Option<&str>) -> Result {
    let mut clippy = cargo(&["clippy", "-p", package, "--no-default-features", "--locked"]);
    clippy.args(["--features", &features.join(",")]);
    if let Some(target) = target {
        clippy.args(["--target", target]);
    }
    run(clippy.args(DENY))
}

#[cfg(test)]
mod tests {
    use super::sets;

    #[test]
    fn sets_are_none_each_and_all() {
        assert_eq!(sets(&[]), [[""; 0]]);
        assert_eq!(sets(&["a".into()]), [vec![], vec!["a"]]);
        assert_eq!(sets(&["a".into(), "b".into()]), [vec![], vec!["a"], vec!["b"], vec!["a", "b"]]);
    }
}
