//! A native server in this process, and events.

#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod proxy;

use std::net::SocketAddr;
use std::time::Duration;

use livestore_sync_client::protocol::{Args, Event, PulledEvent, SeqNum};
use livestore_sync_client::{Builder, ConnectionState, Generation, SyncClient, Timing, Transport};
use livestore_sync_server::native::Server;
use livestore_sync_server::{HookFns, Hooks};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    data: TempDir,
    stop: tokio::sync::oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Every way to speak to the server.
pub(crate) const WAYS: [(Generation, Transport); 3] =
    [(Generation::V04, Transport::Ws), (Generation::V04, Transport::Http), (Generation::V03, Transport::Ws)];

pub(crate) async fn start() -> Running {
    start_with(HookFns::new()).await
}

pub(crate) async fn start_with(hooks: impl Hooks) -> Running {
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
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn builder(&self) -> Builder {
        SyncClient::builder(self.url(), "notes").timing(timing())
    }

    pub(crate) fn client(&self) -> SyncClient {
        self.builder().connect().expect("a client")
    }

    /// Stops the server; its log stays.
    pub(crate) async fn stop(self) -> Stopped {
        drop(self.stop);
        self.task.await.expect("the server stops");
        Stopped { address: self.address, data: self.data }
    }
}

pub(crate) struct Stopped {
    address: SocketAddr,
    data: TempDir,
}

impl Stopped {
    /// Starts it again at the same address.
    pub(crate) async fn start(self) -> Running {
        serve(&self.address.to_string(), self.data, HookFns::new()).await
    }

    /// Starts a server without this one's log at the same address.
    pub(crate) async fn start_empty(self) -> Running {
        serve(&self.address.to_string(), tempfile::tempdir().expect("a folder"), HookFns::new()).await
    }
}

/// Fast, so that tests are.
pub(crate) fn timing() -> Timing {
    Timing {
        backoff_min: Duration::from_millis(20),
        backoff_max: Duration::from_millis(100),
        poll_interval: Duration::from_millis(50),
        ..Timing::default()
    }
}

pub(crate) fn at(value: i64) -> SeqNum {
    SeqNum::new(value).expect("a number")
}

/// The events with these numbers, each the parent of the next.
pub(crate) fn events(numbers: std::ops::RangeInclusive<i64>) -> Vec<Event> {
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

pub(crate) fn numbers(events: &[PulledEvent]) -> Vec<i64> {
    events.iter().map(|pulled| pulled.event.seq_num.get()).collect()
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time")
}

/// Waits for a state of the connection.
pub(crate) async fn until(client: &SyncClient, wanted: impl Fn(&ConnectionState) -> bool) -> ConnectionState {
    let mut state = client.connection();
    within(state.wait_for(|state| wanted(state))).await.expect("the client runs").clone()
}

pub(crate) async fn connected(client: &SyncClient) {
    until(client, |state| *state == ConnectionState::Connected).await;
}

pub(crate) async fn offline(client: &SyncClient) -> ConnectionState {
    until(client, |state| matches!(state, ConnectionState::Offline { .. })).await
}
