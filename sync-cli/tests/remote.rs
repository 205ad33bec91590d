//! The commands `push` and `pull` of the binary, and a server in this process.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use livestore_sync_server::native::Server;
use livestore_sync_server::{HookError, HookFns, Hooks};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

struct Running {
    address: SocketAddr,
    _data: tempfile::TempDir,
}

async fn serve(hooks: impl Hooks) -> Running {
    let data = tempfile::tempdir().expect("a folder");
    let server = Server::builder(data.path()).hooks(hooks).build().expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    Running { address, _data: data }
}

/// What a command gave.
struct Ended {
    ok: bool,
    lines: Vec<Value>,
    errors: String,
}

impl Running {
    fn command(&self, command: &str, args: &[&str]) -> Command {
        let mut process = Command::new(env!("CARGO_BIN_EXE_livestore-sync"));
        process.arg(command).arg(format!("http://{}", self.address)).arg("notes").args(args).kill_on_drop(true);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process
    }

    async fn run(&self, command: &str, args: &[&str], input: &str) -> Ended {
        let mut process = self.command(command, args).spawn().expect("starts");
        let mut stdin = process.stdin.take().expect("a pipe");
        let input = input.to_owned();
        // It may end before it has read everything.
        let writing = tokio::spawn(async move { drop(stdin.write_all(input.as_bytes()).await) });
        let output = tokio::time::timeout(Duration::from_secs(30), process.wait_with_output());
        let output = output.await.expect("in time").expect("runs");
        writing.await.expect("writes");
        let text = String::from_utf8(output.stdout).expect("text");
        Ended {
            ok: output.status.success(),
            lines: text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(),
            errors: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

fn given(numbers: std::ops::RangeInclusive<i64>) -> String {
    numbers.map(|n| format!("{}\n", json!({ "name": "v1.Added", "args": { "n": n } }))).collect()
}

fn args_of(lines: &[Value]) -> Vec<i64> {
    lines.iter().map(|line| line["args"]["n"].as_i64().expect("a number")).collect()
}

#[tokio::test]
async fn what_is_pushed_is_pulled_by_every_way() {
    for way in [&[][..], &["--transport", "http"], &["--generation", "0.3"]] {
        let server = serve(HookFns::new()).await;
        let pushed = server.run("push", way, &given(1..=250)).await;
        assert!(pushed.ok, "{}", pushed.errors);
        assert_eq!(pushed.errors, "livestore-sync: pushed 250 events\n");
        let pulled = server.run("pull", way, "").await;
        assert!(pulled.ok, "{}", pulled.errors);
        assert_eq!(args_of(&pulled.lines), (1..=250).collect::<Vec<_>>());
        assert_eq!(pulled.lines[9]["seqNum"], 10);
        assert_eq!(pulled.lines[9]["clientId"], "livestore-sync");
        let rest = server.run("pull", &[way, &["--since", "240"]].concat(), "").await;
        assert_eq!(args_of(&rest.lines), (241..=250).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn what_is_pulled_can_be_pushed() {
    let from = serve(HookFns::new()).await;
    let to = serve(HookFns::new()).await;
    from.run("push", &["--client-id", "me"], &given(1..=3)).await;
    to.run("push", &[], &given(9..=9)).await;
    let pulled = from.run("pull", &[], "").await;
    let input: String = pulled.lines.iter().map(|line| format!("{line}\n")).collect();
    let pushed = to.run("push", &[], &input).await;
    assert!(pushed.ok, "{}", pushed.errors);
    let copied = to.run("pull", &[], "").await.lines;
    assert_eq!(args_of(&copied), [9, 1, 2, 3]);
    assert_eq!((&copied[3]["clientId"], &copied[3]["seqNum"]), (&json!("me"), &json!(4)));
    assert_eq!(copied[3]["sessionId"], pulled.lines[2]["sessionId"]);
}

#[tokio::test]
async fn several_pushers_all_succeed() {
    let server = serve(HookFns::new()).await;
    let (a, b, c) = (given(1..=150), given(1001..=1150), given(2001..=2150));
    let pushed = tokio::join!(server.run("push", &[], &a), server.run("push", &[], &b), server.run("push", &[], &c));
    for pushed in [pushed.0, pushed.1, pushed.2] {
        assert!(pushed.ok, "{}", pushed.errors);
    }
    let mut all = args_of(&server.run("pull", &[], "").await.lines);
    all.sort_unstable();
    assert_eq!(all, (1..=150).chain(1001..=1150).chain(2001..=2150).collect::<Vec<_>>());
}

#[tokio::test]
async fn live_goes_on() {
    let server = serve(HookFns::new()).await;
    server.run("push", &[], &given(1..=2)).await;
    let mut process = server.command("pull", &["--live"]).spawn().expect("starts");
    let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
    for n in 1..=4 {
        if n == 3 {
            server.run("push", &[], &given(3..=4)).await;
        }
        let line = tokio::time::timeout(Duration::from_secs(30), lines.next_line());
        let line: Value =
            serde_json::from_str(&line.await.expect("in time").expect("reads").expect("a line")).expect("JSON");
        assert_eq!(line["args"]["n"], n);
    }
    process.kill().await.expect("ends");
}

#[tokio::test]
async fn mistakes_are_told_with_their_line() {
    let server = serve(HookFns::new()).await;
    for (line, message) in [
        ("{", "line 3: EOF"),
        (r#"{"name":"n","arg":{}}"#, "line 3: unknown field `arg`"),
        (r#"{"args":{}}"#, "line 3: missing field `name`"),
    ] {
        let pushed = server.run("push", &[], &format!("{}\n{line}\n{}", given(1..=1), given(2..=2))).await;
        assert!(!pushed.ok);
        assert!(pushed.errors.contains(message) && pushed.errors.contains("1 events were pushed"), "{}", pushed.errors);
    }
}

#[tokio::test]
async fn what_the_server_says_is_told() {
    let hooks = HookFns::new().validate_payload(async |connection| {
        let payload: Value = connection.payload_as()?;
        if payload["token"] == "x" { Ok(()) } else { Err(HookError::new("unknown token")) }
    });
    let server = serve(hooks.on_push(async |_, _| Err(HookError::new("you may not")))).await;
    let pushed = server.run("push", &["--payload", r#"{"token":"x"}"#], &given(1..=1)).await;
    assert!(!pushed.ok && pushed.errors.contains("you may not (0 events were pushed)"), "{}", pushed.errors);
    let pulled = server.run("pull", &["--payload", r#"{"token":"y"}"#], "").await;
    assert!(!pulled.ok && pulled.errors.contains("unknown token"), "{}", pulled.errors);
}

#[tokio::test]
async fn a_mark_of_the_encoding_is_no_mistake() {
    let server = serve(HookFns::new()).await;
    let pushed = server.run("push", &[], &format!("\u{feff}{}", given(1..=2))).await;
    assert!(pushed.ok, "{}", pushed.errors);
    assert_eq!(args_of(&server.run("pull", &[], "").await.lines), [1, 2]);
    // It stands at the beginning or nowhere.
    let pushed = server.run("push", &[], &format!("{}\u{feff}{}", given(3..=3), given(4..=4))).await;
    assert!(!pushed.ok && pushed.errors.contains("line 2"), "{}", pushed.errors);
}

/// What the portal of a wireless network does.
#[tokio::test]
async fn what_answers_in_the_place_of_a_server_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|bytes| bytes > 2) {
                    line.clear();
                }
                let page = "<!DOCTYPE html><title>Welcome to the hotel</title>";
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n", page.len());
                drop(stream.write_all((head + page).as_bytes()).await);
            });
        }
    });
    let portal = Running { address, _data: tempfile::tempdir().expect("a folder") };
    for way in [&["--transport", "http"][..], &["--transport", "http", "--live"], &[], &["--generation", "0.3"]] {
        let pulled = portal.run("pull", way, "").await;
        assert!(
            !pulled.ok && pulled.errors.contains("(200): <!DOCTYPE html><title>Welcome"),
            "{way:?}: {}",
            pulled.errors
        );
    }
}
