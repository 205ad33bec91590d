#![expect(clippy::arc_with_non_send_sync, reason = "what homes share is in `Arc`s; here there is one thread")]

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use livestore_sync_protocol::rpc::{self, msgpack};
use livestore_sync_protocol::target::{self, Target};
use livestore_sync_protocol::{Generation, SeqNum};
use tokio::sync::{Notify, OnceCell, mpsc};
use uuid::Uuid;
use worker::js_sys::{Function, Promise, Reflect, Uint8Array};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::web_sys;
use worker::{
    Date, Env, Headers, Request, Response, ResponseBody, Result, State, WebSocket, WebSocketPair,
    WebSocketRequestResponsePair,
};

use super::attachment::{Attachment, Fixed};
use super::call::Call;
use super::callers::{Callers, Joined};
use super::http::{Asked, failure, text};
use super::internal::{self, Internal};
use super::socket::Socket;
use super::sweep::{self, PARKED_LOOK_MS, PARKED_LOOKS, SWEEP_MS, Seen, Verdict};
use super::{ObjectOptions, log, panic, stored};
use crate::event_log::{D1Log, Left, LogError, ObjectLog, WorkerLog};
use crate::host::calls::{PushCall, Spawn, handle_text, run_pushes};
use crate::host::exchange::{self, FRAMES_WAITING_MAX, Framing};
use crate::host::runtime::{sleep, spawn};
use crate::host::{CLOSE_INTERNAL, CLOSE_INVALID_UTF8, CLOSE_TOO_LARGE, FRAME_BYTES_MAX, HomeStore, Hub, Link, Peer};
use crate::host::{likeness, reconnect};
use crate::platform::js_text;
use crate::session::CLOSE_RESUME;
use crate::{Clock, Connection, HookFns, Proof, Session, Store, Transport, connection_id, iso_timestamp};

pub(super) type ObjectStore = HomeStore<WorkerLog, HookFns, Socket>;

/// Pushes of one connection that may wait; one that sends more without waiting is closed.
const PUSHES_WAITING_MAX: usize = 1_024;

/// Too much at once (RFC 6455's policy violation).
const CLOSE_POLICY: u16 = 1008;

/// The platform's ready state of a socket that is open.
const OPEN: u16 = 1;

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

    /// Takes a frame. Ends when all that it asked for is done.
    pub fn websocket_message(&self, socket: WebSocket, message: JsValue) -> Promise {
        self.run(async move |body| body.websocket_message(socket, &message).await.map(|()| JsValue::NULL))
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
        self.run(async move |body| body.leave(&socket).await.map(|()| JsValue::NULL))
    }
}

struct Body {
    state: Rc<State>,
    env: Env,
    options: ObjectOptions,
    hooks: Arc<HookFns>,
    /// Opened by the first event after the object came into memory.
    home: OnceCell<Rc<Home>>,
    /// Whether the next sweep is certain.
    sweeping: Cell<bool>,
}

/// A connection and the queue of its pushes.
type Conversation = (Arc<Peer<Socket>>, mpsc::Sender<PushCall>);

/// The open store of the object.
struct Home {
    store: Arc<ObjectStore>,
    pushes: RefCell<HashMap<Uuid, mpsc::Sender<PushCall>>>,
    callers: Callers,
}

#[derive(Clone)]
struct Tasks;

impl Spawn for Tasks {
    fn spawn(&self, push: impl Future<Output = ()> + 'static) {
        // The call of the frame that it came in waits for it.
        spawn(push);
    }
}

fn now_ms() -> u64 {
    Date::now().as_millis()
}

impl Body {
    fn new(state: State, env: Env, mut options: ObjectOptions) -> Self {
        match WebSocketRequestResponsePair::new(rpc::PING, rpc::PONG) {
            Ok(pair) => state.set_websocket_auto_response(&pair),
            // Pings then wake the object, which answers them.
            Err(error) => tracing::warn!(?error, "the platform does not answer pings"),
        }
        let hooks = Arc::new(std::mem::take(&mut options.hooks));
        Self { state: Rc::new(state), env, options, hooks, home: OnceCell::new(), sweeping: Cell::new(false) }
    }

