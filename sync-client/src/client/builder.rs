//! Everything that is said about a client before it is started.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use hyper::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::watch;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::ClientConfig;

use super::SyncClient;
use super::address::Address;
use super::append::Appender;
use super::requests::Requests;
use super::settings::{Payload, Settings};
use super::task::Task;
use super::tls::Tls;
use crate::connection::{Connection, Dialect, Protocol, Timing};
use crate::error::ConfigError;
use crate::event::Author;
use crate::id::new_id;
use crate::state::{ConnectionState, OfflineReason};

/// Describes a [`SyncClient`]. Made by [`SyncClient::builder`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    url: String,
    store_id: String,
    payload: Payload,
    headers: Vec<(String, String)>,
    compression: bool,
    protocol: Protocol,
    client_id: Option<String>,
    timing: Timing,
    tls: Tls,
}

impl Builder {
    pub(super) fn new(url: String, store_id: String) -> Self {
        Self {
            url,
            store_id,
            payload: Payload::None,
            headers: Vec::new(),
            compression: true,
            protocol: Protocol::default(),
            client_id: None,
            timing: Timing::default(),
            tls: Tls::default(),
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

    /// Whether to offer the server to compress what is sent over a WebSocket (permessage-deflate), on if nothing is said.
    /// A server that cannot do it declines. Events of an app are alike, and become several times smaller; that costs
    /// time of the processor, which a fast network may not be worth. Over http nothing is compressed.
    pub fn compression(mut self, compression: bool) -> Self {
        self.compression = compression;
        self
    }

    /// Which protocol to speak; 0.4 over a WebSocket if nothing is said.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// The client id of events that are [appended](SyncClient::append); a random one if nothing is said. Their session
    /// id is a new one for each client that is started.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = Some(client_id.into());
        self
    }

    /// Which certificates `wss` and `https` trust, for servers with a certificate of their own. If nothing is said,
    /// those that browsers trust (`webpki-roots`).
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.tls.config = Some(config);
        self
    }

    /// How long things take.
    pub fn timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Starts the client: a task of this tokio runtime, which connects in the background and stays connected. There is
    /// no connection yet when this returns, and none is needed: requests may be made at once, and wait for it.
    /// [`SyncClient::connection`] tells when it is there.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names what cannot be right; [`ConfigError::NoRuntime`] outside of a tokio runtime.
    ///
    /// # Panics
    ///
    /// Nothing here panics, but the task does if the runtime was built without time or I/O (`enable_all`), and requests
    /// then fail with their `Stopped`.
    pub fn start(self) -> Result<SyncClient, ConfigError> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let settings = Settings {
            address: Address::parse(&self.url)?,
            protocol: self.protocol,
            store_id: self.store_id.clone(),
            payload: self.payload,
            headers: headers(&self.headers)?,
            compression: self.compression,
            silence_max: self.timing.push_timeout,
            tls: self.tls,
        };
        let seed = getrandom::u64().expect("the system has random numbers");
        let (requests, messages) = Requests::channel();
        let (state_sender, state) = watch::channel(ConnectionState::Offline { reason: OfflineReason::Connecting });
        let task = Task {
            connection: Connection::new(Dialect::new(self.protocol, self.store_id, seed), self.timing, seed),
            settings: Arc::new(settings),
            messages,
            state: state_sender,
            replies: HashMap::new(),
            link: None,
        };
        runtime.spawn(task.run());
        let author = Author { client_id: self.client_id.unwrap_or_else(new_id), session_id: new_id() };
        let appender = Arc::new(Appender::new(author, self.timing));
        Ok(SyncClient { requests, state, protocol: self.protocol, appender })
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
            .field("protocol", &self.protocol)
            .field("timing", &self.timing)
            .finish_non_exhaustive()
    }
}
