//! The laws themselves: what a package's sources break. Called by `laws`; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::arrows::{Arrow, Target, arrows, related};
use super::circles::{Graph, circles};
use super::table::{Row, Table};
use super::tree::{File, Files, Tree, walk};

/// The longest that a file of code may be, tests beside it included.
const LINES_MAX: usize = 400;

pub(super) struct Package {
    /// Like `sync-server/src`.
    pub(super) folder: String,
    /// Its dependencies, as code spells them.
    pub(super) crates: BTreeSet<String>,
    pub(super) files: Files,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Violation {
    /// From the workspace's root.
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.message)
    }
}

/// Everything that a package does against the laws; without a table, only what holds for all.
pub(super) fn judge(package: &Package, table: Option<&Table>) -> Vec<Violation> {
    let tree = walk(&package.files);
    let found = |file: &str, line: usize, message: String| Violation {
        file: format!("{}/{file}", package.folder),
        line,
        message,
    };
    let mut violations = shape(&tree, &found);
    if let Some(table) = table {
        let arrows = arrows(&tree, table, &package.crates);
        violations.extend(rows(&tree, table));
        violations.extend(switches(&tree, table, &found));
        violations.extend(forbidden(&arrows, table, &found));
        violations.extend(round(&arrows, &found));
    }
    violations.sort();
    violations.dedup();
    violations
}

/// Length and sign of each file.
fn shape(tree: &Tree, found: &impl Fn(&str, usize, String) -> Violation) -> Vec<Violation> {
    let mut violations: Vec<_> = tree.missing.iter().map(|message| found("", 1, message.clone())).collect();
    for File { name, lines, signed, .. } in &tree.files {
        if *lines > LINES_MAX {
            violations.push(found(name, LINES_MAX + 1, format!("{lines} lines, more than {LINES_MAX}")));
        }
        if !signed {
            violations.push(found(name, 1, "does not open with `//!`: what it is, who calls it".into()));
        }
    }
    violations
}

/// Each top-level module has a row, and each row a module.
fn rows(tree: &Tree, table: &Table) -> Vec<Violation> {
    let found = |line, message| Violation { file: "ARCHITECTURE.md".into(), line, message };
    let modules: BTreeSet<_> = tree.files.iter().map(|file| file.module.clone()).collect();
    let exists = |module: &Vec<String>| {
        modules.contains(module) || (module.len() == 1 && (module[0] == "*" || tree.top_level().contains(&module[0])))
    };
    let line = table.rows.first().map_or(1, |row| row.line);
    let missing = tree.top_level().into_iter().filter(|module| table.row_of(std::slice::from_ref(module)).is_none());
    let missing = missing.map(|module| found(line, format!("{} has a module {module} without a row", table.folder)));
    let stale = table.rows.iter().flat_map(|row| {
        let names = std::iter::once(&row.module).chain(&row.may_use);
        names.filter(|name| !exists(name)).map(|name| (row.line, name.join("::")))
    });
    missing.chain(stale.map(|(line, name)| found(line, format!("{} has no module {name}", table.folder)))).collect()
}

/// Conditions on the target where the table does not have a reason for them.
fn switches(tree: &Tree, table: &Table, found: &impl Fn(&str, usize, String) -> Violation) -> Vec<Violation> {
    let guarded = tree
        .files
        .iter()
        .filter(|file| table.has_switches && table.row_of(&file.module).is_none_or(|row| row.switches.is_empty()));
    let lines = guarded.flat_map(|file| file.source.switches.iter().map(|line| (&file.name, *line)));
    lines.map(|(name, line)| found(name, line, "a switch by target does not belong here".into())).collect()
}

/// Arrows that the table does not have.
fn forbidden(arrows: &[Arrow], table: &Table, found: &impl Fn(&str, usize, String) -> Violation) -> Vec<Violation> {
    let allows = |row: Option<&Row>, to: &Target| {
        let (allowed, path) = match (row, to) {
            (Some(row), Target::Module(path)) => (&row.may_use, path),
            (Some(row), Target::Crate(path)) => (&row.crates, path),
            _ => return false,
        };
        allowed.iter().any(|prefix| path.starts_with(prefix))
    };
    let message = |arrow: &Arrow| {
        let from = arrow.from.join("::");
        match &arrow.to {
            Target::Module(to) if related(&arrow.from, to) => None,
            Target::Crate(_) if !table.has_crates => None,
            to if allows(table.row_of(&arrow.from), to) || allows(table.for_all(), to) => None,
            Target::Module(to) => Some(format!("{from} may not use {}", to.join("::"))),
            Target::Crate(path) => Some(format!("{from} may not use the crate path {}", path.join("::"))),
            Target::Unknown(name) => Some(format!("crate::{name} is no module, nor does lib.rs have it from one")),
        }
    };
    arrows.iter().filter_map(|arrow| Some(found(&arrow.file, arrow.line, message(arrow)?))).collect()
}

/// Modules side by side that use each other in a circle, the ones within them counted as them.
fn round(arrows: &[Arrow], found: &impl Fn(&str, usize, String) -> Violation) -> Vec<Violation> {
    let mut graph: Graph<Vec<String>> = Graph::new();
    let mut places: BTreeMap<_, &Arrow> = BTreeMap::new();
    for arrow in arrows {
        let Target::Module(to) = &arrow.to else { continue };
        if related(&arrow.from, to) {
            continue;
        }
        let shared = arrow.from.iter().zip(to).take_while(|(one, other)| one == other).count();
        let (from, to) = (arrow.from[..=shared].to_vec(), to[..=shared].to_vec());
        graph.entry(from.clone()).or_default().insert(to.clone());
        places.entry((from, to)).or_insert(arrow);
    }
    let shown = circles(&graph).into_iter().filter_map(|circle| {
        let next = circle.iter().cycle().skip(1);
        let arrows: Vec<_> =
            circle.iter().zip(next).filter_map(|(from, to)| places.get(&(from.clone(), to.clone()))).collect();
        let steps = circle
            .iter()
            .zip(&arrows)
            .map(|(from, arrow)| format!("{} ({}:{})", from.join("::"), arrow.file, arrow.line));
        let steps = steps.collect::<Vec<_>>().join(" -> ");
        let first = arrows.first()?;
        Some(found(&first.file, first.line, format!("a circle: {steps} -> {}", circle[0].join("::"))))
    });
    shown.collect()
}

#[cfg(test)]
mod tests;
