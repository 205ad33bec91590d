//! `livestore-sync token`, and a server that wants tokens: the whole way, as processes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

const SECRETS: &str = "2026-11:a new secret of at least 32 bytes!,2026-10:an old secret of at least 32 bytes";

fn binary(secrets: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livestore-sync"));
    command.args(args).env("LIVESTORE_SYNC_AUTH_SECRETS", secrets).env("LIVESTORE_SYNC_AUTH_AUDIENCE", "sync");
    command
}

fn run(secrets: &str, args: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = binary(secrets, args).output().expect("it runs");
    (status.success(), String::from_utf8([stdout, stderr].concat()).expect("text").trim().to_owned())
}

fn create(args: &[&str]) -> String {
    let (created, token) = run(SECRETS, &[&["token", "create", "--user", "ada", "--store", "team-*"], args].concat());
    assert!(created, "{token}");
    token
}

#[test]
fn a_token_is_made_and_looked_at() {
    let token = create(&["--access", "read", "--expires-in", "2h", "--data", r#"{"a":1}"#]);
    let check = |secrets: &str, args: &[&str]| run(secrets, &[&["token", "check", &token], args].concat());
    let (ok, text) = check(SECRETS, &["--store", "team-a"]);
    assert!(ok && text.contains(r#""access":"read","data":{"a":1}"#) && text.contains(r#""user":"ada""#), "{text}");
    let (ok, text) = check(SECRETS, &["--store", "other"]);
    assert!(!ok && text.contains("refused: the token is not for the store other"), "{text}");
    // The secret is taken out of use.
    let (ok, text) = check(SECRETS.split_once(',').expect("two").1, &[]);
    assert!(!ok && text.contains("kid \"2026-11\""), "{text}");
    let (ok, text) = check(SECRETS, &["--auth-audience", "other"]);
    assert!(!ok && text.contains("audience"), "{text}");
    let (ok, text) = run(SECRETS, &["token", "check", &create(&["--expires-in", "0"]), "--auth-leeway", "0"]);
    assert!(!ok && text.contains("has expired at"), "{text}");
    let (ok, text) = run("", &["token", "create", "--user", "a", "--store", "b"]);
    assert!(!ok && text.contains("LIVESTORE_SYNC_AUTH_SECRETS"), "{text}");
}

struct Server(Child, String, #[expect(dead_code)] tempfile::TempDir);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = (self.0.kill(), self.0.wait());
    }
}

fn serve() -> Server {
    let data = tempfile::tempdir().expect("a folder");
    let mut serve = binary(SECRETS, &["serve", "--listen", "127.0.0.1:0", "--log-level", "trace", "--data"]);
    let mut child = serve.arg(data.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    Server(child, line.trim().trim_start_matches("listening on ").to_owned(), data)
}

#[test]
fn a_server_with_secrets_lets_in_who_has_a_token_and_logs_none() {
    let mut server = serve();
    let url = server.1.clone();
    let writer = create(&[]);
    let reader = create(&["--access", "read"]);
    let push = |store: &str, payload: &str| {
        let mut push = binary("", &["push", &url, store, "--payload", payload]);
        let mut push =
            push.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        std::io::Write::write_all(&mut push.stdin.take().expect("a pipe"), b"{\"name\":\"a\"}\n").expect("it reads");
        let Output { status, stderr, .. } = push.wait_with_output().expect("it ends");
        (status.success(), String::from_utf8(stderr).expect("text"))
    };
    let payload = |token: &str| format!(r#"{{"authToken":"{token}"}}"#);
    assert!(push("team-a", &payload(&writer)).0);
    for (store, payload, expected) in [
        ("team-a", payload(&reader), "may read and not write"),
        ("other", payload(&writer), "not for the store other"),
        ("team-a", payload(&format!("{writer}x")), "signature is wrong"),
        ("team-a", "{}".to_owned(), "expected it in the payload's authToken"),
    ] {
        let (pushed, errors) = push(store, &payload);
        assert!(!pushed && errors.contains(expected), "{errors}");
    }
    let (pulled, events) = run("", &["pull", &url, "team-a", "--payload", &payload(&reader)]);
    assert!(pulled && events.lines().count() == 1, "{events}");
    server.0.kill().expect("it ends");
    let mut log = String::new();
    std::io::Read::read_to_string(&mut server.0.stderr.take().expect("a pipe"), &mut log).expect("text");
    assert!(log.contains("ada"), "the user is named: {log}");
    for secret in SECRETS.split([',', ':']).chain([writer.as_str(), &reader]).filter(|text| text.len() > 10) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
