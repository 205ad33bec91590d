//! Who is connected. Each server builds a [`Connection`] from a request; hooks receive it.

use std::fmt;
use std::sync::Arc;

use livestore_sync_protocol::Generation;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Identity;
use crate::error::HookError;
use crate::platform::iso_timestamp;

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Transport {
    /// A WebSocket; hooks see the same connection for all that it sends.
    Ws,
    /// HTTP; each request is a connection of its own.
    Http,
    /// A call of a Durable Object; each is a connection of its own.
    DurableObject,
}

/// One client's connection to one store.
///
/// The servers make it; apps do so only in tests of their hooks. Fields may be added, which is why it has a
/// constructor.
#[derive(Clone)]
#[non_exhaustive]
pub struct Connection {
    /// A UUIDv7, so that ids sort by time.
    pub id: Uuid,
    /// When the client connected, in milliseconds since 1970 in UTC. See
    /// [`connected_at`](Self::connected_at).
    pub connected_ms: u64,
    /// The store.
    pub store_id: Arc<str>,
    /// The payload of the connection URL as JSON text.
    pub payload: Option<Box<RawValue>>,
    /// The headers of the HTTP request, names in lower case. The hooks of a Durable Object see those that
    /// `ObjectOptions::forward_headers` selects.
    pub headers: Vec<(String, String)>,
    /// How the client is connected.
    pub transport: Transport,
    /// The protocol of the address: 0.3, or 0.4, which includes next. Each call says exactly, see
    /// [`HookContext::generation`](super::HookContext::generation).
    pub generation: Generation,
    /// Who the client is, as [`Hooks::authenticate`](super::Hooks::authenticate) has said.
    pub identity: Identity,
    /// Whether a web page asks that is of the server's own host, or is allowed by its name (and not only by `*`): then
    /// the request's cookies may be believed. Any other page could make a browser send them, too. Not known to the
    /// hooks of a Durable Object.
    pub trusted_origin: bool,
}

/// Without what may be secret: the payload, and the values of headers.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("connected_ms", &self.connected_ms)
            .field("store_id", &self.store_id)
            .field("payload", &self.payload.as_ref().map(|_| "…"))
            .field("headers", &self.headers.iter().map(|(name, _)| name).collect::<Vec<_>>())
            .field("transport", &self.transport)
            .field("generation", &self.generation)
            .field("user_id", &self.identity.user_id)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection without a payload and without headers. `connected_ms` is in milliseconds since 1970.
    #[must_use]
    pub fn new(id: Uuid, store_id: Arc<str>, transport: Transport, generation: Generation, connected_ms: u64) -> Self {
        let (identity, headers) = (Identity::default(), Vec::new());
        let (payload, trusted_origin) = (None, false);
        Self { id, connected_ms, store_id, payload, headers, transport, generation, identity, trusted_origin }
    }

    /// With this payload.
    #[must_use]
    pub fn with_payload(self, payload: Option<Box<RawValue>>) -> Self {
        Self { payload, ..self }
    }

    /// With these headers, names in lower case.
    #[must_use]
    pub fn with_headers(self, headers: Vec<(String, String)>) -> Self {
        Self { headers, ..self }
    }

    /// Of this client.
    #[must_use]
    pub fn with_identity(self, identity: Identity) -> Self {
        Self { identity, ..self }
    }

    /// Whether cookies may be believed, see [`trusted_origin`](Self::trusted_origin).
    #[must_use]
    pub fn with_trusted_origin(self, trusted_origin: bool) -> Self {
        Self { trusted_origin, ..self }
    }

    /// The user, where one is known.
    #[must_use]
    pub fn user_id(&self) -> Option<&str> {
        self.identity.user_id.as_deref()
    }

    /// The first cookie of this name. Believe it only where [`trusted_origin`](Self::trusted_origin) says so.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let headers = self.headers.iter().filter(|(key, _)| key == "cookie");
        let mut cookies =
            headers.flat_map(|(_, value)| value.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// When the client connected, as JavaScript's `toISOString` writes it: `2026-11-21T00:14:31.259Z`.
    ///
    /// # Panics
    ///
    /// When [`connected_ms`](Self::connected_ms) is beyond the year 9999.
    #[must_use]
    pub fn connected_at(&self) -> String {
        iso_timestamp(self.connected_ms)
    }

    /// The payload as the app's own type.
    ///
    /// # Errors
    ///
    /// When the client sent none, or one that does not fit; the text names the field and may be
    /// passed on with `?` to reject the client.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, HookError> {
        let payload = self.payload.as_deref().ok_or_else(|| HookError::new("the connection has no payload"))?;
        serde_json::from_str(payload.get()).map_err(|error| HookError::new(format!("payload: {error}")))
    }

    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}
