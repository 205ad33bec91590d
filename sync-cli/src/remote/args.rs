//! The arguments of `push` and `pull`, and the client that they describe.

use clap::{Args, ValueEnum};
use livestore_sync_client::{Protocol, SyncClient};
use serde_json::Value;

use super::Failure;

/// Push events to a store of a sync server
///
/// Reads one event per line from standard input, as JSON: `{"name":"v1.TodoCreated","args":{"id":"1"}}`. Events as
/// `pull` and `inspect` print them are understood, too; they get new numbers. Events are pushed as they
/// come, each after whatever the log holds by then.
#[derive(Args)]
#[command(after_long_help = PUSH_EXAMPLES)]
pub(crate) struct Push {
    #[command(flatten)]
    pub(super) server: Server,

    /// The client id of events that have none
    #[arg(long, value_name = "ID", default_value = "livestore-sync")]
    pub(super) client_id: String,
}

/// Print the events of a store of a sync server
///
/// Prints one event per line, as JSON: `seqNum`, `parentSeqNum`, `name`, `args` (as the client wrote it; left out
/// where it gave none), `createdAt`, `clientId` and `sessionId`.
#[derive(Args)]
#[command(after_long_help = PULL_EXAMPLES)]
pub(crate) struct Pull {
    #[command(flatten)]
    pub(super) server: Server,

    /// Only events after this sequence number
    #[arg(long, value_name = "N")]
    pub(super) since: Option<u64>,

    /// Go on with what is pushed from now on, also after the server was away
    #[arg(long)]
    pub(super) live: bool,
}

const PUSH_EXAMPLES: &str = "\
Examples:
  echo '{\"name\":\"v1.TodoCreated\",\"args\":{\"id\":\"1\"}}' | livestore-sync push http://localhost:8787 my-store
  livestore-sync pull http://localhost:8787 my-store | livestore-sync push https://sync.example.com copy";

const PULL_EXAMPLES: &str = "\
Examples:
  livestore-sync pull http://localhost:8787 my-store --since 120
  livestore-sync pull http://localhost:8787 my-store --live | jq -r .name";

/// How to reach a store.
#[derive(Args, Clone)]
pub(super) struct Server {
    /// Where the server is, as in LiveStore apps: ws://, wss://, http:// or https://
    #[arg(value_name = "URL")]
    url: String,

    /// The store's id
    store: String,

    /// The payload for the server's `validatePayload`, as JSON
    #[arg(long, env = "LIVESTORE_SYNC_PAYLOAD", value_name = "JSON", value_parser = json, hide_env_values = true)]
    payload: Option<Value>,

    /// A header of the connection, as `name: value`; may be given more than once
    #[arg(long, short = 'H', value_name = "HEADER", value_parser = header)]
    header: Vec<(String, String)>,

    /// Which protocol the server speaks
    #[arg(long, default_value = "0.4")]
    generation: GenerationArg,

    /// How to connect
    #[arg(long, default_value = "ws")]
    transport: TransportArg,

    /// Do not offer the server to compress what is sent over a WebSocket
    #[arg(long)]
    no_compression: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum GenerationArg {
    #[value(name = "0.3")]
    V03,
    #[value(name = "0.4")]
    V04,
}

#[derive(Clone, Copy, ValueEnum)]
enum TransportArg {
    Ws,
    Http,
}

fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("a header is `name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Server {
    pub(super) fn start(&self) -> Result<SyncClient, Failure> {
        let protocol = match (self.generation, self.transport) {
            (GenerationArg::V04, TransportArg::Ws) => Protocol::V04Ws,
            (GenerationArg::V04, TransportArg::Http) => Protocol::V04Http,
            (GenerationArg::V03, TransportArg::Ws) => Protocol::V03,
            (GenerationArg::V03, TransportArg::Http) => return Err(Failure::NoTransport),
        };
        let mut builder =
            SyncClient::builder(&self.url, &self.store).protocol(protocol).compression(!self.no_compression);
        if let Some(payload) = &self.payload {
            builder = builder.payload(payload.clone());
        }
        for (name, value) in &self.header {
            builder = builder.header(name, value);
        }
        Ok(builder.start()?)
    }
}