    async fn fetch(&self, request: Request) -> Result<Response> {
        let asked = Asked::new(&request)?;
        #[cfg(debug_assertions)]
        debug_route(&asked.path).await;
        let target = match Target::from_query(&asked.query) {
            Ok(target) => target,
            Err(error) => return text(400, format!("Invalid search params: {error}.")),
        };
        let (generation, transport) = match target::transport(&asked.query) {
            Ok(None) => (Generation::V03, Transport::Ws),
            Ok(Some(rpc::Transport::Ws)) => (Generation::V04, Transport::Ws),
            Ok(Some(rpc::Transport::Http)) => (Generation::V04, Transport::Http),
            Ok(Some(rpc::Transport::DurableObject)) => (Generation::V04, Transport::DurableObject),
            Err(error) => return text(400, format!("Invalid search params: {error}.")),
        };
        if !self.options.transports.contains(&transport) {
            return text(400, format!("This server does not serve the {transport:?} transport."));
        }
        let home = match self.home(Some(&target.store_id)).await {
            Ok(home) => home,
            Err(error) => return failure(500, "The server cannot reach its event log.", error),
        };
        let internal = request.headers().get(internal::HEADER)?.as_deref().and_then(Internal::decode);
        let internal = internal.unwrap_or_else(|| {
            let connected_ms = now_ms();
            Internal { connection: connection_id(connected_ms), connected_ms }
        });
        let connection = Connection {
            id: internal.connection,
            connected_at: iso_timestamp(internal.connected_ms),
            store_id: target.store_id.into(),
            payload: target.payload,
            headers: (self.options.forward_headers)(request.headers()),
            transport,
            generation,
        };
        match transport {
            Transport::Http => self.answer(&home, request, connection).await,
            Transport::Ws if asked.is_upgrade() => {
                self.accept(&home, &request, connection, internal.connected_ms).await
            }
            Transport::Ws => text(426, crate::request::UPGRADE_REQUIRED),
            // Never said by a URL.
            Transport::DurableObject => text(400, "Durable Objects call `rpc`."),
        }
    }

    /// The open store. `store_id` is known from a request; else a socket tells.
    fn home<'a>(&'a self, store_id: Option<&'a str>) -> Pin<Box<dyn Future<Output = Result<Rc<Home>, LogError>> + 'a>> {
        // In a box, because it is in the code of every call.
        Box::pin(async move { self.home.get_or_try_init(|| self.open(store_id)).await.cloned() })
    }

    async fn open(&self, store_id: Option<&str>) -> Result<Rc<Home>, LogError> {
        let failed = |error: worker::Error| LogError::nothing_stored(error);
        let sockets = self.sockets().map_err(failed)?;
        let store_id = match (store_id, sockets.first()) {
            (Some(store_id), _) => store_id.to_owned(),
            (None, Some((_, attachment))) => attachment.fixed.store_id.clone(),
            (None, None) => return Err(LogError::nothing_stored("no socket says which store this is")),
        };
        let log = self.open_log(&store_id).await?;
        let changed = Arc::new(Notify::new());
        let callers = Callers::load(Rc::clone(&self.state), self.env.clone(), &store_id).await.map_err(failed)?;
        let hub = Hub::new(changed).with_others(callers.clone().into());
        let clock: Arc<dyn Clock> = Arc::new(now_ms);
        let store = Arc::new(Store::new(log, Arc::clone(&self.hooks), hub, clock));
        let head = store.current_tip().await?.head;
        callers.start(&store, head);
        let home = Rc::new(Home { store, pushes: RefCell::default(), callers });
        for (socket, attachment) in sockets {
            self.rejoin(&home, socket, attachment, head);
        }
        let clients = stored::load(&self.state).await.map_err(failed)?;
        home.store.publisher().restore(clients, head, now_ms());
        spawn(stored::keep(Rc::clone(&self.state), Arc::clone(&home.store)));
        Ok(home)
    }

