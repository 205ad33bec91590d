//! Planted violations: each law must find its own, and leave clean code alone.

use super::{LINES_MAX, Package, judge};
use crate::laws::table::{self, Table};

const CLEAN: [(&str, &str); 6] = [
    (
        "lib.rs",
        "//! Face.\nmod event;\nmod host;\n#[cfg(any(feature = \"worker\", target_family = \"wasm\"))]\nmod platform;\n\
         pub mod store;\npub use protocol;\npub use store::{Store, push::Pushed as Done};\n",
    ),
    ("event.rs", "//! Event.\nuse crate::protocol::Args;\nuse serde::Serialize;\n"),
    (
        "host.rs",
        "//! Host.\nuse crate::{Done, Store, event::Batch};\nuse tokio::sync::{Mutex, mpsc};\n#[cfg(test)]\nmod tests;",
    ),
    ("host/tests.rs", "use crate::platform; use tokio::time; #[cfg(unix)] use crate::nothing;"),
    ("platform.rs", "//! Platform.\n#[cfg(target_family = \"wasm\")]\nuse tokio::task;\n"),
    ("store.rs", "//! Store.\nuse super::event;\npub(crate) mod push { pub struct Pushed(super::Store); }\n"),
];

const TABLE: &str = "\
`a/src`

| module | may use | crates | target switches |
| --- | --- | --- | --- |
| `lib` | | | the platform |
| `*` | | serde, protocol | |
| `event` | | | |
| `platform` | | tokio | its purpose |
| `store` | `event` | | |
| `host` | `event`, `store` | tokio::sync | |
";

fn table(markdown: &str) -> Table {
    table::read(markdown).unwrap().remove(0)
}

/// What is wrong with the clean files once these stand in the place of some, or beside them.
fn violations_of(changed: &[(&str, &str)], markdown: &str) -> Vec<String> {
    let files = CLEAN.iter().chain(changed).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let crates = ["protocol", "serde", "tokio"].map(str::to_owned).into();
    let package = Package { folder: "a/src".into(), crates, files: files.collect() };
    judge(&package, Some(&table(markdown))).iter().map(ToString::to_string).collect()
}

fn violations(changed: &[(&str, &str)]) -> Vec<String> {
    violations_of(changed, TABLE)
}

#[test]
fn clean_code_passes() {
    assert_eq!(violations(&[]), [""; 0]);
}

#[test]
fn a_forbidden_import_fails() {
    let planted = [("store.rs", "//! Store.\nuse crate::{\n    event,\n    platform::Clock,\n};")];
    assert_eq!(violations(&planted), ["a/src/store.rs:4: store may not use platform"]);
}

#[test]
fn a_forbidden_path_in_code_fails() {
    let planted = [("store.rs", "//! Store.\nfn f() {\n    crate::platform::now()\n}")];
    assert_eq!(violations(&planted), ["a/src/store.rs:3: store may not use platform"]);
}

#[test]
fn an_import_by_way_of_super_fails() {
    let planted = [
        ("store.rs", "//! Store.\nmod deep;"),
        (
            "store/deep.rs",
            "//! Deep.\nuse super::super::platform::Clock;\nmod deeper { fn f() { super::super::super::host::g() } }",
        ),
    ];
    let expected =
        ["a/src/store/deep.rs:2: store may not use platform", "a/src/store/deep.rs:3: store may not use host"];
    let found = violations(&planted);
    assert!(expected.iter().all(|expected| found.iter().any(|found| found == expected)), "{found:?}");
}

#[test]
fn an_import_by_way_of_a_re_export_fails() {
    let planted = [("event.rs", "//! Event.\nuse crate::Store;")];
    let found = violations(&planted);
    assert!(found.contains(&"a/src/event.rs:2: event may not use store".to_owned()), "{found:?}");
}

#[test]
fn an_import_that_cannot_be_resolved_fails() {
    let found = violations(&[("event.rs", "//! Event.\nuse crate::*;")]);
    assert_eq!(found, ["a/src/event.rs:2: crate::* is no module, nor does lib.rs have it from one"]);
}

