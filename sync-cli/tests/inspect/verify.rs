use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::process::Stdio;

use serde_json::{Value, json};

use super::fixture::{D1, DATA, Database, Project};

#[test]
fn whole_stores_are_ok() {
    let project = Project::with_all_layouts();
    let run = project.inspect(&["verify"]).ok();
    assert_eq!(run.field("ok"), vec![json!(true); 6]);
    assert_eq!(run.field("faults"), vec![json!([]); 6]);
    assert_eq!(run.field("events"), [0, 1, 1, 2, 2, 0]);
    assert_eq!(run.field("head"), [0, 1, 1, 2, 5, 0]);
    let table = project.inspect(&["verify", "--table"]).ok().stdout;
    assert!(table.contains(&format!("OK     from_v03: 1 event, head 1 ({D1})\n")), "{table}");
    let one = project.inspect(&["verify", "a-b"]).ok();
    assert_eq!(one.field("store"), ["a-b"]);
}

#[test]
fn long_chains_are_ok() {
    let project = Project::new();
    project.database(DATA).registry().store("s", "eventlog_7_s", 0).chain("eventlog_7_s", 1000);
    assert_eq!(project.inspect(&["verify"]).ok().field("events"), [1000]);
}

/// A store of 600 events, over pages, with a fault; what is said of it.
fn faults(break_it: impl FnOnce(&Database)) -> Vec<Value> {
    let project = Project::new();
    let data = project.database(DATA);
    data.registry().store("sound", "eventlog_7_sound", 0).store("s", "eventlog_7_s", 0);
    data.chain("eventlog_7_sound", 3).sql("BEGIN").chain("eventlog_7_s", 600).sql("COMMIT");
    break_it(&data);
    drop(data);
    let run = project.inspect(&["verify"]);
    assert_eq!((run.code, &*run.stderr), (Some(1), ""), "{run:?}");
    let mut lines = run.json();
    assert_eq!(lines.iter().map(|line| line["store"].clone()).collect::<Vec<_>>(), ["s", "sound"]);
    assert_eq!((&lines[0]["ok"], &lines[1]["ok"]), (&json!(false), &json!(true)));
    assert_eq!(project.inspect(&["verify", "s"]).code, Some(1));
    assert_eq!(project.inspect(&["verify", "sound"]).code, Some(0));
    // The same, for people.
    let table = project.inspect(&["verify", "--table"]);
    assert_eq!(table.code, Some(1));
    let faults = lines[0]["faults"].take();
    let faults = faults.as_array().expect("a list");
    for fault in faults {
        let place = fault["seqNum"].as_i64().map_or_else(String::new, |number| format!("event {number}: "));
        let text = fault["text"].as_str().expect("a text");
        assert!(table.stdout.contains(&format!("FAULT  s: {place}{text} ({DATA})\n")), "{}", table.stdout);
    }
    faults.clone()
}

fn fault(seq_num: i64, fault: &str, text: &str) -> Value {
    json!({ "seqNum": seq_num, "fault": fault, "text": text })
}

fn update(set: &'static str) -> impl Fn(&Database) {
    move |data| {
        data.sql(&format!("UPDATE eventlog_7_s SET {set}"));
    }
}

#[test]
fn an_event_that_is_missing() {
    let found = faults(|data| {
        data.sql("DELETE FROM eventlog_7_s WHERE seqNum = 257");
    });
    let gaps = "the registry says that 0 sequence numbers have no event, but it is 1";
    assert_eq!(
        found,
        [fault(258, "parent", "its parent is 257, the event before is 256"), json!({ "fault": "gaps", "text": gaps })]
    );
}

#[test]
fn a_first_event_that_is_missing() {
    let found = faults(|data| {
        data.sql(
            "DELETE FROM eventlog_7_s WHERE seqNum = 1; UPDATE livestore_stores SET gaps = 1 WHERE store_id = 's'",
        );
    });
    assert_eq!(found, [fault(2, "parent", "its parent is 1, but it is the first event: that should be 0")]);
}

#[test]
fn a_parent_that_is_another() {
    let found = faults(update("parentSeqNum = 3 WHERE seqNum = 512"));
    assert_eq!(found, [fault(512, "parent", "its parent is 3, the event before is 511")]);
}