    async fn open_log(&self, store_id: &str) -> Result<WorkerLog, LogError> {
        let created_at = iso_timestamp(now_ms());
        let storage = self.state.storage();
        if let Some((binding, required)) = self.options.storage.d1_binding() {
            match self.env.d1(binding) {
                // Nobody asked for D1: the binding may be newer than the log, or the app's.
                Ok(_) if !required && ObjectLog::exists(&storage, store_id) => {}
                Ok(database) => {
                    let left = Left::find(&storage, store_id).await?;
                    return Ok(WorkerLog::D1(D1Log::open(database, store_id, &created_at, left).await?));
                }
                Err(error) if required => {
                    return Err(LogError::nothing_stored(format!("the D1 binding {binding}: {error}")));
                }
                Err(_) => {}
            }
        }
        Ok(WorkerLog::Object(ObjectLog::open(&storage, store_id, &created_at).await?))
    }

    /// The open sockets with what they carry.
    fn sockets(&self) -> Result<Vec<(WebSocket, Attachment)>> {
        let mut sockets = Vec::new();
        for socket in self.state.as_raw().get_websockets()? {
            if socket.ready_state() != OPEN {
                continue;
            }
            let socket = WebSocket::from(socket);
            let attachment: Option<String> = socket.deserialize_attachment()?;
            match attachment.as_deref().map(Attachment::decode) {
                Some(Ok(attachment)) => sockets.push((socket, attachment)),
                // Of another release, or not yet complete: its client comes back.
                _ => drop(socket.close(Some(CLOSE_RESUME), Some("reconnect"))),
            }
        }
        Ok(sockets)
    }

    /// Takes up a socket that outlived the object's memory.
    fn rejoin(&self, home: &Rc<Home>, socket: WebSocket, attachment: Attachment, head: SeqNum) {
        let Attachment { fixed, session } = attachment;
        let Some(mut session) = Session::restore(fixed.connection, session, head) else {
            // It was amid a backlog; a socket that is closing already is none to care for.
            let _ = socket.close(Some(CLOSE_RESUME), Some("the pull was lost: pull again"));
            return;
        };
        // What a 0.4 client sent before is not known; when it pinged, the platform knows.
        let heard_ms = session.v03_mut().map_or(0, |session| session.heard_ms());
        let connection = Arc::new(fixed.connection());
        // It fitted when the connection was made.
        let Ok(prefix) = fixed.prefix() else { return };
        let link = Socket::new(socket, prefix, heard_ms);
        let peer = Arc::new(Peer::new(session, link, connection, fixed.likeness));
        home.store.publisher().rejoin(&peer);
        self.converse(home, &peer);
    }

    /// Starts to run the pushes of a connection.
    fn converse(&self, home: &Rc<Home>, peer: &Arc<Peer<Socket>>) {
        let (pushes, waiting) = mpsc::channel(PUSHES_WAITING_MAX);
        home.pushes.borrow_mut().insert(peer.connection.id, pushes);
        spawn(run_pushes(Arc::clone(&home.store), Arc::clone(peer), waiting, Tasks));
    }

