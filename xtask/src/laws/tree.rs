//! The files of a package that are no test code, found as the compiler finds them: from `lib.rs` or `main.rs` along
//! `mod name;`. Called by `laws`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{self, Source};

/// A package's sources: the text of each `.rs` file, by its path below `src`.
pub(crate) type Files = BTreeMap<String, String>;

/// The part of a package that is not for its tests.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: Vec<File>,
    /// Modules that are declared and have no file.
    pub(super) missing: Vec<String>,
}

#[derive(Debug)]
pub(super) struct File {
    /// Below `src`.
    pub(super) name: String,
    /// The module that it is; empty for the root.
    pub(super) module: Vec<String>,
    pub(super) source: Source,
    pub(super) lines: usize,
    /// Whether it opens with `//!`.
    pub(super) signed: bool,
}

pub(super) fn walk(files: &Files) -> Tree {
    let mut tree = Tree::default();
    for root in ["lib.rs", "main.rs"] {
        if let Some(text) = files.get(root) {
            visit(files, root, Vec::new(), text, &mut tree);
        }
    }
    tree
}

fn visit(files: &Files, name: &str, module: Vec<String>, text: &str, tree: &mut Tree) {
    let source = source::read(text);
    for child in &source.modules {
        let child = [&module[..], child].concat();
        let path = child.join("/");
        match [format!("{path}.rs"), format!("{path}/mod.rs")].iter().find_map(|name| files.get_key_value(name)) {
            Some((name, text)) => visit(files, name, child, text, tree),
            None => tree.missing.push(format!("{name} declares {}, which has no file", child.join("::"))),
        }
    }
    let signed = text.trim_start().starts_with("//!");
    tree.files.push(File { name: name.into(), module, source, lines: text.lines().count(), signed });
}

impl Tree {
    /// The modules right below the root.
    pub(super) fn top_level(&self) -> BTreeSet<String> {
        let root = self.files.iter().filter(|file| file.module.is_empty());
        let inline = root.flat_map(|file| &file.source.inline);
        self.files.iter().filter_map(|file| file.module.first()).chain(inline).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Files, walk};

    #[test]
    fn files_of_tests_and_files_that_nothing_declares_are_not_walked() {
        let files = [
            ("lib.rs", "//! A library.\nmod a;\n#[cfg(test)]\nmod tests;"),
            ("a.rs", "mod b { mod c; }"),
            ("a/b/c.rs", ""),
            ("tests.rs", "mod deep;"),
            ("tests/deep.rs", ""),
            ("orphan.rs", ""),
        ];
        let files: Files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        let tree = walk(&files);
        let names: Vec<_> = tree.files.iter().map(|file| (file.name.as_str(), file.signed)).collect();
        assert_eq!(names, [("a/b/c.rs", false), ("a.rs", false), ("lib.rs", true)]);
        assert_eq!(tree.top_level().into_iter().collect::<Vec<_>>(), ["a"]);
        assert!(tree.missing.is_empty());
    }

    #[test]
    fn a_module_without_a_file_is_told() {
        let files: Files = [("main.rs".to_owned(), "mod a;".to_owned())].into();
        assert_eq!(walk(&files).missing, ["main.rs declares a, which has no file"]);
    }
}
