//! The server under test: given by URL, or started here. Called by the tests; the only place that starts processes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak, mpsc};
use std::time::Duration;

use crate::{Random, Store, WAIT, within};

/// A server under test.
///
/// One of three variables chooses it: `LIVESTORE_SYNC_URL` (`http://host:port[/prefix]`, running
/// already), `LIVESTORE_SYNC_BIN` (the native binary) or `LIVESTORE_SYNC_WORKER` (`d1` or `do-sqlite`:
/// the Worker that `cargo xtask worker` has bundled, with that storage). The suite starts the latter two on
/// an empty directory.
#[derive(Clone, Debug)]
pub struct Server {
    authority: String,
    prefix: String,
    process: Option<Arc<Process>>,
}

enum Choice {
    Url(String),
    Program(Program),
}

enum Program {
    Binary(PathBuf),
    Worker(String),
}

fn choice() -> Choice {
    let [url, binary, worker] = ["LIVESTORE_SYNC_URL", "LIVESTORE_SYNC_BIN", "LIVESTORE_SYNC_WORKER"]
        .map(|variable| std::env::var(variable).ok().filter(|value| !value.is_empty()));
    match (url, binary, worker) {
        (Some(url), None, None) => Choice::Url(url),
        (None, Some(path), None) => Choice::Program(Program::Binary(path.into())),
        // A storage that does not exist is refused by the program.
        (None, None, Some(storage)) => Choice::Program(Program::Worker(storage)),
        (None, None, None) => panic!(
            "no server to test: set LIVESTORE_SYNC_URL=http://host:port of a running server, \
             LIVESTORE_SYNC_BIN=path of the livestore-sync binary, or LIVESTORE_SYNC_WORKER=d1|do-sqlite"
        ),
        _ => panic!("set only one of LIVESTORE_SYNC_URL, LIVESTORE_SYNC_BIN and LIVESTORE_SYNC_WORKER"),
    }
}

impl Program {
    /// The command that starts it. Both take the same flags and print the same line when they listen.
    fn command(&self) -> Command {
        match self {
            Self::Binary(path) => {
                let mut command = Command::new(path);
                command.arg("serve").stdin(Stdio::null());
                command
            }
            Self::Worker(storage) => {
                let mut command = Command::new("node");
                command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../worker/serve.mjs"));
                // It ends when its input does.
                command.args(["--storage", storage]).stdin(Stdio::piped());
                // With the runtime that it starts, so that they can be killed in one moment.
                #[cfg(unix)]
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                command
            }
        }
    }
}

/// The server that the tests of this process share; it ends with the last of them.
static SHARED: Mutex<Weak<Process>> = Mutex::new(Weak::new());

impl Server {
    /// The server of the environment; tests of one process share it.
    #[must_use]
    pub fn shared() -> Self {
        match choice() {
            Choice::Url(url) => Self::at(&url),
            Choice::Program(_) => {
                let mut shared = lock(&SHARED);
                let process = shared.upgrade().unwrap_or_else(|| {
                    let process = Arc::new(Process::start(TempDir::new(), &[]));
                    *shared = Arc::downgrade(&process);
                    process
                });
                Self::of(process)
            }
        }
    }

    /// A server of this test's own, with more flags.
    #[must_use]
    pub fn own(flags: &[&str]) -> Self {
        Self::of(Arc::new(Process::start(TempDir::new(), flags)))
    }

    /// The server of a process.
    #[must_use]
    pub fn of(process: Arc<Process>) -> Self {
        Self { process: Some(process.clone()), ..Self::at(&process.url) }
    }