    async fn accept(
        &self,
        home: &Rc<Home>,
        request: &Request,
        connection: Connection,
        connected_ms: u64,
    ) -> Result<Response> {
        if home.pushes.borrow().len() >= self.options.connections_max {
            return text(503, "This store has as many connections as it may. Try again later.");
        }
        let header = |name| request.headers().get(name).ok().flatten();
        let likeness = likeness(
            &connection,
            &header("cf-connecting-ip").unwrap_or_default(),
            header("user-agent").as_deref(),
            header("x-forwarded-for").as_deref(),
        );
        let fixed = Fixed::new(&connection, connected_ms, likeness);
        let prefix = match fixed.prefix() {
            Ok(prefix) => prefix,
            Err(bytes) => {
                return text(
                    431,
                    format!(
                        "The store id, the payload and the forwarded headers take {bytes} bytes; a WebSocket has room for {}.",
                        super::attachment::ATTACHMENT_BYTES_MAX - super::attachment::SESSION_BYTES_RESERVED
                    ),
                );
            }
        };
        // Before the socket is known: what comes after is published to it or read for it.
        let head = match home.store.current_tip().await {
            Ok(tip) => tip.head,
            Err(error) => return failure(500, "The server cannot reach its event log.", error),
        };
        let v03 = connection.generation == Generation::V03;
        let now_ms = now_ms();
        let session = match v03 {
            true => Session::v03(connection.id, Proof::Frames, now_ms),
            false => Session::rpc(connection.id, now_ms),
        };
        let WebSocketPair { client, server } = WebSocketPair::new()?;
        let tag = JsValue::from(connection.id.to_string());
        self.state.as_raw().accept_websocket_with_tags(server.as_ref(), vec![tag])?;
        let link = Socket::new(server, prefix, now_ms);
        // The reserve covers a session that nothing has happened to.
        link.remember(&session);
        let peer = Arc::new(Peer::new(session, link, Arc::new(connection), fixed.likeness));
        let hub = home.store.publisher();
        if let Some(alike) = hub.join(&peer, now_ms) {
            let clock: Arc<dyn Clock> = Arc::new(self::now_ms);
            spawn(reconnect::run(Arc::clone(&home.store), clock, Arc::clone(&peer), alike, head));
        }
        self.converse(home, &peer);
        if !v03 {
            let (state, peer) = (Rc::clone(&self.state), Arc::downgrade(&peer));
            spawn(async move {
                for _ in 0..PARKED_LOOKS {
                    sleep(Duration::from_millis(PARKED_LOOK_MS)).await;
                    let Some(peer) = peer.upgrade() else { break };
                    if peer.session().has_pulled() {
                        break;
                    }
                    if judge(&state, &peer) == Verdict::Resume {
                        resume(&peer);
                        break;
                    }
                }
            });
        }
        self.sweep_later().await;
        Response::from_websocket(client)
    }

    async fn answer(&self, home: &Rc<Home>, mut request: Request, connection: Connection) -> Result<Response> {
        let content_type = request.headers().get("content-type")?;
        let framing = Framing::from_content_type(content_type.as_deref());
        let body = match read_body(&mut request).await {
            Ok(Ok(body)) => body,
            Ok(Err((status, reason))) => return text(status, reason),
            Err(error) => return failure(400, "The body is cut short.", error),
        };
        let (frames, receiver) = mpsc::channel(FRAMES_WAITING_MAX);
        let store = Arc::clone(&home.store);
        let work = panic::guard(&self.state, async move {
            exchange::answer(&store, &Arc::new(connection), &body, framing, frames, now_ms()).await;
            Ok(JsValue::NULL)
        });
        // It goes on behind the response, and when nobody reads that.
        self.state.as_raw().wait_until(&work)?;
        let frames = futures_util::stream::unfold(receiver, async |mut receiver| {
            receiver.recv().await.map(|frame| (frame.to_vec(), receiver))
        });
        let headers = Headers::new();
        headers.set("content-type", framing.content_type())?;
        for (name, value) in &self.options.response_headers {
            headers.set(name, value)?;
        }
        let body = ResponseBody::Stream(panic::stream(frames)?);
        Ok(Response::from_body(body)?.with_headers(headers))
    }

    async fn rpc(&self, message: &[u8]) -> Result<JsValue> {
        if !self.options.transports.contains(&Transport::DurableObject) {
            return Err("this server does not serve calls of Durable Objects".into());
        }
        let failed = |error: &dyn std::fmt::Display| worker::Error::RustError(error.to_string());
        let json = msgpack::to_json(message).map_err(|error| failed(&error))?;
        let call = Call::read(&json).map_err(|error| failed(&error))?;
        let home = match self.home(Some(&call.store_id)).await {
            Ok(home) => home,
            Err(error) => {
                tracing::error!(%error, "cannot open the store");
                return call.refuse("the server cannot reach its event log");
            }
        };
        if home.callers.store_id() != call.store_id {
            return call.refuse("this object has another store");
        }
        let joined = match call.caller.clone() {
            Some(caller) => match home.callers.join(caller, call.request_id.clone()).await {
                Ok(joined) => Some(joined),
                Err(error) => return call.refuse(&error.to_string()),
            },
            None => None,
        };
        let (frames, mut receiver) = mpsc::channel::<bytes::Bytes>(FRAMES_WAITING_MAX);
        let store = Arc::clone(&home.store);
        let is_pull = call.is_pull;
        let connection = Arc::new(call.connection(now_ms()));
        let caught_up = joined.as_ref().map(Joined::caught_up);
        let work = panic::guard(&self.state, async move {
            let live = || {
                if let Some(caught_up) = &caught_up {
                    caught_up();
                }
            };
            exchange::answer_call(&store, &connection, &json, frames, now_ms(), &live).await;
            Ok(JsValue::NULL)
        });
        // It goes on behind the answer, and when nobody reads that.
        self.state.as_raw().wait_until(&work)?;
        if is_pull {
            let frames = futures_util::stream::unfold((receiver, joined), async |(mut receiver, joined)| {
                receiver.recv().await.map(|frame| (frame.to_vec(), (receiver, joined)))
            });
            return Ok(panic::stream(frames)?.into());
        }
        let mut answer = Vec::new();
        while let Some(frame) = receiver.recv().await {
            answer.extend_from_slice(&frame);
        }
        Ok(Uint8Array::from(answer.as_slice()).into())
    }

