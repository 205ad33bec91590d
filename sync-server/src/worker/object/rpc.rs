//! A call of another Durable Object: one push, pull or ping, answered in MessagePack.

use std::sync::Arc;

use futures_util::StreamExt;
use livestore_sync_protocol::rpc::msgpack;
use worker::Result;
use worker::js_sys::Uint8Array;
use worker::wasm_bindgen::JsValue;

use super::{Body, OPEN_TRIES_MAX, boxed};
use crate::hooks::Transport;
use crate::host::exchange::{Framing, exchange};
use crate::host::patience::tried;
use crate::worker::call::Call;
use crate::worker::panic;
use crate::worker::platform::Isolate;
use crate::worker::subscribers::Answering;

impl Body {
    pub(super) async fn rpc(&self, message: &[u8]) -> Result<JsValue> {
        let _working = self.pings.work();
        if !self.options.transports.contains(&Transport::DurableObject) {
            return Err("this server does not serve calls of Durable Objects".into());
        }
        let failed = |error: &dyn std::fmt::Display| worker::Error::RustError(error.to_string());
        let json = msgpack::to_json(message).map_err(|error| failed(&error))?;
        let call = Call::read(&json).map_err(|error| failed(&error))?;
        let connection = match call.authenticate(&self.hooks, self.options.limits.hook_timeout).await {
            Ok(connection) => connection,
            Err(why) => return call.refuse(&why),
        };
        let store = match tried(&Isolate, OPEN_TRIES_MAX, || self.store(Some(&call.store_id))).await {
            Ok(store) => store,
            Err(error) => {
                tracing::error!(%error, "cannot open the store");
                return call.refuse("the server cannot reach its event log");
            }
        };
        if store.store_id() != call.store_id {
            return call.refuse("this object has another store");
        }
        let answering = match call.caller.clone() {
            Some(caller) => match store.subscribers.join(caller, call.request_id.clone()).await {
                Ok(answering) => Some(answering),
                Err(error) => return call.refuse(&error.to_string()),
            },
            None => None,
        };
        let live = answering.as_ref().map(Answering::caught_up);
        let caught_up = boxed(move || {
            if let Some(live) = &live {
                live();
            }
        });
        let (work, frames) = exchange(
            Arc::clone(&store.host),
            connection,
            store.host.connection_budget(),
            json,
            Framing::Msgpack,
            caught_up,
        );
        self.work_on(work)?;
        let mut frames = Box::pin(frames);
        if call.is_pull {
            // The client counts as having read its answer in the moment in which this lets go of `answering`.
            let frames = futures_util::stream::unfold((frames, answering), async |(mut frames, answering)| {
                let frame = frames.next().await?;
                Some((frame.to_vec(), (frames, answering)))
            });
            return Ok(panic::stream(frames)?.into());
        }
        let mut answer = Vec::new();
        while let Some(frame) = frames.next().await {
            answer.extend_from_slice(&frame);
        }
        Ok(Uint8Array::from(answer.as_slice()).into())
    }
}
