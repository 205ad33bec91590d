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
/// Either of two variables chooses it: `LIVESTORE_SYNC_URL` (`http://host:port[/prefix]`, running
/// already) or `LIVESTORE_SYNC_BIN` (the native binary, which the suite starts on an empty directory).
#[derive(Clone, Debug)]
pub struct Server {
    authority: String,
    prefix: String,
    native: Option<Arc<Native>>,
}

enum Choice {
    Url(String),
    Binary(PathBuf),
}

fn choice() -> Choice {
    match (std::env::var("LIVESTORE_SYNC_URL"), std::env::var_os("LIVESTORE_SYNC_BIN")) {
        (Ok(url), None) => Choice::Url(url),
        (Err(_), Some(path)) => Choice::Binary(path.into()),
        (Ok(_), Some(_)) => panic!("set only one of LIVESTORE_SYNC_URL and LIVESTORE_SYNC_BIN"),
        (Err(_), None) => panic!(
            "no server to test: set LIVESTORE_SYNC_URL=http://host:port of a running server, \
             or LIVESTORE_SYNC_BIN=path of the livestore-sync binary"
        ),
    }
}

/// The server that the tests of this process share; it ends with the last of them.
static SHARED: Mutex<Weak<Native>> = Mutex::new(Weak::new());

impl Server {
    /// The server of the environment; tests of one process share it.
    #[must_use]
    pub fn shared() -> Self {
        match choice() {
            Choice::Url(url) => Self::at(&url),
            Choice::Binary(_) => {
                let mut shared = lock(&SHARED);
                let native = shared.upgrade().unwrap_or_else(|| {
                    let native = Arc::new(Native::start(TempDir::new(), &[]));
                    *shared = Arc::downgrade(&native);
                    native
                });
                Self::of(native)
            }
        }
    }

    /// A native server of this test's own, with more flags.
    #[must_use]
    pub fn own(flags: &[&str]) -> Self {
        Self::of(Arc::new(Native::start(TempDir::new(), flags)))
    }

    /// The server of a native process.
    #[must_use]
    pub fn of(native: Arc<Native>) -> Self {
        Self { native: Some(native.clone()), ..Self::at(&native.url) }
    }

    fn at(url: &str) -> Self {
        let Some(rest) = url.strip_prefix("http://") else {
            panic!("LIVESTORE_SYNC_URL must be http://host:port[/prefix], not {url}");
        };
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        assert!(authority.contains(':'), "LIVESTORE_SYNC_URL needs a port: {url}");
        let prefix = prefix.trim_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Self { authority: authority.into(), prefix, native: None }
    }

    /// The process, where the suite started it.
    ///
    /// # Panics
    ///
    /// When the server was running already.
    #[must_use]
    pub fn native(&self) -> &Native {
        self.native.as_deref().expect("a server that the suite started")
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

/// A process of the native binary. It is killed with this value.
#[derive(Debug)]
pub struct Native {
    child: Mutex<Child>,
    url: String,
    log: PathBuf,
    data: Option<TempDir>,
}

impl Native {
    /// Starts `LIVESTORE_SYNC_BIN` on an empty directory.
    #[must_use]
    pub fn start(data: TempDir, flags: &[&str]) -> Self {
        let mut native = Self::start_on(data.path(), flags);
        native.data = Some(data);
        native
    }

    /// Starts `LIVESTORE_SYNC_BIN` on a directory that outlives it.
    #[must_use]
    pub fn start_on(data: &Path, flags: &[&str]) -> Self {
        let Choice::Binary(binary) = choice() else {
            panic!("this test starts the native binary itself: set LIVESTORE_SYNC_BIN (or --no-default-features)");
        };
        let log = data.join("stderr.log");
        let mut child = Command::new(&binary)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).expect("a log file"))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = mpsc::channel();
        // Reads on to the end, so that the server never blocks on its stdout.
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        let mut native = Self { child: Mutex::new(child), url: String::new(), log, data: None };
        loop {
            match lines.recv_timeout(WAIT) {
                Ok(line) => {
                    if let Some(url) = line.strip_prefix("listening on ") {
                        url.trim().clone_into(&mut native.url);
                        return native;
                    }
                }
                Err(error) => panic!("no `listening on` from the server ({error}):\n{}", native.log_tail()),
            }
        }
    }

    /// Ends it without warning.
    pub fn kill(&self) {
        let mut child = lock(&self.child);
        child.kill().expect("the server was running");
        child.wait().expect("a killed process ends");
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

    /// The end of what it wrote to stderr.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let ended = child.try_wait().ok().flatten();
        // It may have ended on its own, which some tests want.
        let _ = child.kill();
        let _ = child.wait();
        drop(child);
        if std::thread::panicking() {
            eprintln!("--- server ({}):\n{}", ended.map_or("running".into(), |s| s.to_string()), self.log_tail());
        }
    }
}
