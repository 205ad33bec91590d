//! One client's side of the conversation, free of I/O: frames in become [`Action`]s, what the engine
//! does becomes frames out. `host` runs the actions; time is an argument. One file per family of
//! generations: `v03`, and `rpc` for 0.4 and next.

mod action;
mod rpc;
mod v03;
mod window;

pub(crate) use self::action::{Action, Outgoing};
use self::v03::V03;
pub(crate) use self::v03::{Lost, Position, Proof};

use livestore_sync_protocol::rpc::PONG;
use livestore_sync_protocol::v03::Context;
use livestore_sync_protocol::{Chunk, ItemFormat, RequestId, SeqNum};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{HistoryLost, PullError, PushError, rpc_failure};
use crate::event::Committed;
use crate::frame::Frame;

/// Pulls that may send their backlog on one connection, or, in 0.4 and next, run there. LiveStore clients have one.
pub(crate) const PULLS_MAX: usize = 64;

/// How the chunks of a pull are addressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// To an RPC request. An interrupted id may be used again at once, so each pull has a number too.
    Rpc(RequestId, u64),
    /// To a 0.3 request.
    V03(Context, String),
}

impl Delivery {
    /// How the events of this pull are rendered.
    #[must_use]
    pub(crate) fn format(&self) -> ItemFormat {
        match self {
            Self::Rpc(..) => ItemFormat::Rpc,
            Self::V03(..) => ItemFormat::V03,
        }
    }
}

/// One client's state. All of it is plain data; what it says is decided by what it was told.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Uuid,
    kind: Kind,
}

/// What a [`Session`] is rebuilt from. Its form is this crate's own.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Snapshot(SnapshotKind);

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SnapshotKind {
    V03(v03::Snapshot),
    Rpc(rpc::Snapshot),
}

#[derive(Debug)]
enum Kind {
    V03(V03),
    Rpc(rpc::Rpc),
}

impl Session {
    /// A 0.3 client that is there is heard at least this often, in milliseconds.
    pub(crate) const V03_HEARD_MS_MAX: u64 = v03::HEARD_MS_MAX;

    /// A 0.3 client.
    #[must_use]
    pub(crate) fn v03(connection: Uuid, proof: Proof, now_ms: u64) -> Self {
        Self { connection, kind: Kind::V03(V03::new(proof, now_ms)) }
    }

    /// A 0.4 or next client on a WebSocket; which of the two, each request tells.
    #[must_use]
    pub(crate) fn rpc(connection: Uuid, now_ms: u64) -> Self {
        Self { connection, kind: Kind::Rpc(rpc::Rpc::new(now_ms, rpc::Flow::Acks)) }
    }

    /// A 0.4 or next client's HTTP request: chunks are not acknowledged, and no pull is live.
    #[must_use]
    pub(crate) fn http(connection: Uuid, now_ms: u64) -> Self {
        Self { connection, kind: Kind::Rpc(rpc::Rpc::new(now_ms, rpc::Flow::Body)) }
    }

    /// A 0.4 or next client that is a Durable Object: as [`http`](Self::http), but its pulls may be
    /// live, from the moment on that they have caught up; the events come in calls to that client.
    #[must_use]
    pub(crate) fn durable_object(connection: Uuid, now_ms: u64) -> Self {
        Self { connection, kind: Kind::Rpc(rpc::Rpc::new(now_ms, rpc::Flow::Calls)) }
    }

