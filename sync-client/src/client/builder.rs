use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use hyper::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::{mpsc, watch};
use tokio_rustls::rustls::ClientConfig;

use super::address::Address;
use super::link::Settings;
use super::task::Task;
use super::{Requests, SyncClient};
use crate::connection::{Connection, Dialect, Kind};
use crate::{ConfigError, ConnectionState, OfflineReason, Timing};

/// Which protocol to speak. Servers of this project speak all, the reference its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Generation {
    /// `@livestore/sync-cf` 0.3.x.
    V03,
    /// `@livestore/sync-cf` 0.4.x.
    #[default]
    V04,
}

/// How to reach the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A WebSocket.
    #[default]
    Ws,
    /// An HTTP request for each push and pull; live pulls poll. 0.4 only.
    Http,
}

type Provided = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

#[derive(Clone)]
pub(super) enum Payload {
    None,
    Fixed(Value),
    Provider(Arc<dyn Fn() -> Provided + Send + Sync>),
}

impl Payload {
    pub(super) async fn get(&self) -> Result<Option<Box<RawValue>>, String> {
        let value = match self {
            Self::None => return Ok(None),
            Self::Fixed(value) => value.clone(),
            Self::Provider(provider) => provider().await?,
        };
        to_raw_value(&value).map(Some).map_err(|error| error.to_string())
    }
}

/// Describes a [`SyncClient`]. Made by [`SyncClient::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    url: String,
    store_id: String,
    payload: Payload,
    headers: Vec<(String, String)>,
    generation: Generation,
    transport: Transport,
    timing: Timing,
    tls: Option<Arc<ClientConfig>>,
}

impl Builder {
    pub(super) fn new(url: String, store_id: String) -> Self {
        Self {
            url,
            store_id,
            payload: Payload::None,
            headers: Vec::new(),
            generation: Generation::default(),
            transport: Transport::default(),
            timing: Timing::default(),
            tls: None,
        }
    }

    /// The payload that the server's `validatePayload` sees.
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = Payload::Fixed(payload);
        self
    }

    /// Asks for a payload each time a connection is opened, so that a token that has expired is replaced. If it
    /// fails, the client is offline and asks again later.
    pub fn payload_provider<P, F, E>(mut self, provider: P) -> Self
    where
        P: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Value, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        self.payload = Payload::Provider(Arc::new(move || {
            let payload = provider();
            Box::pin(async move { payload.await.map_err(|error| error.into().to_string()) })
        }));
        self
    }

    /// A header of the requests that open connections (ws), or of all (http).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Which protocol to speak; 0.4 if nothing is said.
    pub fn generation(mut self, generation: Generation) -> Self {
        self.generation = generation;
        self
    }

    /// How to reach the server; a WebSocket if nothing is said.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Which certificates `wss` and `https` trust, for servers with a certificate of their own. If nothing is said,
    /// those that browsers trust (`webpki-roots`).
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// How long things take.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Starts the client, which connects in the background and stays connected. Requests may be made at once.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names what cannot be right.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time and I/O.
    pub fn connect(self) -> Result<SyncClient, ConfigError> {
        let kind = match (self.generation, self.transport) {
            (Generation::V04, Transport::Ws) => Kind::Ws,
            (Generation::V04, Transport::Http) => Kind::Http,
            (Generation::V03, Transport::Ws) => Kind::V03,
            (Generation::V03, Transport::Http) => return Err(ConfigError::Transport),
        };
        let settings = Settings {
            address: Address::parse(&self.url)?,
            kind,
            store_id: self.store_id.clone(),
            payload: self.payload,
            headers: headers(&self.headers)?,
            tls: self.tls,
        };
        let seed = getrandom::u64().expect("the system has random numbers");
        let (sender, messages) = mpsc::unbounded_channel();
        let (state_sender, state) = watch::channel(ConnectionState::Offline { reason: OfflineReason::Connecting });
        let task = Task {
            connection: Connection::new(Dialect::new(kind, self.store_id, seed), self.timing, seed),
            settings: Arc::new(settings),
            messages,
            state: state_sender,
            replies: HashMap::new(),
            link: None,
        };
        tokio::spawn(task.run());
        let requests = Requests { sender, last_key: Arc::new(AtomicU64::new(1)) };
        Ok(SyncClient { requests, state, generation: self.generation })
    }
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, ConfigError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let invalid = || ConfigError::Header(name.clone());
        let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        headers.append(HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?, value);
    }
    Ok(headers)
}

/// Payloads and headers are secrets.
impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("url", &self.url)
            .field("store_id", &self.store_id)
            .field("generation", &self.generation)
            .field("transport", &self.transport)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}