    fn at(url: &str) -> Self {
        let Some(rest) = url.strip_prefix("http://") else {
            panic!("LIVESTORE_SYNC_URL must be http://host:port[/prefix], not {url}");
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        assert!(authority.contains(':'), "LIVESTORE_SYNC_URL needs a port: {url}");
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Self { authority: authority.into(), prefix, process: None }
    }

    /// The process, where the suite started it.
    ///
    /// # Panics
    ///
    /// When the server was running already.
    #[must_use]
    pub fn process(&self) -> &Process {
        self.process.as_deref().expect("a server that the suite started")
    }

    /// `host:port`.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A path on this server.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// A store that nobody else uses.
    #[must_use]
    pub fn store(&self) -> Store {
        self.store_named(fresh_id())
    }

    /// A store by name.
    #[must_use]
    pub fn store_named(&self, id: impl Into<String>) -> Store {
        Store::new(self.clone(), id.into())
    }
}

/// An id that nobody else uses: letters and digits.
#[must_use]
pub(crate) fn fresh_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static RUN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    let run = RUN.get_or_init(|| Random::seeded(Random::seed() ^ u64::from(std::process::id())).next_u64());
    format!("t{run:016x}n{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory that goes away with this value.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// A new, empty one.
    #[must_use]
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("livestore-sync-tests-{}", fresh_id()));
        fs::create_dir_all(&path).expect("a directory for the server's data");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Nothing depends on it, and a test that fails has something better to say.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process of the server. It is killed with this value.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    /// Whether it leads a process group.
    group: bool,
    url: String,
    log: PathBuf,
    data: Option<TempDir>,
}

impl Process {
    /// Starts the server on an empty directory.
    #[must_use]
    pub fn start(data: TempDir, flags: &[&str]) -> Self {
        let mut process = Self::start_on(data.path(), flags);
        process.data = Some(data);
        process
    }

    /// Starts the server on a directory that outlives it.
    #[must_use]
    pub fn start_on(data: &Path, flags: &[&str]) -> Self {
        let Choice::Program(program) = choice() else {
            panic!("this test starts the server itself: it cannot use LIVESTORE_SYNC_URL (see --no-default-features)");
        };
        let log = data.join("stderr.log");
        let mut command = program.command();
        let mut child = command
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).expect("a log file"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that the server never blocks on its stdout.
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let group = matches!(program, Program::Worker(_));
        let mut process = Self { child: Mutex::new(child), group, url: String::new(), log, data: None };
        loop {
            match lines.recv_timeout(WAIT) {
                Ok(line) => {
                    if let Some(url) = line.strip_prefix("listening on ") {
                        url.trim().clone_into(&mut process.url);
                        return process;
                    }
                }
                Err(error) => panic!("no `listening on` from the server ({error}):\n{}", process.log_tail()),
            }
        }
    }

    /// Ends it without warning.
    pub fn kill(&self) {
        let mut child = lock(&self.child);
        assert!(child.try_wait().expect("a child can be asked").is_none(), "the server was running");
        self.kill_all(&mut child);
    }

    fn kill_all(&self, child: &mut Child) {
        if self.group {
            // Fails where it has ended already.
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status();
        }
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let id = lock(&self.child).id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status().expect("there is a kill command");
        assert!(status.success(), "kill -TERM {id}");
    }

    /// Waits for its end.
    pub async fn exit_status(&self) -> ExitStatus {
        within("the server to exit", async {
            loop {
                if let Some(status) = lock(&self.child).try_wait().expect("a child can be asked") {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.log.parent().expect("the log is in it")
    }

    /// The most memory that it had since the last [`reset_peak_bytes`](Self::reset_peak_bytes). On Linux.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.status_bytes("VmHWM:")
    }

    /// Counts the peak from here. What it has now.
    pub fn reset_peak_bytes(&self) -> u64 {
        let path = format!("/proc/{}/clear_refs", lock(&self.child).id());
        fs::write(&path, "5").unwrap_or_else(|error| panic!("{path}: {error}"));
        self.status_bytes("VmRSS:")
    }

    fn status_bytes(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", lock(&self.child).id());
        let status = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let value = status.lines().find_map(|line| line.strip_prefix(name)).expect("a line of memory");
        1024 * value.trim().trim_end_matches(" kB").parse::<u64>().expect("kB")
    }

    /// The end of what it wrote to stderr.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let ended = child.try_wait().ok().flatten();
        // It may have ended on its own, which some tests want.
        self.kill_all(&mut child);
        drop(child);
        if std::thread::panicking() {
            eprintln!("--- server ({}):\n{}", ended.map_or("running".into(), |s| s.to_string()), self.log_tail());
        }
    }
}