    /// What a session is rebuilt from where a platform lets go of its memory and keeps its socket.
    #[must_use]
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(match &self.kind {
            Kind::V03(session) => SnapshotKind::V03(session.snapshot()),
            Kind::Rpc(session) => SnapshotKind::Rpc(session.snapshot()),
        })
    }

    /// Rebuilds a session that has been sent everything up to `head`. `None` if it was sending a backlog,
    /// which is lost: close its socket, and its client comes back.
    #[must_use]
    pub(crate) fn restore(connection: Uuid, snapshot: Snapshot, head: SeqNum) -> Option<Self> {
        let kind = match snapshot.0 {
            SnapshotKind::V03(snapshot) => Kind::V03(V03::restore(Proof::Frames, snapshot, head)?),
            SnapshotKind::Rpc(snapshot) => Kind::Rpc(rpc::Rpc::restore(snapshot)?),
        };
        Some(Self { connection, kind })
    }

    /// Takes a frame from the client. Never fails: what cannot be handled is answered.
    pub(crate) fn handle_frame(&mut self, text: &str, now_ms: u64) -> Vec<Action> {
        match &mut self.kind {
            Kind::V03(session) => session.handle_frame(text, now_ms),
            Kind::Rpc(session) => session.handle_frame(text, now_ms),
        }
    }

    /// The frame for a client amid a long message, if it is one that pings: the next ping stands behind what it
    /// sends, and 0.4 gives up a connection on which nothing comes. A 0.3 client waits.
    #[must_use]
    pub(crate) fn reassurance(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::V03(_) => None,
            Kind::Rpc(session) => session.has_pinged().then_some(PONG),
        }
    }

    /// Whether a pull may send its next chunk; `None` when it is over.
    #[must_use]
    pub(crate) fn poll_ready(&self, delivery: &Delivery) -> Option<bool> {
        match (&self.kind, delivery) {
            (Kind::Rpc(session), Delivery::Rpc(id, pull)) => session.poll_ready(id, *pull),
            (Kind::V03(session), _) => Some(session.poll_ready()),
            _ => Some(true),
        }
    }

    /// The frame of a pull's next chunk (`None` for the empty one that answers an empty pull);
    /// nothing when the pull is over.
    pub(crate) fn handle_chunk(
        &mut self,
        delivery: &Delivery,
        chunk: Option<&Chunk>,
        remaining: u64,
        backend_id: &str,
        now_ms: u64,
    ) -> Option<Frame> {
        match (&mut self.kind, delivery) {
            (Kind::V03(session), Delivery::V03(context, id)) => {
                Some(session.handle_chunk(*context, id, chunk, remaining, now_ms))
            }
            (Kind::Rpc(session), Delivery::Rpc(id, pull)) => {
                session.handle_chunk(id, *pull, chunk, remaining, backend_id, now_ms)
            }
            _ => None,
        }
    }

    /// A pull's chunk that ends with this event is queued, behind everything that was sent before.
    pub(crate) fn handle_sent(&mut self, delivery: &Delivery, last: SeqNum) {
        if let (Kind::V03(session), Delivery::V03(context, id)) = (&mut self.kind, delivery) {
            session.handle_sent(*context, id, last);
        }
    }

    /// A pull has sent its backlog: it is live from here on, or over, which its client gets told.
    pub(crate) fn handle_caught_up(&mut self, delivery: &Delivery, live: bool) -> Option<String> {
        match (&mut self.kind, delivery) {
            (Kind::V03(session), _) => {
                session.handle_caught_up();
                None
            }
            (Kind::Rpc(session), Delivery::Rpc(id, pull)) => session.handle_caught_up(id, *pull, live),
            _ => None,
        }
    }

    /// A pull failed; the frame that says so.
    pub(crate) fn handle_pull_failed(&mut self, delivery: &Delivery, error: &PullError) -> Option<String> {
        match (&mut self.kind, delivery) {
            (Kind::V03(session), Delivery::V03(_, id)) => session.handle_pull_failed(id, error),
            (Kind::Rpc(session), Delivery::Rpc(id, pull)) => session.handle_pull_failed(id, *pull, error),
            _ => None,
        }
    }

    /// The app does not let this client continue these pulls; the frames that say so.
    pub(crate) fn handle_continuation_refused(&mut self, pulls: &[Position], error: &PullError) -> Vec<String> {
        self.as_v03_mut().map(|session| session.handle_continuation_refused(pulls, error)).unwrap_or_default()
    }

    /// The frames that refuse a push.
    pub(crate) fn push_failed(&mut self, request_id: &RequestId, error: &PushError) -> Vec<String> {
        match &mut self.kind {
            Kind::V03(session) => session.push_failed(request_id.to_string(), error),
            Kind::Rpc(_) => vec![rpc_failure(request_id.clone(), error)],
        }
    }

    /// The log has lost events that this client has been sent. The frames that say so, to all its live pulls.
    pub(crate) fn handle_history_lost(&mut self, lost: &HistoryLost) -> Vec<String> {
        match &mut self.kind {
            Kind::V03(session) => session.handle_history_lost(lost),
            Kind::Rpc(session) => session.handle_history_lost(lost),
        }
    }

    /// The frame that acknowledges a push which was in the log already.
    pub(crate) fn acknowledge(&mut self, request_id: &RequestId) -> String {
        match &mut self.kind {
            Kind::V03(session) => session.acknowledge(&request_id.to_string()),
            Kind::Rpc(_) => rpc::acknowledge(request_id),
        }
    }

    /// Events are committed. Frames for this client, in the order that its generation knows: 0.3
    /// acknowledges its own push first and gets the events on every connection, 0.4 gets them on
    /// its live pulls and then the acknowledgement.
    pub(crate) fn handle_committed(&mut self, committed: &Committed) -> Vec<Outgoing> {
        let own = committed.origin.as_ref().filter(|origin| origin.connection == self.connection);
        let own = own.map(|origin| &origin.request_id);
        match &mut self.kind {
            Kind::V03(session) => session.handle_committed(committed, own),
            Kind::Rpc(session) => session.handle_committed(committed, own),
        }
    }

    /// Events are committed while this connection is closing. What its client will have to be told on its next
    /// connection is noted: the acknowledgement of a push of its own.
    pub(crate) fn handle_committed_unsent(&mut self, committed: &Committed) {
        let own = committed.origin.as_ref().filter(|origin| origin.connection == self.connection);
        if let (Kind::V03(session), Some(origin)) = (&mut self.kind, own) {
            let _unsent = session.acknowledge(&origin.request_id.to_string());
        }
    }

    fn as_v03(&self) -> Option<&V03> {
        match &self.kind {
            Kind::V03(session) => Some(session),
            Kind::Rpc(_) => None,
        }
    }

    fn as_v03_mut(&mut self) -> Option<&mut V03> {
        match &mut self.kind {
            Kind::V03(session) => Some(session),
            Kind::Rpc(_) => None,
        }
    }

    /// When a 0.3 client was last heard, in milliseconds since 1970. `None` for others, whose pings a platform
    /// may answer by itself.
    pub(crate) fn heard_ms(&self) -> Option<u64> {
        self.as_v03().map(V03::heard_ms)
    }

    /// The pulls of a 0.3 client, which a later connection could continue.
    pub(crate) fn continuable_pulls(&self) -> Vec<String> {
        self.as_v03().map(V03::pulls).unwrap_or_default()
    }

    /// Whether there are any.
    pub(crate) fn has_continuable_pulls(&self) -> bool {
        self.as_v03().is_some_and(V03::has_pulls)
    }

    /// Whether a connection of this generation may continue an earlier one.
    pub(crate) fn may_continue(&self) -> bool {
        self.as_v03().is_some()
    }

    /// There are earlier connections that may be the same client's. Nothing is sent until it is
    /// known what to continue, or that the client is a new one.
    pub(crate) fn hold(&mut self) {
        if let Some(session) = self.as_v03_mut() {
            session.hold();
        }
    }

    /// Whether it is still open what kind of client this is.
    pub(crate) fn is_held(&self) -> bool {
        self.as_v03().is_some_and(V03::is_held)
    }

    /// Whether the client has sent anything; a new one starts with its pull.
    pub(crate) fn has_spoken(&self) -> bool {
        self.as_v03().is_none_or(V03::has_spoken)
    }

    /// The client continues these pulls, or, if there are none, what is sent from now on. The
    /// frames come before anything else.
    pub(crate) fn adopt(&mut self, lost: &Lost) -> Vec<String> {
        self.as_v03_mut().map(|session| session.adopt(lost)).unwrap_or_default()
    }

    /// A push was refused on a 0.3 connection that never pulled, so the server does not know what its client
    /// lacks; the push tells. Returns whether that may be sent now; then nothing else is meanwhile.
    pub(crate) fn begin_catch_up(&mut self) -> bool {
        self.as_v03_mut().is_some_and(V03::begin_catch_up)
    }

    /// The connection is lost: what the next one of this client must know.
    pub(crate) fn handle_lost(&mut self, now_ms: u64) -> Option<Lost> {
        self.as_v03_mut().map(|session| session.handle_lost(now_ms))
    }

    /// The number of a WebSocket ping to send now, to learn what has arrived. Ask again after each frame.
    pub(crate) fn poll_ping(&mut self) -> Option<u64> {
        match &mut self.kind {
            Kind::V03(session) => session.poll_ping(),
            Kind::Rpc(_) => None,
        }
    }

    /// The answer to a WebSocket ping has come.
    pub(crate) fn handle_pong(&mut self, ping: u64, now_ms: u64) {
        if let Kind::V03(session) = &mut self.kind {
            session.handle_pong(ping, now_ms);
        }
    }

    /// Whether this RPC client waits, at this time, for a pull of an earlier connection: see
    /// [`CloseCode::NoPull`]. For platforms that answer its pings without asking the session.
    #[must_use]
    pub(crate) fn is_parked(&self, pinged_ms: u64) -> bool {
        match &self.kind {
            Kind::V03(_) => false,
            Kind::Rpc(session) => session.is_parked(pinged_ms),
        }
    }

    /// Since when this client may be one that waits for a pull of an earlier connection; `None` where it is none.
    #[must_use]
    pub(crate) fn waits_since_ms(&self) -> Option<u64> {
        match &self.kind {
            Kind::V03(_) => None,
            Kind::Rpc(session) => session.waits_since_ms(),
        }
    }

    /// Whether this client has been sent much that it should have acknowledged, and has not.
    #[must_use]
    pub(crate) fn is_deaf(&self) -> bool {
        match &self.kind {
            Kind::V03(_) => false,
            Kind::Rpc(session) => session.is_deaf(),
        }
    }

    /// Whether a live pull of this client is still sending its backlog.
    #[must_use]
    pub(crate) fn is_catching_up(&self) -> bool {
        match &self.kind {
            Kind::V03(session) => session.is_catching_up(),
            Kind::Rpc(session) => session.is_catching_up(),
        }
    }
}

/// The text for a 0.3 broadcast: whose push it was, where that is known.
fn pusher(committed: &Committed) -> String {
    committed.origin.as_ref().map(|origin| origin.request_id.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod sample;
