//! Who is connected. Each server builds a [`Connection`] from a request; hooks receive it.

use std::sync::Arc;

use livestore_sync_protocol::Generation;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

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
#[derive(Clone, Debug)]
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
}

impl Connection {
    /// A connection without a payload and without headers. `connected_ms` is in milliseconds since 1970.
    #[must_use]
    pub fn new(id: Uuid, store_id: Arc<str>, transport: Transport, generation: Generation, connected_ms: u64) -> Self {
        Self { id, connected_ms, store_id, payload: None, headers: Vec::new(), transport, generation }
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
