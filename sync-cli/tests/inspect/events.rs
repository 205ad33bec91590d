use std::io::Read;
use std::process::Stdio;

use serde_json::json;

use super::fixture::{DATA, Project, created_at};

fn project(events: i64) -> Project {
    let project = Project::new();
    project.database(DATA).registry().store("s", "eventlog_7_s", 0).chain("eventlog_7_s", events);
    project
}

fn numbers(range: impl Iterator<Item = i64>) -> Vec<serde_json::Value> {
    range.map(Into::into).collect()
}

#[test]
fn events_are_given_as_they_are_stored() {
    let project = Project::new();
    let args = r#"{"s":"","u":"ünïcödé 🚀 \u0000   \"quotes\" \\ /","n":null,"f":1.50,"e":1e+21,"big":123456789012345678901234567890}"#;
    project
        .database(DATA)
        .registry()
        .store("s", "eventlog_7_s", 96)
        .event("eventlog_7_s", 1, 0, "name-0-ß'\"", Some(args))
        .event("eventlog_7_s", 2, 1, "b", None)
        .event("eventlog_7_s", 99, 2, "c", Some("{\n \"pretty\": true\n}"))
        .event("eventlog_7_s", 100, 99, "d", Some("{\"broken\""));
    let run = project.inspect(&["events", "s"]).ok();
    let expected = |number: i64, parent: i64, name: &str, args: &str| {
        let at = created_at(number);
        format!(
            r#"{{"seqNum":{number},"parentSeqNum":{parent},"name":{name},{args}"createdAt":"{at}","clientId":"client-a","sessionId":"session-a"}}"#
        )
    };
    let lines: Vec<_> = run.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            expected(1, 0, r#""name-0-ß'\"""#, &format!("\"args\":{args},")),
            expected(2, 1, "\"b\"", ""),
            expected(99, 2, "\"c\"", "\"args\":{  \"pretty\": true },"),
            expected(
                100,
                99,
                "\"d\"",
                r#""args":"{\"broken\"","argsError":"EOF while parsing an object at line 1 column 9","#
            ),
        ]
    );
    assert_eq!(project.inspect(&["events", "s", "--json"]).ok().stdout, run.stdout);
}

#[test]
fn parts_can_be_asked_for() {
    let project = project(500);
    for (arguments, expected) in [
        (&["--limit", "3"][..], numbers(1..=3)),
        (&["--since", "0", "--limit", "2"], numbers(1..=2)),
        (&["--since", "498"], numbers(499..=500)),
        (&["--since", "500"], Vec::new()),
        (&["--since", "-1", "--limit", "1"], numbers(1..=1)),
        (&["--limit", "500"], numbers(1..=500)),
        (&["--limit", "0"], numbers(1..=500)),
        (&["--since", "250", "--limit", "0"], numbers(251..=500)),
        (&["--name", "name-49?"], numbers(490..=499)),
        (&["--name", "name-[12]", "--limit", "2"], numbers(1..=2)),
        (&["--name", "name-*99", "--since", "99"], numbers([199, 299, 399, 499].into_iter())),
        (&["--name", "NAME-1"], Vec::new()),
    ] {
        let run = project.inspect(&[&["events", "s"], arguments].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(run.field("seqNum"), expected, "{arguments:?}");
    }
}

#[test]
fn a_cut_is_not_silent() {
    let noted = |project: &Project, arguments: &[&str]| {
        let run = project.inspect(&[&["events", "s"], arguments].concat());
        (run.json().len(), run.stderr)
    };
    let note = |last: i64| format!("livestore-sync: there are more: --since {last} for the next, --limit 0 for all\n");
    assert_eq!(noted(&project(100), &[]), (100, String::new()));
    let project = project(601);
    assert_eq!(noted(&project, &[]), (100, note(100)));
    assert_eq!(noted(&project, &["--limit", "256"]), (256, note(256)));
    assert_eq!(noted(&project, &["--limit", "600"]), (600, note(600)));
    assert_eq!(noted(&project, &["--limit", "601"]), (601, String::new()));
    assert_eq!(noted(&project, &["--name", "name-60*", "--limit", "2"]), (2, note(600)));
    assert_eq!(noted(&project, &["--name", "name-6", "--limit", "1"]), (1, String::new()));
}

#[test]
fn people_have_a_table_that_no_event_can_break() {
    let project = Project::new();
    project
        .database(DATA)
        .registry()
        .store("s", "eventlog_7_s", 0)
        .event("eventlog_7_s", 1, 0, "\u{1b}[2J\u{9b}31m\nname", Some("\"\u{7f}\u{202e}\""))
        .event("eventlog_7_s", 2, 1, &"x".repeat(41), Some("{"));
    assert_eq!(
        project.inspect(&["events", "s", "--table"]).ok().stdout,
        format!(
            "SEQ  PARENT  CREATED AT                NAME                                      CLIENT/SESSION      ARGS
  1       0  2026-11-21T00:05:45.001Z  \\u{{1b}}[2J\\u{{9b}}31m\\nname                  client-a/session-a  \"\\u{{7f}}\\u{{202e}}\"
  2       1  2026-11-21T00:05:45.002Z  {}…  client-a/session-a  ! EOF while parsing an object at line 1 column 1: {{
",
            "x".repeat(39)
        )
    );
    let none = project.inspect(&["events", "s", "--table", "--since", "2"]).ok();
    assert_eq!(none.stdout, "SEQ  PARENT  CREATED AT  NAME  CLIENT/SESSION  ARGS\n");
}

#[test]
fn ids_may_be_any_text() {
    let project = Project::new();
    let data = project.database(DATA);
    data.registry();
    for (number, id) in ["", "x'; DROP TABLE y; --", "🚀ü", "--json"].into_iter().enumerate() {
        let table = format!("eventlog_7_{number}");
        data.store(id, &table, 0).event(&table, 1, 0, id, None);
        assert_eq!(project.inspect(&["events", "--", id]).ok().field("name"), [id]);
    }
}

#[test]
fn ids_of_the_reference_are_found_by_their_table() {
    let project = Project::with_all_layouts();
    for id in ["from_v03", "from-v03", "from.v03"] {
        assert_eq!(project.inspect(&["events", id]).ok().field("createdAt"), [created_at(1)], "{id}");
    }
    assert_eq!(project.inspect(&["events", "from-v04"]).ok().field("args"), [json!(null)]);
    assert_eq!(project.inspect(&["events", "from_v04"]).code, Some(2), "that one's id is known");
}

/// As with `| head`.
#[test]
fn readers_may_stop_reading() {
    let project = project(5_000);
    let mut command = project.command(&["events", "s", "--limit", "0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 100]).expect("reads");
    drop(stdout);
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
