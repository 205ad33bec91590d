use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

use super::fixture::{DATA, Database, Project};

/// Longer than any run of these takes.
const WAIT: Duration = Duration::from_secs(30);

/// A running `tail`; it is ended with the test.
struct Tail {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Tail {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        let mut command = project.command(&[&["tail", "s"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.expect("UTF-8")).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(WAIT).expect("another line")
    }

    fn numbers(&self, count: usize) -> Vec<i64> {
        let number = |line: String| serde_json::from_str::<Value>(&line).expect("JSON")["seqNum"].as_i64();
        (0..count).map(|_| number(self.line()).expect("a number")).collect()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn project(events: i64) -> (Project, Database) {
    let project = Project::new();
    let data = project.database(DATA);
    data.registry().store("s", "eventlog_7_s", 0).chain("eventlog_7_s", events);
    (project, data)
}

fn push(data: &Database, number: i64) {
    data.event("eventlog_7_s", number, number - 1, &format!("name-{number}"), None);
}

#[test]
fn it_begins_with_the_last_events_and_goes_on() {
    let (project, data) = project(30);
    let tail = Tail::start(&project, &[]);
    assert_eq!(tail.numbers(10), (21..=30).collect::<Vec<_>>());
    for number in 31..=33 {
        push(&data, number);
        assert_eq!(tail.numbers(1), [number]);
    }
    data.sql("BEGIN");
    (34..=1000).for_each(|number| push(&data, number));
    data.sql("COMMIT");
    assert_eq!(tail.numbers(967), (34..=1000).collect::<Vec<_>>());
}

#[test]
fn it_begins_where_it_is_told() {
    let (project, data) = project(30);
    let after = |arguments: &[&str]| Tail::start(&project, arguments).numbers(1);
    assert_eq!(after(&["--lines", "3"]), [28]);
    assert_eq!(after(&["-n", "100"]), [1]);
    assert_eq!(after(&["--since", "4"]), [5]);
    assert_eq!(after(&["--name", "name-?"]), [1]);
    let (none, later) = (Tail::start(&project, &["-n", "0"]), Tail::start(&project, &["--since", "31"]));
    // Both look again and again until there is something.
    assert!(none.lines.recv_timeout(Duration::from_secs(1)).is_err());
    push(&data, 31);
    push(&data, 32);
    assert_eq!(none.numbers(2), [31, 32]);
    assert_eq!(later.numbers(1), [32]);
}

#[test]
fn it_shows_only_the_names_asked_for() {
    let (project, data) = project(3);
    let tail = Tail::start(&project, &["--name", "name-*0"]);
    (4..=20).for_each(|number| push(&data, number));
    assert_eq!(tail.numbers(2), [10, 20]);
}

#[test]
fn people_have_a_table() {
    let (project, data) = project(1);
    let tail = Tail::start(&project, &["--table"]);
    assert!(tail.line().starts_with("SEQ  PARENT"));
    assert!(tail.line().starts_with("  1       0"));
    push(&data, 2);
    assert!(tail.line().starts_with("  2       1"));
}

/// Wrangler closes databases that are idle, and opens them again.
#[test]
fn it_outlives_the_writer() {
    let (project, data) = project(1);
    let tail = Tail::start(&project, &[]);
    assert_eq!(tail.numbers(1), [1]);
    drop(data);
    for number in 2..=5 {
        push(&project.database(DATA), number);
        assert_eq!(tail.numbers(1), [number]);
    }
    drop(tail);
    // From the other side: nobody has it open when it starts.
    project.database(DATA).sql("PRAGMA wal_checkpoint(TRUNCATE)");
    let tail = Tail::start(&project, &["--since", "5"]);
    for number in 6..=9 {
        push(&project.database(DATA), number);
        assert_eq!(tail.numbers(1), [number]);
    }
}

#[test]
fn it_notices_a_store_that_began_anew() {
    let (project, data) = project(5);
    let tail = Tail::start(&project, &["-n", "1"]);
    assert_eq!(tail.numbers(1), [5]);
    data.sql("BEGIN; DELETE FROM eventlog_7_s").chain("eventlog_7_s", 2).sql("COMMIT");
    assert_eq!(tail.numbers(2), [1, 2]);
}

#[test]
fn it_ends_with_the_file() {
    let (project, data) = project(1);
    let mut tail = Tail::start(&project, &[]);
    assert_eq!(tail.numbers(1), [1]);
    drop(data);
    fs::remove_dir_all(project.path("data")).expect("removes");
    assert_eq!(tail.child.wait().expect("ends").code(), Some(2));
    let mut error = String::new();
    std::io::Read::read_to_string(&mut tail.child.stderr.take().expect("piped"), &mut error).expect("UTF-8");
    assert!(error.ends_with("data/livestore-sync.db is gone\n"), "{error}");
}

/// As with `| head`: it is noticed with the next event.
#[test]
fn readers_may_stop_reading() {
    let (project, data) = project(1);
    let mut command = project.command(&["tail", "s"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("reads");
    push(&data, 2);
    let output = child.wait_with_output().expect("ends");
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
