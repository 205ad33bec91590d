//! What would be published: packs each package that is meant for crates.io, and compiles all of them from their tarballs
//! alone. Called by `tiers` and by hand.
//!
//! `cargo package` would build one after the other, each with features of its own for the same dependencies. Here they
//! are a workspace of their own for a moment, beside the real one, and share what is compiled.

use std::fs;
use std::path::Path;

use crate::manifest;
use crate::run::{Result, cargo, command, root, run, target};
use crate::setup::{self, WASM};

/// What a page on crates.io needs, and what must be in a tarball.
const FIELDS: [&str; 8] =
    ["description", "rust-version", "license", "repository", "readme", "keywords", "categories", "version"];
const FILES: [&str; 3] = ["README.md", "LICENSE-MIT", "LICENSE-APACHE"];

pub(crate) fn package() -> Result {
    setup::wasm_target()?;
    let mut packages = Vec::new();
    for member in manifest::members()? {
        let manifest = manifest::read(&member)?;
        if manifest::is_published(&manifest) {
            let name = manifest::name(&manifest)?;
            if let Some(field) = missing_field(&manifest) {
                return Err(format!("{member}/Cargo.toml has no {field}"));
            }
            packages.push(name);
        }
    }
    let folder = pack(&packages)?;
    let build = |arguments: &[&str]| {
        // Not `--locked`: cargo takes out of the lock file what only the other packages need.
        let mut build = cargo(arguments);
        build.arg("--manifest-path").arg(folder.join("Cargo.toml")).arg("--target-dir").arg(target());
        run(&mut build)
    };
    build(&["check", "--workspace"])?;
    build(&["check", "-p", "livestore-sync-server", "--no-default-features", "--features", "worker", "--target", WASM])
}

fn missing_field(manifest: &str) -> Option<&'static str> {
    let has = |field: &&str| {
        manifest.lines().any(|line| line.strip_prefix(*field).is_some_and(|rest| rest.starts_with([' ', '.'])))
    };
    FIELDS.into_iter().find(|field| !has(field))
}

/// Packs them, and makes a workspace of what is in the tarballs.
fn pack(packages: &[String]) -> Result<std::path::PathBuf> {
    let folder = target().join("package");
    let unpacked = folder.join("unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked).map_err(|error| format!("cannot remove {}: {error}", unpacked.display()))?;
    }
    fs::create_dir_all(&unpacked).map_err(|error| format!("cannot make {}: {error}", unpacked.display()))?;
    let mut pack = cargo(&["package", "--no-verify", "--allow-dirty", "--locked"]);
    packages.iter().for_each(|package| {
        pack.args(["-p", package]);
    });
    run(&mut pack)?;
    let mut members = Vec::new();
    for package in packages {
        let member = format!("{package}-{}", version()?);
        let tarball = folder.join(format!("{member}.crate"));
        run(command("tar", &["-xzf"]).arg(&tarball).arg("-C").arg(&unpacked))?;
        if let Some(file) = FILES.iter().find(|file| !unpacked.join(&member).join(file).is_file()) {
            return Err(format!("{} has no {file}", tarball.display()));
        }
        members.push((package.as_str(), member));
    }
    write(&unpacked.join("Cargo.toml"), &workspace(&members, &manifest::read("")?))?;
    let lock =
        fs::read_to_string(root().join("Cargo.lock")).map_err(|error| format!("cannot read Cargo.lock: {error}"))?;
    write(&unpacked.join("Cargo.lock"), &lock)?;
    Ok(unpacked)
}

/// They find each other as they would on crates.io, by name and version.
fn workspace(members: &[(&str, String)], manifest: &str) -> String {
    let folders: Vec<_> = members.iter().map(|(_, folder)| format!("{folder:?}")).collect();
    let patches = members.iter().map(|(package, folder)| format!("{package} = {{ path = {folder:?} }}\n"));
    // With the same profiles, dependencies are those that are built already.
    let profiles = manifest.find("\n[profile.").map_or("", |at| &manifest[at..]);
    format!(
        "[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[patch.crates-io]\n{}{profiles}",
        folders.join(", "),
        patches.collect::<String>()
    )
}

fn version() -> Result<String> {
    let manifest = manifest::read("")?;
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'));
    version.map(str::to_owned).ok_or_else(|| "Cargo.toml has no version".into())
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{missing_field, workspace};

    #[test]
    fn a_manifest_without_a_field_is_found() {
        let manifest = "description = \"\"\nversion.workspace = true\nrust-version.workspace = true\nlicense = \"\"\n\
                        repository = \"\"\nreadme = \"\"\nkeywords = []\ncategories = []\n";
        assert_eq!(missing_field(manifest), None);
        assert_eq!(missing_field(&manifest.replace("readme", "readme-not")), Some("readme"));
    }

    #[test]
    fn the_packages_find_each_other() {
        let members = [("a", "a-0.1.0".to_owned()), ("b", "b-0.1.0".to_owned())];
        let expected = "[workspace]\nresolver = \"3\"\nmembers = [\"a-0.1.0\", \"b-0.1.0\"]\n\n[patch.crates-io]\n\
                        a = { path = \"a-0.1.0\" }\nb = { path = \"b-0.1.0\" }\n\n[profile.dev]\ndebug = 1\n";
        assert_eq!(workspace(&members, "[workspace]\n\n[profile.dev]\ndebug = 1\n"), expected);
    }
}
