//! The open store of an object: its host, and the conversations of its sockets. Made when the object wakes,
//! because sockets outlive its memory and everything else does not.

#![expect(clippy::arc_with_non_send_sync, reason = "what hosts share is in `Arc`s; here there is one thread")]

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use livestore_sync_protocol::SeqNum;
use tokio::sync::Notify;
use uuid::Uuid;
use worker::js_sys::{Function, Reflect};
use worker::wasm_bindgen::{JsCast, JsValue};
use worker::worker_sys::web_sys;
use worker::{Env, Request, Response, Result, State, WebSocket, WebSocketPair};

use super::ObjectOptions;
use super::attachment::{Attachment, Fixed};
use super::conversations::Conversations;
use super::end::End;
use super::event_log::{ReferenceRemains, WorkerLog};
use super::http::{failure, refuse, text};
use super::isolate_budget;
use super::pings::Pings;
use super::platform::Isolate;
use super::saved_clients;
use super::socket::Socket;
use super::subscribers::Subscribers;
use super::sweep::{self, PARKED_LOOK_MS, Verdict};
use crate::close::CloseCode;
use crate::error::LogError;
use crate::hooks::{Asked, Connection, HookFns};
use crate::host::continuation::Continuation;
use crate::host::{self, Host, Hub, Link, Opening, Peer, Rest, Seats, Shell, client_address, fingerprint};
use crate::limits::Limits;
use crate::platform::{Platform, iso_timestamp};
use crate::request::Refused;
use crate::session::{Proof, Session};
use crate::store::Store;

/// Pushes of one connection that may wait; one that sends more without waiting is closed.
const PUSHES_WAITING_MAX: usize = 1_024;

/// A delivery takes about 0.1 ms, acknowledgement included, and the clock of the platform stands still until the last
/// one is done. So this is about half of an isolate's time where all of it went into publishing.
const REST: Rest = Rest { receivers_min: 16, per_receiver: Duration::from_micros(200) };

/// The platform's ready state of a socket that is open.
const OPEN: u16 = 1;

/// A host in an isolate.
pub(super) struct WorkerShell;

impl Shell for WorkerShell {
    type Log = WorkerLog;
    type Hooks = HookFns;
    type Link = Socket;
    type Platform = Isolate;
}

pub(super) type ObjectHost = Host<WorkerShell>;
pub(super) type Conversation = host::Conversation<WorkerShell>;

pub(super) struct OpenStore {
    state: Rc<State>,
    pings: Rc<Pings>,
    pub(super) host: Arc<ObjectHost>,
    conversations: Conversations,
    pub(super) subscribers: Subscribers,
    limits: Limits,
    trusted_proxies: usize,
}

impl OpenStore {
    /// Opens the store and takes up the sockets that are there. `store_id` is known from a request; else a socket
    /// tells.
    pub(super) async fn open(
        state: Rc<State>,
        pings: Rc<Pings>,
        env: &Env,
        options: &ObjectOptions,
        hooks: Arc<HookFns>,
        store_id: Option<&str>,
    ) -> std::result::Result<Rc<Self>, LogError> {
        let failed = |error: worker::Error| LogError::nothing_stored(error.to_string());
        let sockets = sockets(&state).map_err(failed)?;
        let store_id = match (store_id, sockets.first()) {
            (Some(store_id), _) => store_id.to_owned(),
            (None, Some((_, attachment))) => attachment.fixed.store_id.clone(),
            (None, None) => return Err(LogError::nothing_stored("no socket says which store this is")),
        };
        let log = open_log(&state, env, options, &store_id).await?;
        let budget = isolate_budget::open(state.id().to_string(), &options.limits);
        let subscribers = Subscribers::load(Rc::clone(&state), env.clone(), &store_id, budget.clone());
        let subscribers = subscribers.await.map_err(failed)?;
        let subscribed = Some(subscribers.clone().into());
        let hub = Hub::new(Continuation::new(Arc::new(Notify::new())), subscribed, budget.clone()).resting(REST);
        let connection_bytes_max = options.limits.connection_bytes_max as u64;
        let hooks = Asked::new(hooks, Isolate, options.limits.hook_timeout);
        let store = Store::new(log, hooks, hub);
        let Limits { connections_per_store_max, connections_per_user_max, .. } = options.limits;
        let seats = Arc::new(Seats::new(connections_per_store_max, connections_per_user_max));
        let host = Arc::new(Host { store, platform: Isolate, budget, connection_bytes_max, seats });
        // Asked before any session is rebuilt. Sockets that outlived the memory were sent everything up to here, and
        // from here on they are published to; a head that is read later would leave out what came in between.
        let head = host.store.current_head().await?.seq_num;
        subscribers.start(&host, head);
        let open = Rc::new(Self {
            state,
            pings,
            host,
            conversations: Conversations::new(),
            subscribers,
            limits: options.limits,
            trusted_proxies: options.trusted_proxies,
        });
        let mut ended = Vec::new();
        for (socket, attachment) in sockets {
            let is_open = socket.as_ref().ready_state() == OPEN;
            let conversation = open.rejoin(socket, attachment, head);
            ended.extend(conversation.filter(|_| !is_open));
        }
        // After that, because a 0.3 client whose socket is still there has lost nothing: counted as lost, its pull
        // would stand at two places, and could not be continued from either.
        let clients = saved_clients::load(&open.state).await.map_err(failed)?;
        open.host.hub().restore(clients, head, Isolate.now_ms());
        // Those that broke off while the object was out of memory leave as others do: what they were sent, when they
        // were heard and what they wait for is in their attachments only.
        for conversation in ended {
            open.close(&conversation, CloseCode::Ended);
        }
        Isolate.spawn(saved_clients::keep(Rc::clone(&open.state), &open.host));
        Ok(open)
    }

