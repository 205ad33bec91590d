use std::fs;

use super::fixture::{D1, DATA, OBJECT, Project};

#[test]
fn nothing_to_look_at() {
    let project = Project::new();
    for command in [&["stores"][..], &["events", "s"], &["tail", "s"], &["verify"]] {
        project.inspect(command).refused(&["found no database of a sync server", ".wrangler/state", "--path"]);
    }
    project.database(OBJECT).sql("CREATE TABLE t (n INTEGER)");
    project.inspect(&["stores"]).refused(&["found no database of a sync server"]);
    project.inspect(&["stores", "--path", ".wrangler"]).refused(&["found no database of a sync server in .wrangler"]);
    project.inspect(&["stores", "--path", OBJECT]).refused(&[OBJECT, "holds no LiveStore events"]);
    project.inspect(&["stores", "--path", "nowhere"]).refused(&["cannot read nowhere: "]);
    fs::write(project.path("empty.sqlite"), "").expect("writes");
    project.inspect(&["stores", "--path", "empty.sqlite"]).refused(&["empty.sqlite", "holds no LiveStore events"]);
}

#[test]
fn files_that_are_no_databases() {
    let project = Project::new();
    fs::write(project.path("notes.txt"), "nothing that SQLite would know").expect("writes");
    for command in [&["stores"][..], &["events", "s"], &["tail", "s"], &["verify"]] {
        let arguments = [command, &["--path", "notes.txt"]].concat();
        project.inspect(&arguments).refused(&["notes.txt is not a SQLite database"]);
    }
}

/// One broken file hides no other, but is not passed over in silence.
#[test]
fn one_broken_file_among_others() {
    let project = Project::with_all_layouts();
    fs::write(project.path(D1), "nothing that SQLite would know").expect("writes");
    for command in ["stores", "verify"] {
        let run = project.inspect(&[command]);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert_eq!(run.field("store"), ["own", "a-b", "a_b"]);
        assert!(run.stderr.contains("is not a SQLite database"), "{}", run.stderr);
    }
    let run = project.inspect(&["events", "own"]);
    assert_eq!((run.code, run.json().len()), (Some(0), 2));
    assert!(run.stderr.contains("is not a SQLite database"), "{}", run.stderr);
}

#[test]
fn stores_that_do_not_exist() {
    let project = Project::new();
    project.database(DATA).registry();
    for command in ["events", "tail", "verify"] {
        project.inspect(&[command, "s"]).refused(&["there is no store \"s\"; there are none yet"]);
    }
    project.database(DATA).store("a", "eventlog_7_a", 0).store("b\u{1b}", "eventlog_7_b_", 0);
    for command in ["events", "tail", "verify"] {
        project.inspect(&[command, "s"]).refused(&[r#"there is no store "s"; there are: "a", "b\u{1b}""#]);
    }
}

#[test]
fn stores_without_a_table() {
    let project = Project::new();
    project.database(DATA).registry().store("a", "eventlog_7_a", 0).sql("DROP TABLE eventlog_7_a");
    for command in ["events", "tail"] {
        project.inspect(&[command, "a"]).refused(&["the events of store \"a\" cannot be read: there is no table"]);
    }
}

#[test]
fn usage() {
    let project = Project::with_all_layouts();
    for arguments in [
        &[][..],
        &["events"],
        &["nonsense"],
        &["events", "own", "--limit", "-1"],
        &["events", "own", "--since", "x"],
        &["stores", "--json", "--table"],
        &["tail", "own", "--since", "1", "--lines", "2"],
    ] {
        let run = project.inspect(arguments);
        assert_eq!((run.code, &*run.stdout), (Some(2), ""), "{arguments:?}");
        assert!(run.stderr.contains("--help"), "{}", run.stderr);
    }
    for arguments in [&["--help"][..], &["stores", "--help"], &["events", "-h"]] {
        assert!(project.inspect(arguments).ok().stdout.contains("Usage: livestore-sync inspect"), "{arguments:?}");
    }
}
