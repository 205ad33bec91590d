//! The Durable Object: the calls of the platform, each guarded so that it is answered even if the object panics,
//! and each given to the open store.

#![expect(clippy::arc_with_non_send_sync, reason = "what hosts share is in `Arc`s; here there is one thread")]

mod rpc;

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{OnceCell, mpsc};
use worker::js_sys::{Promise, Uint8Array};
use worker::wasm_bindgen::JsValue;
use worker::worker_sys::web_sys;
use worker::{Env, Headers, Request, Response, ResponseBody, Result, State, WebSocket};

use super::alarm;
use super::attachment::Attachment;
use super::forwarded::{self, Forwarded};
use super::http::{OwnedParts, failure, read_body, refuse, text};
use super::open_store::{Conversation, OpenStore, close};
use super::pings::Pings;
use super::platform::Isolate;
use super::sweep::SWEEP;
use super::{ObjectOptions, log, panic};
use crate::close::CloseCode;
use crate::error::LogError;
use crate::hooks::{Connection, HookFns, Transport};
use crate::host::Link;
use crate::host::conversation::Taken;
use crate::host::exchange::{Framing, exchange};
use crate::host::patience::tried;
use crate::platform::{Platform, js_text};
use crate::request::SyncRequest;

/// How often a store is tried to be opened for clients that do not ask again after an error: a minute. Nothing tells
/// whether they are still there.
const OPEN_TRIES_MAX: u32 = 18;

/// The body of the Durable Object that [`make_durable_object!`](crate::make_durable_object) makes. Its
/// methods are those that the platform calls; each answers even if the object panics.
pub struct SyncObject(Rc<Body>);

impl SyncObject {
    /// The object with this state.
    #[must_use]
    pub fn new(state: State, env: Env, options: ObjectOptions) -> Self {
        log::install();
        panic::watch(&state);
        Self(Rc::new(Body::new(state, env, options)))
    }

    fn run<T: Into<JsValue>>(&self, call: impl AsyncFnOnce(&Body) -> Result<T> + 'static) -> Promise {
        let body = Rc::clone(&self.0);
        panic::guard(&self.0.state, async move { call(&body).await })
    }

    /// Answers a request that a Worker has forwarded, with a `Response`.
    pub fn fetch(&self, request: Request) -> Promise {
        self.run(async move |body| body.fetch(request).await.map(web_sys::Response::from))
    }

    /// Looks for sockets whose clients are gone.
    pub fn alarm(&self) -> Promise {
        self.run(async |body| body.alarm().await.map(|()| JsValue::NULL))
    }

    /// Takes a frame. A promise, if it asked for anything, ends when all that is done. Most frames acknowledge
    /// something: a promise would cost more than they do.
    pub fn websocket_message(&self, socket: WebSocket, message: JsValue) -> JsValue {
        let body = &self.0;
        match body.store.get().map(|store| body.take(store, &socket, &message)) {
            None => self.run(async move |body| body.websocket_message(socket, &message).await),
            Some(None) => return JsValue::UNDEFINED,
            Some(Some(work)) => self.work(work),
        }
        .into()
    }

    /// Takes acknowledgements that could wait (see `durable-object.mjs`): the same frame of many sockets, each by its
    /// number.
    pub fn websocket_acks(&self, places: Vec<u32>, frame: &str) {
        let body = &self.0;
        // Without a store everything is forgotten, what was sent as well.
        let Some(store) = body.store.get() else { return };
        let now_ms = Isolate.now_ms();
        for conversation in places.into_iter().filter_map(|place| store.at(place)) {
            if let Some(work) = body.take_text(store, conversation, frame, now_ms) {
                drop(self.work(work));
            }
        }
    }

    fn work(&self, work: Work) -> Promise {
        self.run(async move |body| body.done(work).await)
    }

    /// Takes the end of a connection.
    pub fn websocket_close(&self, socket: WebSocket, code: u32, reason: String) -> Promise {
        self.run(async move |body| body.websocket_close(socket, code, &reason).await.map(|()| JsValue::NULL))
    }

    /// Answers a call of a Durable Object, with a `Uint8Array` or, to a pull, a `ReadableStream`.
    pub fn rpc(&self, message: Vec<u8>) -> Promise {
        self.run(async move |body| body.rpc(&message).await)
    }

    /// Takes the break of a connection.
    pub fn websocket_error(&self, socket: WebSocket) -> Promise {
        self.run(async move |body| body.leave(&socket, CloseCode::Ended).await.map(|()| JsValue::NULL))
    }
}

