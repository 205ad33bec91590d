use std::fs;

use serde_json::Value;

use super::fixture::{D1, DATA, OBJECT, OBJECT_2, Project, Run};

fn ids(run: Run) -> Vec<String> {
    assert_eq!(run.code, Some(0), "{run:?}");
    run.field("store").iter().map(|id| id.as_str().expect("a string").to_owned()).collect()
}

#[test]
fn a_path_may_be_any_part_of_the_way() {
    let project = Project::with_all_layouts();
    let stores = |path: &str| ids(project.inspect(&["stores", "--path", path]));
    let d1 = ["empty", "from_v03", "from-v04"];
    for path in [".wrangler", ".wrangler/state", ".wrangler/state/", ".wrangler/state/v3"] {
        assert_eq!(stores(path), [&d1[..], &["own"]].concat(), "{path}");
    }
    for path in [".", ""] {
        let path = project.path(path);
        let path = path.to_str().expect("UTF-8");
        assert_eq!(stores(path), [&d1[..], &["own", "a-b", "a_b"]].concat(), "{path}");
    }
    // Without the objects one id less is known.
    for path in [".wrangler/state/v3/d1", ".wrangler/state/v3/d1/miniflare-D1DatabaseObject", D1] {
        assert_eq!(stores(path), ["empty", "from_v03", "from_v04"], "{path}");
    }
    for path in [".wrangler/state/v3/do", ".wrangler/state/v3/do/app-SyncBackendDO", OBJECT_2] {
        assert_eq!(stores(path), ["own"], "{path}");
    }
    for path in ["data", DATA] {
        assert_eq!(stores(path), ["a-b", "a_b"], "{path}");
    }
    fs::copy(project.path(DATA), project.path("backup")).expect("copies");
    assert_eq!(stores("backup"), ["a-b", "a_b"], "a file may have any name");
    assert_eq!(ids(project.inspect(&["--path", "data", "stores"])), ["a-b", "a_b"], "the flag may come first");
    assert_eq!(ids(project.inspect(&["stores", "-p", "data"])), ["a-b", "a_b"]);
}

#[test]
fn wranglers_state_is_found_from_folders_below() {
    let project = Project::with_all_layouts();
    let below = project.path("src/deep");
    fs::create_dir_all(&below).expect("makes it");
    let run = Run::of(project.command(&["stores"]).current_dir(&below).output().expect("runs"));
    let files = run.field("file");
    assert_eq!(ids(run), ["empty", "from_v03", "from-v04", "own"], "the data folder is this folder's");
    assert!(files.iter().all(|file| file.as_str().is_some_and(|file| file.ends_with(D1) || file.ends_with(OBJECT_2))));
    // What is nearer wins.
    fs::create_dir_all(below.join(".wrangler/state")).expect("makes it");
    let nothing = project.command(&["stores"]).current_dir(&below).output().expect("runs");
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn the_data_folder_is_the_servers() {
    let project = Project::with_all_layouts();
    fs::rename(project.path("data"), project.path("elsewhere")).expect("renames");
    let all = ids(project.inspect(&["stores"]));
    assert_eq!(all, ["empty", "from_v03", "from-v04", "own"]);
    let mut command = project.command(&["stores"]);
    let run = Run::of(command.env("LIVESTORE_SYNC_DATA", "./elsewhere").output().expect("runs"));
    assert_eq!(run.field("file").last(), Some(&Value::from("elsewhere/livestore-sync.db")));
    assert_eq!(ids(run), ["empty", "from_v03", "from-v04", "own", "a-b", "a_b"]);
}

#[test]
fn one_id_in_several_files_asks_which() {
    let project = Project::with_all_layouts();
    project.database(OBJECT).events_v04("eventlog_7_from_v04").event("eventlog_7_from_v04", 1, 0, "object", None);
    for command in ["events", "tail", "verify"] {
        project.inspect(&[command, "from-v04"]).refused(&[
            "there are 2 stores \"from-v04\"; choose one with --path:\n",
            &format!("\n  --path {D1}"),
            &format!("\n  --path {OBJECT}"),
        ]);
    }
    let run = project.inspect(&["events", "from-v04", "--path", OBJECT]).ok();
    assert_eq!(run.field("name"), ["object"]);
    assert_eq!(project.inspect(&["stores"]).field("store").len(), 7, "both are listed");
}
