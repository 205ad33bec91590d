//! What a call of a Durable Object says beside what the session makes of it.

use std::sync::Arc;
use std::time::Duration;

use livestore_sync_protocol::RequestId;
use livestore_sync_protocol::limits::STORE_ID_BYTES_MAX;
use livestore_sync_protocol::rpc::msgpack;
use livestore_sync_protocol::rpc::{CallerContext, ClientMessage, Request, Rpc};
use serde_json::value::RawValue;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::JsValue;

use super::platform::Isolate;
use crate::error::{HookError, PullError, rpc_failure};
use crate::hooks::{Asked, Connection, HookFns, Transport};
use crate::host::patience;
use crate::platform::{Platform, connection_id};

/// A call. There is no connection and no URL: it says itself what those would.
pub(super) struct Call {
    pub(super) request_id: RequestId,
    pub(super) store_id: String,
    payload: Option<Box<RawValue>>,
    /// A pull is answered with a stream.
    pub(super) is_pull: bool,
    /// Whom to call with what is pushed later.
    pub(super) caller: Option<CallerContext>,
}

impl Call {
    /// Reads a message, which is JSON here. Clients put one call into each.
    pub(super) fn read(json: &str) -> Result<Self, String> {
        let message = match <[_; 1]>::try_from(ClientMessage::decode(json)) {
            Ok([message]) => message.map_err(|error| error.to_string())?,
            Err(messages) => return Err(format!("there are {} messages in one call", messages.len())),
        };
        let ClientMessage::Request(Request { id, rpc, .. }) = message else {
            return Err("the message is no request".to_owned());
        };
        let is_pull = matches!(rpc, Rpc::Pull(..));
        let (store_id, payload, caller) = match rpc {
            Rpc::Pull(_, pull) => (pull.store_id, pull.payload, pull.rpc_context),
            Rpc::Push(_, push) => (push.store_id, push.payload, None),
            Rpc::Ping(_, ping) => (ping.store_id, ping.payload, None),
        };
        if store_id.len() > STORE_ID_BYTES_MAX {
            return Err(format!("the store id is longer than {STORE_ID_BYTES_MAX} bytes"));
        }
        let caller = caller.map(|context| context.caller_context);
        Ok(Self { request_id: id, store_id, payload, is_pull, caller })
    }

    /// The connection that it counts as, with who it is; or why it may not. No Worker has asked the app before.
    pub(super) async fn authenticate(
        &self,
        hooks: &Arc<HookFns>,
        time_max: Duration,
    ) -> Result<Arc<Connection>, String> {
        let hooks = Asked::new(Arc::clone(hooks), Isolate, time_max);
        let (store_id, generation) = (Arc::from(self.store_id.as_str()), self.request_id.generation());
        let now_ms = Isolate.now_ms();
        let connection = Connection::new(connection_id(now_ms), store_id, Transport::DurableObject, generation, now_ms);
        let connection = Arc::new(connection.with_payload(self.payload.clone()));
        let mut failures = 0;
        loop {
            match hooks.authenticate(&connection).await {
                Ok(said) => return said.map_err(|error| error.to_string()),
                Err(failure) => {
                    failures += 1;
                    let pause = patience::before_request(connection.transport, failures);
                    Isolate.sleep(pause.ok_or_else(|| failure.to_string())?).await;
                }
            }
        }
    }

    /// The answer when the call cannot be made; its client tries again.
    pub(super) fn refuse(self, why: &str) -> worker::Result<JsValue> {
        let frame = rpc_failure(self.request_id, &PullError::Rejected(HookError::new(why)));
        let bytes = msgpack::from_json(&format!("[{frame}]"));
        let bytes = bytes.map_err(|error| worker::Error::RustError(error.to_string()))?;
        Ok(Uint8Array::from(bytes.as_slice()).into())
    }
}