#[test]
fn a_forbidden_crate_fails() {
    let planted =
        [("host.rs", "//! Host.\nuse tokio::{sync::Mutex, time};\nfn f() { tokio::spawn(x) }\nuse ::tokio::net;")];
    let expected = ["time", "spawn", "net"];
    let expected = expected
        .iter()
        .zip(2..)
        .map(|(path, line)| format!("a/src/host.rs:{line}: host may not use the crate path tokio::{path}"));
    assert_eq!(violations(&planted), expected.collect::<Vec<_>>());
}

#[test]
fn a_module_named_like_a_crate_is_no_crate() {
    let planted = [("store.rs", "//! Store.\nmod tokio;\nfn f() { tokio::spawn() }"), ("store/tokio.rs", "//! Own.")];
    assert_eq!(violations(&planted), [""; 0]);
}

#[test]
fn a_circle_fails_even_where_the_table_allows_it() {
    let allowed = TABLE.replace("| `event` | |", "| `event` | `store` |");
    let planted = [("event.rs", "//! Event.\n\nuse crate::store::Store;")];
    let expected = ["a/src/event.rs:3: a circle: event (event.rs:3) -> store (store.rs:2) -> event"];
    assert_eq!(violations_of(&planted, &allowed), expected);
}

#[test]
fn a_circle_by_way_of_a_re_export_fails() {
    let allowed = TABLE.replace("| `event` | |", "| `event` | `host`, `store` |");
    let planted = [("event.rs", "//! Event.\nfn f(x: crate::Done) {}")];
    let expected = ["a/src/event.rs:2: a circle: event (event.rs:2) -> store (store.rs:2) -> event"];
    assert_eq!(violations_of(&planted, &allowed), expected);
}

#[test]
fn rows_below_a_module_are_held_too() {
    let rows = format!("{TABLE}| `store::a` | `store::b` | | |\n| `store::b` | `store::a` | tokio | |\n");
    let planted = [
        ("store.rs", "//! Store.\nmod a;\nmod b;\nuse a::X;"),
        ("store/a.rs", "//! A.\nuse super::Store;\nuse super::b::Y;\nuse tokio::fs;"),
        ("store/b.rs", "//! B.\nuse crate::store::a::X;\nuse tokio::fs;\nuse crate::host;"),
    ];
    let found = violations_of(&planted, &rows);
    let expected = [
        "a/src/store/a.rs:3: a circle: store::a (store/a.rs:3) -> store::b (store/b.rs:2) -> store::a",
        "a/src/store/a.rs:4: store::a may not use the crate path tokio::fs",
        "a/src/store/b.rs:4: store::b may not use host",
    ];
    assert!(expected.iter().all(|expected| found.iter().any(|found| found == expected)), "{found:?}");
}

#[test]
fn a_target_switch_fails() {
    let planted = [("store.rs", "//! Store.\n\n#[cfg(not(target_family = \"wasm\"))]\nfn f() {}")];
    assert_eq!(violations(&planted), ["a/src/store.rs:3: a switch by target does not belong here"]);
}

#[test]
fn a_long_file_fails() {
    let long = format!("//! Store.\n{}", "\n".repeat(LINES_MAX));
    assert_eq!(violations(&[("store.rs", &long)]), ["a/src/store.rs:401: 401 lines, more than 400"]);
}

#[test]
fn a_file_without_a_sign_fails() {
    let found = violations(&[("store.rs", "use crate::event;\n//! Late.")]);
    assert_eq!(found, ["a/src/store.rs:1: does not open with `//!`: what it is, who calls it"]);
}

#[test]
fn modules_and_rows_are_the_same() {
    let planted = [(
        "lib.rs",
        "//! Face.\nmod event;\nmod extra {}\nmod host;\nmod store;\npub use store::{Store, push::Pushed as Done};\npub use protocol;",
    )];
    let found = violations(&planted);
    assert_eq!(
        found,
        [
            "ARCHITECTURE.md:5: a/src has a module extra without a row",
            "ARCHITECTURE.md:8: a/src has no module platform"
        ]
    );
}
