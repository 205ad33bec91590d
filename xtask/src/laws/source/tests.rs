use super::{Source, read};

fn paths(source: &Source) -> Vec<String> {
    source.paths.iter().map(|path| format!("{}:{}", path.line, path.segments.join("::"))).collect()
}

#[test]
fn uses_are_taken_apart() {
    let source = read("use crate::{a::{B, c::*}, d as e};\npub(crate) use super::f::{self, G};\nuse ::worker::Env;\n");
    let expected = ["1:crate::a::B", "1:crate::a::c::*", "1:crate::d", "2:super::f", "2:super::f::G", "3:worker::Env"];
    assert_eq!(paths(&source), expected);
    let names: Vec<_> = source.paths.iter().map(|path| path.name.as_deref().unwrap_or_default()).collect();
    assert_eq!(names, ["B", "*", "e", "f", "G", "Env"]);
    assert!(source.paths[5].global && !source.paths[0].global);
}

#[test]
fn paths_in_code_count() {
    let source = read(
        "fn f(x: crate::a::B) -> ::worker::Result {\n  tokio::sync::Mutex::<crate::c::D>::new();\n  x.g::<T>();\n  \
         <T as e::F>::g();\n}\nmacro_rules! m { () => { $crate::h::i!() } }",
    );
    let expected =
        ["1:crate::a::B", "1:worker::Result", "2:tokio::sync::Mutex", "2:crate::c::D", "4:e::F", "6:crate::h::i"];
    assert_eq!(paths(&source), expected);
    assert_eq!(source.macros, ["m"]);
}

#[test]
fn test_code_does_not_count() {
    let source = read(
        "#[cfg(test)]\nmod tests;\n#[cfg(all(feature = \"x\", test))]\npub(crate) mod more { use crate::a; }\n\
         #[cfg(test)] #[expect(dead_code)] pub(crate) fn f<A, B>() { crate::b::c(); }\n\
         #[cfg(test)] use crate::{d, e};\n\
         struct S { #[cfg(test)] x: crate::f::G, y: crate::h::I }\n\
         fn g() { #[cfg(test)] { crate::j::k(); } match x { #[cfg(test)] A => { crate::j::k() } B => crate::l::m() } }\n\
         mod kept;",
    );
    assert_eq!(paths(&source), ["7:crate::h::I", "8:crate::l::m"]);
    assert_eq!(source.modules, [["kept"]]);
}

#[test]
fn code_for_tests_and_others_counts() {
    let source = read("#[cfg(any(test, feature = \"x\"))]\nmod a;\n#[cfg(not(test))]\nuse crate::b;");
    assert_eq!(source.modules, [["a"]]);
    assert_eq!(paths(&source), ["4:crate::b"]);
}

#[test]
fn inline_modules_are_known() {
    let source = read("mod a {\n  mod b;\n  fn f() { super::c::d(); }\n}\nuse self::e;");
    assert_eq!(source.modules, [["a", "b"]]);
    assert_eq!(source.inline, ["a"]);
    assert_eq!(source.paths[0].inside, ["a"]);
    assert!(source.paths[1].inside.is_empty());
}

#[test]
fn switches_are_conditions_on_the_target() {
    let source = read(
        "#[cfg(feature = \"native\")]\nmod a;\n#[cfg(all(feature = \"x\", target_family = \"wasm\"))]\nmod b;\n\
         fn f() { if cfg!(unix) {} }\n#[cfg_attr(target_os = \"linux\", must_use)]\nstruct S;\n// cfg(target_os = \"x\")\n\
         use std::os::unix;",
    );
    assert_eq!(source.switches, [3, 5, 6]);
}

#[test]
fn a_captured_lifetime_is_no_import() {
    assert_eq!(paths(&read("fn f<'a>() -> impl Sized + use<'a> {}")), [""; 0]);
}
