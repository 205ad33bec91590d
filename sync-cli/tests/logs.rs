//! A log line must never matter: whatever becomes of stderr and stdout, the server starts, serves and stops.

#![cfg(unix)]

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// Long enough for a loaded machine, and shorter than anything that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

struct Server {
    child: Child,
    address: SocketAddr,
    _data: tempfile::TempDir,
}

impl Server {
    /// `shell` goes before the program; stdout is read for the address unless `address` is given.
    fn start(shell: &str, stderr: Stdio, address: Option<SocketAddr>) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let listen = address.map_or("127.0.0.1:0".to_owned(), |address| address.to_string());
        let program = env!("CARGO_BIN_EXE_livestore-sync");
        let mut child = Command::new("bash")
            .arg("-c")
            .arg(format!("{shell} exec \"$0\" \"$@\""))
            .args([program, "serve", "--log-level", "trace", "--listen", &listen, "--data"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        let address = match address {
            // Nobody will read it.
            Some(address) => address,
            None => {
                let mut line = String::new();
                BufReader::new(stdout).read_line(&mut line).expect("a line");
                line.trim().rsplit_once("//").expect(&line).1.parse().expect("an address")
            }
        };
        Self { child, address, _data: data }
    }

    /// Pushes an event of this size and returns the answer.
    fn push(&self, number: usize, bytes: usize) -> String {
        let args = "x".repeat(bytes);
        let event = format!(
            r#"{{"name":"n","args":"{args}","seqNum":{number},"parentSeqNum":{},"clientId":"c","sessionId":"s"}}"#,
            number - 1
        );
        self.ask(&format!(
            r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Push","payload":{{"storeId":"a","batch":[{event}],"backendId":{{"_tag":"None"}}}},"headers":[]}}"#
        ))
    }

    fn ask(&self, body: &str) -> String {
        let begun = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(self.address) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > PATIENCE => panic!("nobody listens: {error}"),
                Err(_) => std::thread::yield_now(),
            }
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        let head = format!(
            "POST /?storeId=a&transport=http HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sends");
        stream.write_all(body.as_bytes()).expect("sends");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in time");
        answer
    }

    fn push_ok(&self, number: usize) {
        let answer = self.push(number, 10);
        assert!(answer.contains("Success"), "{number}: {answer}");
    }

    /// SIGTERM is an orderly end, in time.
    fn stop(mut self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill").success());
        let begun = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("a child") {
                Some(status) => break status,
                None if begun.elapsed() > PATIENCE => panic!("it does not stop"),
                None => std::thread::yield_now(),
            }
        };
        assert!(status.success(), "{status}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_reader_of_the_log_may_go() {
    let mut server = Server::start("", Stdio::piped(), None);
    drop(server.child.stderr.take());
    (1..=20).for_each(|number| server.push_ok(number));
    server.stop();
}

#[test]
fn the_reader_of_the_log_may_not_read() {
    let server = Server::start("", Stdio::piped(), None);
    // Each logs some hundred bytes; a pipe holds 64 KiB.
    (1..=600).for_each(|number| server.push_ok(number));
    server.stop();
}

#[test]
fn what_a_client_sends_is_no_line_of_the_log() {
    let mut server = Server::start("", Stdio::piped(), None);
    server.push_ok(1);
    let answer = server.ask(
        r#"{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{"storeId":"a","cursor":{"_tag":"Some","value":{"backendId":"x\n\u001b[31mERROR forged","eventSequenceNumber":1}}},"headers":[]}"#,
    );
    assert!(answer.contains("BackendIdMismatch"), "{answer}");
    let mut stderr = server.child.stderr.take().expect("a pipe");
    server.stop();
    let mut log = String::new();
    stderr.read_to_string(&mut log).expect("text");
    assert!(log.contains(r"x\n\u{1b}[31mERROR forged"), "{log}");
    assert!(!log.contains("\u{1b}[31m") && !log.contains("\nERROR forged"), "{log}");
}

#[cfg(target_os = "linux")]
#[test]
fn the_disk_of_the_log_may_be_full() {
    let full = File::options().write(true).open("/dev/full").expect("a device");
    let server = Server::start("", full.into(), None);
    (1..=20).for_each(|number| server.push_ok(number));
    server.stop();
}

#[test]
fn nobody_needs_to_be_told_where_it_listens() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let server = Server::start("", Stdio::null(), Some(free));
    server.push_ok(1);
    server.stop();
}

#[test]
fn a_limit_of_file_sizes_refuses_pushes_and_ends_nothing() {
    let server = Server::start("ulimit -f 1024;", Stdio::null(), None);
    let refused = (1..=100).find(|number| !server.push(*number, 100_000).contains("Success"));
    let refused = refused.expect("one that does not fit");
    assert!(server.push(refused, 100_000).contains("UnknownError"));
    let ping = r#"{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Ping","payload":{"storeId":"a"},"headers":[]}"#;
    assert!(server.ask(ping).contains("Success"));
    server.stop();
}

#[cfg(target_os = "linux")]
#[test]
fn commands_that_cannot_print_end() {
    let full = || File::options().write(true).open("/dev/full").expect("a device");
    let data = tempfile::tempdir().expect("a folder");
    for args in [&["inspect", "stores", "--path"][..], &["serve", "--listen", "256.0.0.1:0", "--data"]] {
        let program = Command::new(env!("CARGO_BIN_EXE_livestore-sync"))
            .args(args)
            .arg(data.path())
            .stdout(full())
            .stderr(full())
            .status();
        let code = program.expect("it ends").code();
        assert!(matches!(code, Some(1 | 2)), "{args:?}: {code:?}");
    }
}