    async fn websocket_message(&self, socket: WebSocket, message: &JsValue) -> Result<()> {
        let home = match self.home(None).await {
            Ok(home) => home,
            Err(error) => {
                tracing::error!(%error, "cannot open the store");
                return socket.close(Some(CLOSE_INTERNAL), Some("the server could not reach its event log"));
            }
        };
        let Some((peer, pushes)) = self.find(&home, &socket)? else {
            // Its session is lost.
            return socket.close(Some(CLOSE_RESUME), Some("reconnect"));
        };
        let now_ms = now_ms();
        peer.link.handle_heard(now_ms);
        peer.heard.notify_waiters();
        let Some(frame) = js_text::read(message).or_else(|| String::from_utf8(Uint8Array::new(message).to_vec()).ok())
        else {
            peer.link.close(CLOSE_INVALID_UTF8, "binary frames must hold UTF-8 JSON");
            return Ok(());
        };
        if frame.len() > FRAME_BYTES_MAX {
            peer.link.close(CLOSE_TOO_LARGE, "the frame is larger than this server takes");
        } else if pushes.capacity() == 0 {
            peer.link.close(CLOSE_POLICY, "too many pushes without waiting for their answers");
        } else {
            let (held, mut all_done) = mpsc::channel(1);
            handle_text(&home.store, &peer, &pushes, &frame, now_ms, Some(held)).await;
            // Nobody ever sends: it ends with the last of those who hold the other end.
            let _: Option<()> = all_done.recv().await;
        }
        Ok(())
    }

    async fn websocket_close(&self, socket: WebSocket, code: u32, reason: &str) -> Result<()> {
        self.leave(&socket).await?;
        // The other half of the handshake. The codes for "none" and "broken" are never on the wire (RFC
        // 6455, 7.4.1). It throws when the platform has answered already.
        let code = u16::try_from(code).ok().filter(|code| !matches!(code, 1005 | 1006 | 1015));
        drop(socket.close(code, code.map(|_| reason)));
        Ok(())
    }

    async fn leave(&self, socket: &WebSocket) -> Result<()> {
        // Without any open socket left there may be nobody who says which store this is.
        let home = match self.home.get() {
            Some(home) => Rc::clone(home),
            None => {
                let attachment: Option<String> = socket.deserialize_attachment()?;
                let Some(Ok(attachment)) = attachment.as_deref().map(Attachment::decode) else { return Ok(()) };
                match self.home(Some(&attachment.fixed.store_id)).await {
                    Ok(home) => home,
                    Err(error) => {
                        tracing::error!(%error, "cannot open the store");
                        return Ok(());
                    }
                }
            }
        };
        if let Some((peer, _)) = self.find(&home, socket)? {
            part(&home, &peer);
        }
        Ok(())
    }

    fn find(&self, home: &Home, socket: &WebSocket) -> Result<Option<Conversation>> {
        let tags = self.state.as_raw().get_tags(socket.as_ref())?;
        let Some(id) = tags.first().and_then(|tag| tag.parse().ok()) else { return Ok(None) };
        let pushes = home.pushes.borrow().get(&id).cloned();
        Ok(home.store.publisher().peer(id).zip(pushes))
    }

