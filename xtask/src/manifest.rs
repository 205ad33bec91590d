//! What the manifests of the workspace say, read line by line: this package has no dependencies, and the manifests are
//! the workspace's own.

use std::fs;

use crate::run::{Result, root};

/// The folders of all packages.
pub(crate) fn members() -> Result<Vec<String>> {
    let manifest = read("")?;
    let members = manifest.split_once("\nmembers = [").and_then(|(_, rest)| rest.split_once(']'));
    let members: Vec<_> = members.map(|(members, _)| quoted(members)).unwrap_or_default();
    if members.is_empty() { Err("Cargo.toml has no members".into()) } else { Ok(members) }
}

/// The Cargo.toml of a folder.
pub(crate) fn read(folder: &str) -> Result<String> {
    let path = root().join(folder).join("Cargo.toml");
    fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// The name of a package.
pub(crate) fn name(manifest: &str) -> Result<String> {
    let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    name.map(str::to_owned).ok_or_else(|| "a manifest has no name".into())
}

/// Whether a package is meant for crates.io.
pub(crate) fn is_published(manifest: &str) -> bool {
    !manifest.contains("publish = false")
}

/// What a package depends on, on any target, other than for its tests.
pub(crate) fn dependencies(manifest: &str) -> Vec<String> {
    let is_dependencies = |section: &str| {
        section == "dependencies" || (section.starts_with("target.") && section.ends_with(".dependencies"))
    };
    keys(manifest, is_dependencies)
}

/// The features of a package, without `default`.
pub(crate) fn features(manifest: &str) -> Vec<String> {
    let mut features = keys(manifest, |section| section == "features");
    features.retain(|feature| feature != "default");
    features
}

/// The tests of a package that are built only with this feature.
pub(crate) fn tests_that_require(feature: &str, manifest: &str) -> Vec<String> {
    let tests = manifest.split("[[test]]").skip(1);
    let requiring = tests.filter(|test| {
        let required = test.split_once("required-features = [").and_then(|(_, rest)| rest.split(']').next());
        required.is_some_and(|required| quoted(required).iter().any(|name| name == feature))
    });
    requiring.filter_map(|test| name(test).ok()).collect()
}

/// The keys of all sections with such a name; `a.workspace = true` is `a`.
fn keys(manifest: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut inside = false;
    let mut keys = Vec::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = wanted(section.trim_end_matches(']'));
        } else if let (true, Some((key, _))) = (inside, line.split_once('=')) {
            let key = key.trim().split('.').next().unwrap_or_default();
            if !key.is_empty() && !key.starts_with('#') && !line.starts_with(' ') {
                keys.push(key.to_owned());
            }
        }
    }
    keys
}

fn quoted(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{dependencies, features, is_published, name, tests_that_require};

    const MANIFEST: &str = "\
[package]
name = \"a-b\"
publish = false

[features]
default = [\"x\"]
# Why it is there = x.
x = [
  \"dep:c\",
]
y = []

[dependencies]
a.workspace = true
b-c = { version = \"1\", features = [\"d\"] }

[target.'cfg(target_family = \"wasm\")'.dependencies]
e = \"1\"

[dev-dependencies]
f = \"1\"

[[test]]
name = \"slow\"
required-features = [\"y\", \"x\"]

[[test]]
name = \"fast\"
";

    #[test]
    fn a_manifest_is_read() {
        assert_eq!(name(MANIFEST).unwrap(), "a-b");
        assert!(!is_published(MANIFEST));
        assert_eq!(dependencies(MANIFEST), ["a", "b-c", "e"]);
        assert_eq!(features(MANIFEST), ["x", "y"]);
        assert_eq!(tests_that_require("x", MANIFEST), ["slow"]);
    }
}
