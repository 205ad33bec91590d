//! `cargo xtask laws`: holds the code against the tables of modules in ARCHITECTURE.md. Called by `lint`.
//!
//! For every package of the workspace, its tests left out:
//! - no file is over 400 lines, and each opens with `//!`.
//!
//! For a package with a table, which is every package in [`GOVERNED`]:
//! - a module uses only what its row has, re-exports of `lib.rs` resolved (`crate::Store` is `crate::store`);
//! - modules side by side never use each other in a circle;
//! - what is compiled is switched by target only where a row has a reason for it.
//!
//! A table stands below a line with the package's folder in backticks, and is known by the names of its columns;
//! other columns are for people:
//!
//! ```text
//! The modules of `sync-server/src`:
//!
//! | module | what it is | may use | crates | target switches |
//! | --- | --- | --- | --- | --- |
//! | `lib` | the face | | | `worker` is there on wasm32 only |
//! | `*` | all of them | `error` | serde, tracing | |
//! | `store` | push and pull | `event`, `event_log` | tokio::sync | |
//! | `event_log::sqlite` | the native log | `event` | rusqlite, tokio | |
//! ```
//!
//! - `module`: a top-level module, each of which needs a row, or one below it, for which the nearest row counts.
//!   `lib` is `lib.rs`, which may use everything. What `*` may use, all may.
//! - `may use`: modules with commas between them; one stands for those below it as well. Between a module and those
//!   below it no permission is needed.
//! - `crates`: the package's dependencies, or paths into them: `tokio::sync` allows nothing else of tokio. The
//!   standard library is free.
//! - `target switches`: why this module may ask for the target (`target_family`, `unix`, …). Empty: it may not.
//!
//! `cargo xtask laws --arrows` prints the rows as the code is now.

mod arrows;
mod circles;
mod judge;
mod known;
mod lexer;
mod source;
mod table;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::manifest;
use crate::run::{Result, root};
use judge::Package;
use table::Table;

/// The packages that may not be without a table.
const GOVERNED: [&str; 3] = ["sync-client/src", "sync-protocol/src", "sync-server/src"];

pub(crate) fn laws(arguments: &[String]) -> Result {
    let architecture = read(&root().join("ARCHITECTURE.md"))?;
    let tables = table::read(&architecture)?;
    let packages = packages()?;
    match arguments {
        [] => {}
        [arrows] if arrows == "--arrows" => {
            print!("{}", show_arrows(&packages, &tables));
            return Ok(());
        }
        _ => return Err("usage: cargo xtask laws [--arrows]".into()),
    }
    if let Some(missing) = GOVERNED.iter().find(|folder| !tables.iter().any(|table| table.folder == **folder)) {
        return Err(format!("ARCHITECTURE.md has no table of the modules of `{missing}`"));
    }
    if let Some(stray) = tables.iter().find(|table| !packages.iter().any(|package| package.folder == table.folder)) {
        return Err(format!("ARCHITECTURE.md has a table for `{}`, which is no package's", stray.folder));
    }
    let table_of = |package: &Package| tables.iter().find(|table| table.folder == package.folder);
    let violations = packages.iter().flat_map(|package| judge::judge(package, table_of(package))).collect();
    known::compare(violations)
}

/// Every package of the workspace.
fn packages() -> Result<Vec<Package>> {
    let members = manifest::members()?;
    members
        .into_iter()
        .filter(|member| root().join(member).join("src").is_dir())
        .map(|member| package(&member))
        .collect()
}

fn package(member: &str) -> Result<Package> {
    let manifest = read(&root().join(member).join("Cargo.toml"))?;
    let mut files = BTreeMap::new();
    read_folder(&root().join(member).join("src"), "", &mut files)?;
    let crates = manifest::dependencies(&manifest).into_iter().map(|name| name.replace('-', "_")).collect();
    Ok(Package { folder: format!("{member}/src"), crates, files })
}

/// The Rust files of a folder and those below, by their path from the first one.
fn read_folder(folder: &Path, name: &str, files: &mut BTreeMap<String, String>) -> Result {
    let failed = |error| format!("cannot read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(file) = path.file_name().and_then(|file| file.to_str()) else { continue };
        let name = if name.is_empty() { file.to_owned() } else { format!("{name}/{file}") };
        if path.is_dir() {
            read_folder(&path, &name, files)?;
        } else if name.ends_with(".rs") {
            files.insert(name, read(&path)?);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Tables that would allow what the code does now.
fn show_arrows(packages: &[Package], tables: &[Table]) -> String {
    let governed = packages.iter().filter(|package| GOVERNED.contains(&package.folder.as_str()));
    let mut shown = String::new();
    for package in governed {
        let tree = tree::walk(&package.files);
        let none = Table { folder: package.folder.clone(), rows: Vec::new(), has_crates: true, has_switches: true };
        let table = tables.iter().find(|table| table.folder == package.folder).unwrap_or(&none);
        let mut rows: BTreeMap<Vec<String>, [BTreeSet<String>; 2]> = BTreeMap::new();
        rows.extend(tree.top_level().into_iter().map(|module| (vec![module], Default::default())));
        for arrow in arrows::arrows(&tree, table, &package.crates) {
            let [modules, crates] = rows.entry(arrow.from.clone()).or_default();
            match arrow.to {
                arrows::Target::Module(to) if arrows::related(&arrow.from, &to) => false,
                arrows::Target::Module(to) => modules.insert(format!("`{}`", to.join("::"))),
                arrows::Target::Crate(path) => crates.insert(path[..path.len().min(crate_depth(&path[0]))].join("::")),
                arrows::Target::Unknown(name) => modules.insert(format!("crate::{name}?")),
            };
        }
        shown +=
            &format!("\nThe modules of `{}`:\n\n| module | may use | crates |\n| --- | --- | --- |\n", package.folder);
        for (module, [modules, crates]) in rows {
            let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
            shown += &format!("| `{}` | {} | {} |\n", module.join("::"), list(modules), list(crates));
        }
    }
    shown
}

/// How many segments of a path into a crate are worth a permission of their own: tokio is many crates in one.
fn crate_depth(name: &str) -> usize {
    if name == "tokio" { 2 } else { 1 }
}