    pub(super) fn store_id(&self) -> &str {
        self.subscribers.store_id()
    }

    /// The link of a connection. Where it closes on our side, the conversation ends: the platform tells of the end
    /// when the client has answered, or never, and an object that lost its memory until then would take the client
    /// for one that was sent everything.
    fn link(self: &Rc<Self>, socket: WebSocket, id: Uuid, prefix: String, heard_ms: u64) -> Socket {
        let (open, pings) = (Rc::downgrade(self), Rc::clone(&self.pings));
        let ended = move || {
            let (open, pings) = (Weak::clone(&open), Rc::clone(&pings));
            Isolate.spawn(async move {
                let Some(open) = open.upgrade() else { return };
                // Where the platform has told of the end, there is none any more.
                if let Some(conversation) = open.conversations.get(id) {
                    pings.handle_ended(Isolate.now_ms());
                    open.close(&conversation, CloseCode::Ended);
                }
            });
        };
        Socket::new(socket, prefix, heard_ms, self.host.connection_budget(), End::new(ended))
    }

    /// Takes up a socket that outlived the object's memory.
    fn rejoin(self: &Rc<Self>, socket: WebSocket, attachment: Attachment, head: SeqNum) -> Option<Rc<Conversation>> {
        let Attachment { fixed, session } = attachment;
        let Some(session) = Session::restore(fixed.connection, session, head) else {
            // It was sending a backlog, which only memory knew: its client pulls again.
            close(&socket, CloseCode::PullLost);
            return None;
        };
        // It fitted when the connection was made.
        let prefix = fixed.prefix().ok()?;
        // What a 0.4 client sent before is not known; when it pinged, the platform knows.
        let link = self.link(socket, fixed.connection, prefix, session.heard_ms().unwrap_or(0));
        let fingerprint = fixed.fingerprint.clone();
        let connection = Arc::new(fixed.into_connection());
        let conversation = Conversation::rejoin(&self.host, session, link, connection, fingerprint, PUSHES_WAITING_MAX);
        Some(self.conversations.insert(conversation))
    }

    /// Makes the WebSocket that a request asks for.
    pub(super) async fn accept(self: &Rc<Self>, request: &Request, connection: Connection) -> Result<Response> {
        if self.conversations.len() >= self.limits.connections_max {
            return refuse(Refused::too_many_connections("This store"));
        }
        let seat = match self.host.seats.take(&connection) {
            Ok(seat) => seat,
            Err(full) => return text(503, full.to_string()),
        };
        let header = |name: &str| request.headers().get(name).ok().flatten();
        let fingerprint = fingerprint(&connection, &self.address(&header), header("user-agent").as_deref());
        let fixed = Fixed::new(&connection, fingerprint);
        let prefix = match fixed.prefix() {
            Ok(prefix) => prefix,
            Err(bytes) => return text(431, super::attachment::too_large(bytes)),
        };
        // Before the socket is known: what comes after is published to it or read for it.
        let head = match self.host.store.current_head().await {
            Ok(head) => head.seq_num,
            Err(error) => return failure(500, "The server cannot reach its event log.", error),
        };
        let WebSocketPair { client, server } = WebSocketPair::new()?;
        self.state.accept_web_socket(&server);
        let link = self.link(server, connection.id, prefix, Isolate.now_ms());
        let opening = Opening {
            connection: Arc::new(connection),
            fingerprint: fixed.fingerprint,
            proof: Proof::Frames,
            head,
            seat,
            pushes_waiting_max: PUSHES_WAITING_MAX,
        };
        let conversation = Conversation::open(&self.host, opening, link);
        self.look_for_parked(conversation.peer());
        self.conversations.insert(conversation);
        Response::from_websocket(client)
    }

    /// Where a client connects from. The platform tells, and also adds it to the header that proxies write.
    fn address(&self, header: &dyn Fn(&str) -> Option<String>) -> String {
        let (peer, forwarded) = (header("cf-connecting-ip"), header("x-forwarded-for"));
        let forwarded = forwarded.unwrap_or_default();
        let proxies = match (&peer, self.trusted_proxies) {
            (Some(peer), 0) => return peer.clone(),
            (Some(peer), _) => forwarded.strip_suffix(peer.as_str()).unwrap_or(&forwarded),
            (None, _) => &forwarded,
        };
        let proxies = proxies.trim_end().trim_end_matches(',');
        let proxies = Some(proxies).filter(|proxies| !proxies.is_empty());
        client_address(peer.as_deref().unwrap_or_default(), proxies.into_iter(), self.trusted_proxies)
    }