#[test]
fn numbers_below_one() {
    let found = faults(|data| {
        data.event("eventlog_7_s", -5, 0, "a", None).sql("UPDATE eventlog_7_s SET parentSeqNum = -5 WHERE seqNum = 1");
    });
    assert_eq!(found[0], fault(-5, "number", "numbers begin at 1"));
}

/// SQLite's own key keeps them in order, unless the table has another.
#[test]
fn numbers_that_do_not_ascend() {
    let found = faults(|data| {
        data.sql("ALTER TABLE eventlog_7_s RENAME TO old; CREATE TABLE eventlog_7_s AS SELECT * FROM old").event(
            "eventlog_7_s",
            300,
            299,
            "a",
            None,
        );
    });
    assert_eq!(found[0], fault(300, "order", "it comes after event 300, but numbers must ascend"));
}

#[test]
fn args_that_are_no_json() {
    let found = faults(update("args = '{\"a\":' WHERE seqNum = 300"));
    assert_eq!(found, [fault(300, "args", "its args are no JSON: EOF while parsing a value at line 1 column 5")]);
}

#[test]
fn texts_that_are_not_utf8() {
    let found = faults(update("args = CAST(x'22ff22' AS TEXT), name = CAST(x'ff' AS TEXT) WHERE seqNum = 300"));
    assert_eq!(
        found,
        [fault(300, "utf8", "its column name is not UTF-8"), fault(300, "utf8", "its column args is not UTF-8")]
    );
}

#[test]
fn times_that_are_none() {
    let found = faults(update("createdAt = '2026-02-30T00:00:00.000Z' WHERE seqNum = 300"));
    assert_eq!(found, [fault(300, "createdAt", "its createdAt is no time: \"2026-02-30T00:00:00.000Z\"")]);
}

#[test]
fn gaps_that_are_not_as_recorded() {
    let found = faults(|data| {
        data.sql("UPDATE livestore_stores SET gaps = 7 WHERE store_id = 's'");
    });
    let text = "the registry says that 7 sequence numbers have no event, but it is 0";
    assert_eq!(found, [json!({ "fault": "gaps", "text": text })]);
}

#[test]
fn tables_that_are_missing() {
    let text = r#"there is no table "eventlog_7_s" with the columns of events"#;
    let expected = json!({ "fault": "table", "text": text });
    let found = faults(|data| {
        data.sql("DROP TABLE eventlog_7_s");
    });
    assert_eq!(found, std::slice::from_ref(&expected));
    let found = faults(|data| {
        data.sql("ALTER TABLE eventlog_7_s DROP COLUMN sessionId");
    });
    assert_eq!(found, [expected]);
}

#[test]
fn many_faults_are_counted() {
    let project = Project::new();
    let data = project.database(DATA);
    data.registry().store("s", "eventlog_7_s", 0).chain("eventlog_7_s", 50).sql("UPDATE eventlog_7_s SET args = ''");
    let run = project.inspect(&["verify"]);
    assert_eq!(run.code, Some(1));
    assert_eq!(run.json()[0]["faults"].as_array().map(Vec::len), Some(20));
    assert_eq!(run.field("faultsMore"), [30]);
    let table = project.inspect(&["verify", "--table"]).stdout;
    assert!(table.ends_with(&format!("FAULT  s: 30 more faults ({DATA})\n")), "{table}");
}

#[test]
fn the_verdict_does_not_need_a_reader() {
    let project = Project::new();
    let data = project.database(DATA);
    data.registry().store("s", "eventlog_7_s", 0).chain("eventlog_7_s", 1).event("eventlog_7_s", 2, 7, "a", None);
    let mut child = project.command(&["verify"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), output.stderr), (Some(1), Vec::new()));
}

#[test]
fn files_that_are_damaged() {
    let project = Project::new();
    let data = project.database(DATA);
    data.registry().store("s", "eventlog_7_s", 0).sql("BEGIN").chain("eventlog_7_s", 2000).sql("COMMIT");
    drop(data);
    // All pages but the first few: the schema is still there.
    let mut file = fs::OpenOptions::new().write(true).open(project.path(DATA)).expect("opens");
    let bytes = file.metadata().expect("a file").len();
    file.seek(SeekFrom::Start(8 * 4096)).expect("seeks");
    file.write_all(&vec![0xa5; usize::try_from(bytes - 8 * 4096).expect("small")]).expect("writes");
    drop(file);
    let run = project.inspect(&["verify"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stdout.contains(r#""fault":"damaged""#), "{run:?}");
}
