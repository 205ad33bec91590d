use serde_json::json;

use super::fixture::{D1, DATA, OBJECT, OBJECT_2, Project, created_at, snapshot};

#[test]
fn stores_of_every_layout_are_listed() {
    let project = Project::with_all_layouts();
    let before = snapshot(&project.path(""));
    let run = project.inspect(&["stores"]).ok();
    // The texts of an event without name and args have 41 bytes: `createdAt`, `client-a` and `session-a`.
    let store = |id, from, table, numbers: [i64; 3], last: Option<i64>, file, kind| {
        json!({
            "store": id, "idFrom": from, "table": table, "head": numbers[0], "events": numbers[1], "bytes": numbers[2],
            "lastWrite": last.map(created_at), "file": file, "kind": kind,
        })
    };
    assert_eq!(
        run.json(),
        [
            store("empty", "table", "eventlog_7_empty", [0, 0, 0], None, D1, "d1"),
            store("from_v03", "table", "eventlog_7_from_v03", [1, 1, 44], Some(1), D1, "d1"),
            store("from-v04", "object", "eventlog_7_from_v04", [1, 1, 42], Some(1), D1, "d1"),
            store("own", "object", "eventlog_7_own", [2, 2, 89], Some(2), OBJECT_2, "object"),
            store("a-b", "registry", "eventlog_7_a_b", [5, 2, 88], Some(5), DATA, "native"),
            store("a_b", "registry", "eventlog_7_a_b_00ff", [0, 0, 0], None, DATA, "native"),
        ]
    );
    assert_eq!(snapshot(&project.path("")), before, "no file is written or left behind");
}

/// The registry in D1, beside tables of a reference deployment that nobody has opened since.
#[test]
fn stores_of_our_worker_are_listed() {
    let project = Project::new();
    let d1 = project.database(D1);
    d1.events_v04("eventlog_7_old_app").event("eventlog_7_old_app", 1, 0, "a", None);
    d1.registry().store("new-app", "eventlog_7_new_app", 0).event("eventlog_7_new_app", 1, 0, "a", None);
    project.database(OBJECT).context("old-app", 1);
    // Without a database bound, the same in the object's own file.
    let object = project.database(OBJECT_2);
    object.registry().store("own", "eventlog_7_own", 0).event("eventlog_7_own", 1, 0, "a", None);
    let run = project.inspect(&["stores"]).ok();
    assert_eq!(run.field("store"), ["new-app", "old-app", "own"]);
    assert_eq!(run.field("idFrom"), ["registry", "object", "registry"]);
    assert_eq!(run.field("kind"), ["d1", "d1", "object"]);
    assert_eq!(project.inspect(&["verify"]).ok().field("ok"), [true; 3]);
}

#[test]
fn people_have_a_table() {
    let project = Project::with_all_layouts();
    let run = project.inspect(&["stores", "--table"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let expected = format!(
        "  STORE      TABLE                HEAD  EVENTS  BYTES  LAST WRITE
{D1} (d1)
  empty*     eventlog_7_empty        0       0      0
  from_v03*  eventlog_7_from_v03     1       1     44  2026-11-21T00:05:45.001Z
  from-v04   eventlog_7_from_v04     1       1     42  2026-11-21T00:05:45.001Z
{OBJECT_2} (object)
  own        eventlog_7_own          2       2     89  2026-11-21T00:05:45.002Z
{DATA} (native)
  a-b        eventlog_7_a_b          5       2     88  2026-11-21T00:05:45.005Z
  a_b        eventlog_7_a_b_00ff     0       0      0
"
    );
    assert_eq!(run.stdout, expected);
    assert!(run.stderr.contains("* the id is not recorded"), "{}", run.stderr);
}

#[test]
fn a_file_without_stores_yet_is_no_error() {
    let project = Project::new();
    project.database(DATA).registry();
    assert_eq!(project.inspect(&["stores"]).ok().stdout, "");
    assert_eq!(project.inspect(&["verify"]).ok().stdout, "");
}

#[test]
fn a_store_whose_table_is_missing_is_listed_as_that() {
    let project = Project::new();
    project.database(DATA).registry().store("a", "eventlog_7_a", 0).sql("DROP TABLE eventlog_7_a");
    let run = project.inspect(&["stores"]).ok();
    assert_eq!(run.field("head"), [json!(null)]);
    assert_eq!(run.field("problem"), ["there is no table \"eventlog_7_a\" with the columns of events"]);
    let table = project.inspect(&["stores", "--table"]).ok();
    assert!(table.stdout.contains("! there is no table"), "{}", table.stdout);
}

/// They are summed up piece by piece.
#[test]
fn large_stores_are_summed_up() {
    let project = Project::new();
    project.database(DATA).registry().store("a", "eventlog_7_a", 0).sql(
        "INSERT INTO eventlog_7_a WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20001)
         SELECT i, i - 1, 'name', '{}', '2026-11-21T00:00:00.000Z', 'c', 's' FROM n",
    );
    let run = project.inspect(&["stores"]).ok();
    let line = &run.json()[0];
    assert_eq!((&line["head"], &line["events"]), (&json!(20_001), &json!(20_001)));
    assert_eq!(line["bytes"], json!(20_001 * 32));
}

/// The server's settings are not its business, and what a flag is said to be in many ways is none of its mistakes.
#[test]
fn flags_in_variables_do_not_matter() {
    let project = Project::with_all_layouts();
    for value in ["1", "0", "yes", "off", "TRUE", ""] {
        let output = project.command(&["stores"]).env("LIVESTORE_SYNC_CORS", value).output().expect("runs");
        assert!(output.status.success(), "{value:?}: {output:?}");
    }
}
