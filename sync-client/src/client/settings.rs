//! How to connect: the builder's choices in the form that links need.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::{HeaderMap, Uri};
use livestore_sync_protocol::target::Target;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::address::Address;
use super::tls::Tls;
use crate::connection::Protocol;
use crate::state::OfflineReason;

/// Size in bytes of a frame that is taken. 0.4 servers cut theirs at about a megabyte, 0.3 ones do not.
pub(super) const FRAME_BYTES_MAX: usize = 256 << 20;

/// How much of a refusal is kept, in bytes.
pub(super) const REFUSAL_BYTES_MAX: usize = 500;

pub(super) fn refusal(status: u16, body: &[u8]) -> OfflineReason {
    let text = String::from_utf8_lossy(&body[..body.len().min(REFUSAL_BYTES_MAX)]);
    OfflineReason::Refused { status, message: text.trim().to_owned() }
}

pub(super) struct Settings {
    pub(super) address: Address,
    pub(super) protocol: Protocol,
    pub(super) store_id: String,
    pub(super) payload: Payload,
    pub(super) headers: HeaderMap,
    /// Whether the compression of WebSocket messages is offered.
    pub(super) compression: bool,
    /// How long nothing may move while an answer over http is waited for.
    pub(super) silence_max: Duration,
    pub(super) tls: Tls,
}

impl Settings {
    /// The URI of a connection with this payload.
    pub(super) fn uri(&self, payload: Option<Box<RawValue>>) -> Uri {
        let target = Target { store_id: self.store_id.clone(), payload };
        self.address.uri(self.protocol, &target)
    }
}

/// What a payload provider gives.
pub(super) type Provided = Pin<Box<dyn Future<Output = Result<Value, String>> + Send>>;

/// Asked for at each connection, because tokens expire.
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