struct Body {
    state: Rc<State>,
    env: Env,
    options: ObjectOptions,
    hooks: Arc<HookFns>,
    pings: Rc<Pings>,
    /// Opened by the first event after the object came into memory.
    store: OnceCell<Rc<OpenStore>>,
    /// Whether the next sweep is certain.
    sweeping: Cell<bool>,
}

impl Body {
    fn new(state: State, env: Env, mut options: ObjectOptions) -> Self {
        let hooks = Arc::new(std::mem::take(&mut options.hooks));
        let state = Rc::new(state);
        let pings = Pings::new(Rc::clone(&state));
        Self { state, env, options, hooks, pings, store: OnceCell::new(), sweeping: Cell::new(false) }
    }

    /// The open store. `store_id` is known from a request; else a socket tells.
    fn store<'a>(
        &'a self,
        store_id: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = std::result::Result<Rc<OpenStore>, LogError>> + 'a>> {
        // In a box, because it is in the code of every call.
        Box::pin(async move {
            let open = || {
                let (state, pings, hooks) = (Rc::clone(&self.state), Rc::clone(&self.pings), Arc::clone(&self.hooks));
                OpenStore::open(state, pings, &self.env, &self.options, hooks, store_id)
            };
            self.store.get_or_try_init(open).await.cloned()
        })
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let _working = self.pings.work();
        let parts = OwnedParts::new(&request)?;
        #[cfg(debug_assertions)]
        super::debug::route(&parts.path).await;
        let sync = match SyncRequest::from_query(&parts.query, parts.upgrade.as_deref()) {
            Ok(sync) => sync,
            Err(refused) => return refuse(refused),
        };
        let transport = sync.transport();
        if !self.options.transports.contains(&transport) {
            return text(400, format!("This server does not serve the {transport:?} transport."));
        }
        if let Err(refused) = sync.check_upgrade() {
            return refuse(refused);
        }
        let opened = match transport {
            // Such a client comes back by itself.
            Transport::Ws => self.store(Some(sync.store_id())).await,
            Transport::Http | Transport::DurableObject => {
                tried(&Isolate, OPEN_TRIES_MAX, || self.store(Some(sync.store_id()))).await
            }
        };
        let store = match opened {
            Ok(store) => store,
            Err(error) => return failure(500, "The server cannot reach its event log.", error),
        };
        if store.store_id() != sync.store_id() {
            return text(400, "This object has another store.");
        }
        let forwarded = request.headers().get(forwarded::HEADER)?;
        let Forwarded { connection, connected_ms, identity } = Forwarded::read(forwarded.as_deref(), Isolate.now_ms());
        let headers = (self.options.forward_headers)(request.headers());
        let connection = sync.into_connection(connection, connected_ms, headers).with_identity(identity);
        if transport == Transport::Http {
            return self.answer(&store, request, connection).await;
        }
        let left = store.access_left(&connection);
        let response = store.accept(&request, connection).await;
        self.sweep_later(left).await;
        response
    }

    async fn answer(&self, store: &OpenStore, mut request: Request, connection: Connection) -> Result<Response> {
        let content_type = request.headers().get("content-type")?;
        let framing = Framing::from_content_type(content_type.as_deref());
        let budget = store.host.connection_budget();
        let body = match read_body(&mut request, self.options.limits.frame_bytes_max, &budget).await {
            Ok(Ok(body)) => body,
            Ok(Err(refused)) => return refuse(refused),
            Err(error) => return failure(400, "The body is cut short.", error),
        };
        let (work, frames) =
            exchange(Arc::clone(&store.host), Arc::new(connection), budget, body, framing, boxed(|| ()));
        self.work_on(work)?;
        let headers = Headers::new();
        headers.set("content-type", framing.content_type())?;
        let body = ResponseBody::Stream(panic::stream(frames.map(|frame| frame.to_vec()))?);
        Ok(Response::from_body(body)?.with_headers(headers))
    }

    /// Works behind an answer, and goes on when that is not read.
    fn work_on(&self, work: impl Future<Output = ()> + 'static) -> Result<()> {
        let pings = Rc::clone(&self.pings);
        let work = panic::guard(&self.state, async move {
            pings.during(work).await;
            Ok(JsValue::NULL)
        });
        Ok(self.state.as_raw().wait_until(&work)?)
    }

    async fn websocket_message(&self, socket: WebSocket, message: &JsValue) -> Result<JsValue> {
        let store = match self.store(None).await {
            Ok(store) => store,
            Err(error) => {
                tracing::error!(%error, "cannot open the store");
                close(&socket, CloseCode::LogUnreachable);
                return Ok(JsValue::NULL);
            }
        };
        match self.take(&store, &socket, message) {
            Some(work) => self.done(work).await,
            None => Ok(JsValue::NULL),
        }
    }

    /// Does what a frame asked for. Pings do not keep the object awake, nor from leaving them to the platform.
    async fn done(&self, work: Work) -> Result<JsValue> {
        match work.taken.is_ping() {
            true => work.done().await,
            false => self.pings.during(work.done()).await,
        }
    }

    /// Takes a frame; what it asked for is still to be done.
    fn take(&self, store: &OpenStore, socket: &WebSocket, message: &JsValue) -> Option<Work> {
        let Some(conversation) = store.find(socket) else {
            close(socket, CloseCode::SessionLost);
            return None;
        };
        let Some(frame) = js_text::read(message).or_else(|| String::from_utf8(Uint8Array::new(message).to_vec()).ok())
        else {
            conversation.peer().link.close(CloseCode::InvalidUtf8);
            return None;
        };
        self.take_text(store, conversation, &frame, Isolate.now_ms())
    }

    fn take_text(&self, store: &OpenStore, conversation: Rc<Conversation>, frame: &str, now_ms: u64) -> Option<Work> {
        let link = &conversation.peer().link;
        link.handle_heard(now_ms);
        conversation.handle_heard();
        if frame.len() > self.options.limits.frame_bytes_max {
            link.close(CloseCode::FrameTooLarge);
        } else if conversation.is_full(frame.len()) {
            link.close(CloseCode::TooManyPushes);
        } else {
            let taken = conversation.take(frame);
            if !taken.is_ping() {
                self.pings.handle_work(now_ms);
            }
            store.look_for_parked(conversation.peer());
            return (!taken.is_done()).then_some(Work { conversation, taken });
        }
        None
    }

    async fn websocket_close(&self, socket: WebSocket, code: u32, reason: &str) -> Result<()> {
        // The other half of the handshake. The codes for "none" and "broken" are never on the wire (RFC
        // 6455, 7.4.1). It throws when the platform has answered already.
        let code = u16::try_from(code).ok().filter(|code| !matches!(code, 1005 | 1006 | 1015));
        drop(socket.close(code, code.map(|_| reason)));
        self.leave(&socket, CloseCode::Ended).await
    }

    async fn leave(&self, socket: &WebSocket, code: CloseCode) -> Result<()> {
        // Without any open socket left, only this one can say which store it is.
        let store = match self.store.get() {
            Some(store) => Rc::clone(store),
            None => {
                let attachment: Option<String> = socket.deserialize_attachment()?;
                let Some(Ok(attachment)) = attachment.as_deref().map(Attachment::decode) else { return Ok(()) };
                match self.store(Some(&attachment.fixed.store_id)).await {
                    Ok(store) => store,
                    Err(error) => {
                        tracing::error!(%error, "cannot open the store");
                        return Ok(());
                    }
                }
            }
        };
        if let Some(conversation) = store.find(socket) {
            store.close(&conversation, code);
        }
        Ok(())
    }

    async fn alarm(&self) -> Result<()> {
        self.sweeping.set(false);
        if !self.state.as_raw().get_websockets()?.is_empty() {
            let mut left = None;
            match self.store(None).await {
                Ok(store) => left = store.sweep(),
                Err(error) => tracing::error!(%error, "cannot open the store"),
            }
            self.sweep_later(left).await;
        }
        Ok(())
    }

    /// Sees to it that silent sockets are swept, and that this one is closed in the time that its access has left.
    async fn sweep_later(&self, left: Option<Duration>) {
        if self.sweeping.replace(true) && left.is_none() {
            return;
        }
        if let Err(error) = alarm::set_within(&self.state, left.unwrap_or(SWEEP).min(SWEEP)).await {
            tracing::warn!(%error, "cannot set the alarm that sweeps silent connections");
            self.sweeping.set(false);
        }
    }
}

/// What a frame asked for.
struct Work {
    conversation: Rc<Conversation>,
    taken: Taken,
}

impl Work {
    /// Does it. The object stays in memory until the call that waits for this has ended.
    async fn done(self) -> Result<JsValue> {
        let (in_progress, mut done) = mpsc::channel(1);
        self.conversation.act(self.taken, Some(in_progress)).await;
        // Nothing is ever sent: the channel ends with the last of those that hold its other end.
        let _: Option<()> = done.recv().await;
        Ok(JsValue::NULL)
    }
}

/// One type for all, so that the code of an exchange is in the bundle once.
fn boxed(caught_up: impl Fn() + 'static) -> Box<dyn Fn()> {
    Box::new(caught_up)
}