    async fn alarm(&self) -> Result<()> {
        self.sweeping.set(false);
        if !self.state.as_raw().get_websockets()?.is_empty() {
            match self.home(None).await {
                Ok(home) => self.sweep(&home),
                Err(error) => tracing::error!(%error, "cannot open the store"),
            }
            self.sweep_later().await;
        }
        Ok(())
    }

    fn sweep(&self, home: &Rc<Home>) {
        for peer in home.store.publisher().all() {
            match judge(&self.state, &peer) {
                Verdict::Keep => {}
                Verdict::Resume => resume(&peer),
                Verdict::Gone => {
                    tracing::info!("closing a connection that is silent");
                    peer.link.abort();
                    part(home, &peer);
                }
            }
        }
    }

    async fn sweep_later(&self) {
        if self.sweeping.replace(true) {
            return;
        }
        let storage = self.state.storage();
        if let Ok(None) = storage.get_alarm().await
            && let Err(error) = storage.set_alarm(Duration::from_millis(SWEEP_MS)).await
        {
            tracing::warn!(%error, "cannot set the alarm that sweeps silent connections");
            self.sweeping.set(false);
        }
    }
}

/// For tests of what a panic leaves behind; not there in release builds.
#[cfg(debug_assertions)]
async fn debug_route(path: &str) {
    match path {
        // A call that is in flight.
        "/debug/wait" => sleep(Duration::from_secs(20)).await,
        "/debug/panic" => {
            sleep(Duration::from_millis(10)).await;
            panic!("a test asked for it");
        }
        _ => {}
    }
}

fn part(home: &Home, peer: &Peer<Socket>) {
    home.pushes.borrow_mut().remove(&peer.connection.id);
    home.store.publisher().leave(peer, now_ms());
    peer.link.handle_closed();
    peer.progress.notify_waiters();
}

fn resume(peer: &Peer<Socket>) {
    peer.link.close(CLOSE_RESUME, "no pull on this connection: reconnect and pull");
}

fn judge(state: &State, peer: &Peer<Socket>) -> Verdict {
    let mut session = peer.session();
    let heard_ms = peer.link.heard_ms();
    if session.v03_mut().is_some() {
        return sweep::judge(Seen { heard_ms: Some(heard_ms), parked: false }, now_ms());
    }
    let pinged_ms = auto_response_ms(state, peer.link.socket());
    let parked = pinged_ms.is_some_and(|pinged_ms| session.is_parked(pinged_ms));
    // A client that acknowledges what it gets may not ping meanwhile.
    let heard_ms = pinged_ms.map(|pinged_ms| pinged_ms.max(heard_ms));
    sweep::judge(Seen { heard_ms, parked }, now_ms())
}

/// When the platform last answered a ping on this socket, which the `worker` crate does not tell.
fn auto_response_ms(state: &State, socket: &WebSocket) -> Option<u64> {
    let raw: &JsValue = state.as_raw().as_ref();
    let method: Function =
        Reflect::get(raw, &JsValue::from("getWebSocketAutoResponseTimestamp")).ok()?.dyn_into().ok()?;
    let socket: &web_sys::WebSocket = socket.as_ref();
    let date: worker::js_sys::Date = method.call1(raw, socket).ok()?.dyn_into().ok()?;
    Some(date.get_time() as u64)
}

/// The body, or a status and what is wrong with it.
async fn read_body(request: &mut Request) -> Result<std::result::Result<String, (u16, String)>> {
    let too_large = || (413, format!("The body is larger than {FRAME_BYTES_MAX} bytes."));
    let mut body = Vec::new();
    // GET and HEAD requests have none.
    if let Ok(mut stream) = request.stream() {
        while let Some(bytes) = stream.next().await {
            body.extend(bytes?);
            if body.len() > FRAME_BYTES_MAX {
                return Ok(Err(too_large()));
            }
        }
    }
    Ok(String::from_utf8(body).map_err(|_| (400, "The body is not UTF-8.".to_owned())))
}
