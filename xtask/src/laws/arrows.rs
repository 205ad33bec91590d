//! Which module uses which, and which crates, with the re-exports of `lib.rs` resolved. Called by `judge`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Path;
use super::table::{Table, covers};
use super::tree::{File, Tree};

/// One use of something by something, at a place. Modules are those that have a row, or else top-level ones.
#[derive(Debug)]
pub(super) struct Arrow {
    pub(super) from: Vec<String>,
    pub(super) to: Target,
    pub(super) file: String,
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Target {
    Module(Vec<String>),
    /// A path into another crate.
    Crate(Vec<String>),
    /// `crate::name`, which is no module and comes from none.
    Unknown(String),
}

/// The arrows between different modules, and to crates, of all files but `lib.rs`, which may use everything.
pub(super) fn arrows(tree: &Tree, table: &Table, crates: &BTreeSet<String>) -> Vec<Arrow> {
    let names = Names::of(tree, crates);
    let mut arrows = Vec::new();
    for file in tree.files.iter().filter(|file| !file.module.is_empty()) {
        let scope = Scope::of(file);
        let from = unit(table, &file.module);
        for path in &file.source.paths {
            let Some(target) = names.resolve(file, &scope, path) else { continue };
            let to = match target {
                Target::Module(module) => Target::Module(unit(table, &module)),
                other => other,
            };
            if to != Target::Module(from.clone()) {
                arrows.push(Arrow { from: from.clone(), to, file: file.name.clone(), line: path.line });
            }
        }
    }
    arrows
}

/// What a module counts as: the nearest one with a row of its own, or else the top-level one.
fn unit(table: &Table, module: &[String]) -> Vec<String> {
    table.row_of(module).map_or_else(|| module[..1].to_vec(), |row| row.module.clone())
}

/// The names that a file brings into its scope: in front of `::` they are no crates.
struct Scope(BTreeSet<String>);

impl Scope {
    fn of(file: &File) -> Self {
        let used = file.source.paths.iter().filter(|path| path.segments.len() > 1).filter_map(|path| path.name.clone());
        let children = file.source.modules.iter().filter_map(|module| module.last().cloned());
        Self(used.chain(children).chain(file.source.inline.iter().cloned()).collect())
    }
}

/// What can be named from the root.
struct Names<'a> {
    crates: &'a BTreeSet<String>,
    modules: BTreeSet<String>,
    /// What `lib.rs` imports, and so re-exports to the whole crate.
    exports: BTreeMap<String, Target>,
    macros: BTreeMap<String, Vec<String>>,
}

impl<'a> Names<'a> {
    fn of(tree: &Tree, crates: &'a BTreeSet<String>) -> Self {
        let macros = tree
            .files
            .iter()
            .flat_map(|file| file.source.macros.iter().map(|name| (name.clone(), file.module.clone())));
        let macros = macros.filter(|(_, module)| !module.is_empty()).collect();
        let mut names = Self { crates, modules: tree.top_level(), exports: BTreeMap::new(), macros };
        for file in tree.files.iter().filter(|file| file.module.is_empty()) {
            let scope = Scope::of(file);
            for path in &file.source.paths {
                let Some(name) = &path.name else { continue };
                let target = match &path.segments[..] {
                    [first, ..] if names.modules.contains(first) && !path.global => {
                        Some(Target::Module(path.segments.clone()))
                    }
                    _ => names.resolve(file, &scope, path),
                };
                names.exports.extend(target.map(|target| (name.clone(), target)));
            }
        }
        names
    }

    fn resolve(&self, file: &File, scope: &Scope, path: &Path) -> Option<Target> {
        let here = [&file.module[..], &path.inside].concat();
        let (first, rest) = path.segments.split_first()?;
        match first.as_str() {
            _ if path.global => Some(Target::Crate(path.segments.clone())),
            "crate" => self.resolve_at_root(rest),
            "self" => self.resolve_at_root(&[&here[..], rest].concat()),
            "super" => {
                let up = path.segments.iter().take_while(|segment| *segment == "super").count();
                let base = &here[..here.len().saturating_sub(up)];
                self.resolve_at_root(&[base, &path.segments[up..]].concat())
            }
            name if self.crates.contains(name) && !scope.0.contains(name) => Some(Target::Crate(path.segments.clone())),
            _ => None,
        }
    }

    fn resolve_at_root(&self, path: &[String]) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        if self.modules.contains(first) {
            return Some(Target::Module(path.to_vec()));
        }
        match (self.exports.get(first), self.macros.get(first)) {
            (Some(Target::Module(module)), _) => Some(Target::Module([&module[..], rest].concat())),
            (Some(Target::Crate(module)), _) => Some(Target::Crate([&module[..], rest].concat())),
            (_, Some(module)) => Some(Target::Module(module.clone())),
            _ => Some(Target::Unknown(first.clone())),
        }
    }
}

/// Whether one module contains the other: between those, arrows are free.
pub(super) fn related(one: &[String], other: &[String]) -> bool {
    covers(one, other) || covers(other, one)
}