    /// The platform answers the pings of 0.4 clients without waking the object, so a client that waits for a pull
    /// of an earlier connection is looked for after some time: from its first moment on, and from each push on, since
    /// until then it may have been another one.
    pub(super) fn look_for_parked(&self, peer: &Arc<Peer<Socket>>) {
        if peer.session().waits_since_ms().is_none() || peer.link.looked_at.replace(true) {
            return;
        }
        let (state, peer) = (Rc::clone(&self.state), Arc::downgrade(peer));
        Isolate.spawn(async move {
            loop {
                Isolate.sleep(Duration::from_millis(PARKED_LOOK_MS)).await;
                let Some(peer) = peer.upgrade() else { return };
                if judge(&state, &peer) == Verdict::Resume {
                    return peer.link.close(CloseCode::NoPull);
                }
                if !sweep::looks_again(&peer.session(), Isolate.now_ms()) {
                    peer.link.looked_at.set(false);
                    return;
                }
            }
        });
    }

    /// The conversation of a socket; `None` when it has ended.
    pub(super) fn find(&self, socket: &WebSocket) -> Option<Rc<Conversation>> {
        self.conversations.find(socket)
    }

    /// The same, of the socket with this number.
    pub(super) fn at(&self, place: u32) -> Option<Rc<Conversation>> {
        self.conversations.at(place)
    }

    /// Ends a conversation. Its pushes go on; the call of the frame that they came in waits for them.
    pub(super) fn close(&self, conversation: &Conversation, code: CloseCode) {
        self.conversations.remove(conversation);
        drop(conversation.close(code));
        conversation.peer().link.forget();
    }

    /// How long a connection may stay, where its client's access expires.
    pub(super) fn access_left(&self, connection: &Connection) -> Option<Duration> {
        sweep::access_left(&connection.identity, self.limits.expiry_grace, Isolate.now_ms())
    }

    /// Gives up sockets whose clients are gone, and sends back those who wait for what cannot come. Tells how long the
    /// one may stay whose access expires first.
    pub(super) fn sweep(&self) -> Option<Duration> {
        let mut first = None;
        for conversation in self.conversations.all() {
            match self.access_left(&conversation.peer().connection) {
                Some(Duration::ZERO) => {
                    conversation.peer().link.close(CloseCode::AccessExpired);
                    continue;
                }
                Some(left) => first = Some(first.map_or(left, |first: Duration| first.min(left))),
                None => {}
            }
            match judge(&self.state, conversation.peer()) {
                Verdict::Keep => {}
                Verdict::Resume => conversation.peer().link.close(CloseCode::NoPull),
                Verdict::Gone => {
                    tracing::info!("closing a connection that is silent");
                    self.close(&conversation, CloseCode::Silent);
                }
            }
        }
        first
    }
}

async fn open_log(
    state: &State,
    env: &Env,
    options: &ObjectOptions,
    store_id: &str,
) -> std::result::Result<WorkerLog, LogError> {
    let opened_at = iso_timestamp(Isolate.now_ms());
    let storage = state.storage();
    if let Some((binding, required)) = options.storage.d1_binding() {
        match env.d1(binding) {
            // Nothing names D1: the binding may be newer than the log, or the app's own.
            Ok(_) if !required && WorkerLog::exists_in_object(&storage, store_id)? => {}
            Ok(database) => {
                let remains = ReferenceRemains::find(&storage, store_id).await?;
                return WorkerLog::open_d1(database, store_id, &opened_at, remains).await;
            }
            Err(error) if required => {
                return Err(LogError::nothing_stored(format!("the D1 binding {binding}: {error}")));
            }
            Err(_) => {}
        }
    }
    WorkerLog::open_object(state, store_id, &opened_at).await
}

/// The sockets with what they carry: those that are open, and those whose end the platform is about to tell.
fn sockets(state: &State) -> Result<Vec<(WebSocket, Attachment)>> {
    let mut sockets = Vec::new();
    for socket in state.as_raw().get_websockets()? {
        let socket = WebSocket::from(socket);
        let attachment: Option<String> = socket.deserialize_attachment()?;
        match attachment.as_deref().map(Attachment::decode) {
            Some(Ok(attachment)) => sockets.push((socket, attachment)),
            // Of another release, or not yet complete: its client comes back. Or its conversation is over.
            _ => close(&socket, CloseCode::SessionLost),
        }
    }
    Ok(sockets)
}

/// Closes a socket that no conversation has. It throws when that is done already.
pub(super) fn close(socket: &WebSocket, code: CloseCode) {
    drop(socket.close(Some(code.number()), Some(code.reason())));
}

fn judge(state: &State, peer: &Peer<Socket>) -> Verdict {
    let pinged_ms = auto_response_ms(state, peer.link.socket());
    sweep::judge(&peer.session(), peer.link.heard_ms(), pinged_ms, Isolate.now_ms())
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
