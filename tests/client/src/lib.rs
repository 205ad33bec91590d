//! What the tests of the client beside a server share: a native server in this process, a network that fails on demand,
//! and events. The tests are in `tests/`; they are a package of their own because they stand above both the client and
//! the server.

pub mod compressing;
pub mod proxy;

use std::net::SocketAddr;
use std::time::Duration;

use livestore_sync_client::protocol::{Args, Event, PulledEvent, SeqNum};
use livestore_sync_client::{Builder, ConnectionState, Protocol, SyncClient, Timing};
use livestore_sync_server::native::Server;
use livestore_sync_server::{HookFns, Hooks};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A server in this process. Dropping it stops the server and deletes its log.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    data: TempDir,
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Every way to speak to the server.
pub const PROTOCOLS: [Protocol; 3] = [Protocol::V04Ws, Protocol::V04Http, Protocol::V03];

/// A server without hooks.
///
/// # Panics
///
/// When there is no port or folder for it.
pub async fn start() -> Running {
    start_with(HookFns::new()).await
}

/// A server with hooks.
///
/// # Panics
///
/// As [`start`].
pub async fn start_with(hooks: impl Hooks) -> Running {
    serve("127.0.0.1:0", tempfile::tempdir().expect("a folder"), hooks).await
}

async fn serve(listen: &str, data: TempDir, hooks: impl Hooks) -> Running {
    let server = Server::builder(data.path()).hooks(hooks).build().expect("a server");
    let listener = TcpListener::bind(listen).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    let task = tokio::spawn(async move { drop(server.serve(listener, stopped).await) });
    Running { address, data, stop, task }
}

impl Running {
    /// As apps are given it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client of the store `notes`, with [`timing`].
    pub fn builder(&self) -> Builder {
        SyncClient::builder(self.url(), "notes").timing(timing())
    }

    /// The same, started.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn client(&self) -> SyncClient {
        self.builder().start().expect("a client")
    }

    /// Stops the server; its log stays.
    ///
    /// # Panics
    ///
    /// When the server did.
    pub async fn stop(self) -> Stopped {
        drop(self.stop);
        self.task.await.expect("the server stops");
        Stopped { address: self.address, data: self.data }
    }
}

/// A server that was stopped, and its log.
#[derive(Debug)]
pub struct Stopped {
    address: SocketAddr,
    data: TempDir,
}

impl Stopped {
    /// Starts it again at the same address.
    ///
    /// # Panics
    ///
    /// When the port is taken meanwhile.
    pub async fn start(self) -> Running {
        serve(&self.address.to_string(), self.data, HookFns::new()).await
    }

    /// Starts a server without this one's log at the same address.
    ///
    /// # Panics
    ///
    /// When the port is taken meanwhile.
    pub async fn start_empty(self) -> Running {
        serve(&self.address.to_string(), tempfile::tempdir().expect("a folder"), HookFns::new()).await
    }
}

/// Fast, so that tests are.
#[must_use]
pub fn timing() -> Timing {
    let mut timing = Timing::default();
    timing.backoff_min = Duration::from_millis(20);
    timing.backoff_max = Duration::from_millis(100);
    timing.poll_interval = Duration::from_millis(50);
    timing
}

/// A number.
///
/// # Panics
///
/// When no event can have it.
#[must_use]
pub fn at(value: i64) -> SeqNum {
    SeqNum::new(value).expect("a number")
}

/// The events with these numbers, each the parent of the next.
///
/// # Panics
///
/// When no event can have one of them.
#[must_use]
pub fn events(numbers: std::ops::RangeInclusive<i64>) -> Vec<Event> {
    let event = |n: i64| Event {
        name: "v1.Added".into(),
        args: Args::from_json(format!(r#"{{"n":{n}}}"#)).expect("JSON"),
        seq_num: at(n),
        parent_seq_num: at(n - 1),
        client_id: "c".into(),
        session_id: "s".into(),
    };
    numbers.map(event).collect()
}

/// The numbers of events.
#[must_use]
pub fn numbers(events: &[PulledEvent]) -> Vec<i64> {
    events.iter().map(|pulled| pulled.event.seq_num.get()).collect()
}

/// Waits, for 20 seconds at most.
///
/// # Panics
///
/// After that.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// Waits for a state of the connection.
///
/// # Panics
///
/// When it does not come, or the client has stopped.
pub async fn until(client: &SyncClient, wanted: impl Fn(&ConnectionState) -> bool) -> ConnectionState {
    let mut state = client.connection();
    within(state.wait_for(|state| wanted(state))).await.expect("the client runs").clone()
}

/// Waits until there is a connection.
pub async fn connected(client: &SyncClient) {
    until(client, |state| *state == ConnectionState::Connected).await;
}

/// Waits until there is no connection.
pub async fn offline(client: &SyncClient) -> ConnectionState {
    until(client, |state| matches!(state, ConnectionState::Offline { .. })).await
}
