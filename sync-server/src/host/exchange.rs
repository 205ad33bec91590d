//! The HTTP transport, and calls of Durable Objects: one body in, a stream of frames out.

use std::sync::Arc;

use bytes::Bytes;
use livestore_sync_protocol::Chunk;
#[cfg(target_family = "wasm")]
use livestore_sync_protocol::rpc::msgpack;
use tokio::sync::{Mutex, mpsc};

use super::guarded;
use crate::event::Publish;
use crate::event_log::EventLog;
use crate::platform::MaybeSync;
use crate::{
    Connection, Delivery, HookContext, Hooks, Input, Pull, PullError, PullSink, Push, PushError, Session, Store,
};

/// Frames of an answer that may wait for the client to read.
pub(crate) const FRAMES_WAITING_MAX: usize = 4;

/// How the frames of an answer are put into one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A JSON array, what Effect's `RpcSerialization.json` reads.
    Json,
    /// A line each, what `RpcSerialization.ndjson` reads.
    Ndjson,
    /// MessagePack, what `RpcSerialization.msgPack` reads: of each frame, one after another. The body
    /// that asks is JSON here, too.
    #[cfg(target_family = "wasm")]
    Msgpack,
}

impl Framing {
    /// Answers come as the question did.
    pub(crate) fn from_content_type(content_type: Option<&str>) -> Self {
        if content_type.is_some_and(|value| value.contains("ndjson")) { Self::Ndjson } else { Self::Json }
    }

    /// The frames of a body.
    fn split(self, body: &str) -> impl Iterator<Item = &str> {
        let (whole, lines) = match self {
            Self::Json => (Some(body), ""),
            Self::Ndjson => (None, body),
            #[cfg(target_family = "wasm")]
            Self::Msgpack => (Some(body), ""),
        };
        whole.into_iter().chain(lines.lines().filter(|line| !line.trim().is_empty()))
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            #[cfg(target_family = "wasm")]
            Self::Msgpack => "application/msgpack",
        }
    }
}

/// Answers a body, frame by frame. It goes on when nobody reads the frames any more: pushes are made
/// whoever listens.
pub(crate) async fn answer<L: EventLog, H: Hooks, P: Publish>(
    store: &Store<L, H, P>,
    connection: &Arc<Connection>,
    body: &str,
    framing: Framing,
    frames: mpsc::Sender<Bytes>,
    now_ms: u64,
) {
    let session = Session::http(connection.id, now_ms);
    respond(store, connection, session, body, framing, frames, now_ms, &|| ()).await;
}

/// Answers a call of a Durable Object, given as JSON. `live` is called in the moment from which on the
/// caller's pull gets what is published.
#[cfg(target_family = "wasm")]
pub(crate) async fn answer_call<L: EventLog, H: Hooks, P: Publish>(
    store: &Store<L, H, P>,
    connection: &Arc<Connection>,
    body: &str,
    frames: mpsc::Sender<Bytes>,
    now_ms: u64,
    live: &impl Fn(),
) {
    let session = Session::durable_object(connection.id, now_ms);
    respond(store, connection, session, body, Framing::Msgpack, frames, now_ms, live).await;
}

#[allow(clippy::too_many_arguments, reason = "the two above have names for them")]
async fn respond<L: EventLog, H: Hooks, P: Publish>(
    store: &Store<L, H, P>,
    connection: &Arc<Connection>,
    mut session: Session,
    body: &str,
    framing: Framing,
    frames: mpsc::Sender<Bytes>,
    now_ms: u64,
    live: &(impl Fn() + MaybeSync),
) {
    let mut out = Writer { frames, framing, written: 0 };
    for frame in framing.split(body) {
        for input in session.handle_frame(frame, now_ms) {
            // An answer that nobody takes is no reason to leave out the next call.
            let _ = run(store, connection, &mut session, input, &mut out, live).await;
        }
    }
    let _ = out.finish().await;
}

async fn run<L: EventLog, H: Hooks, P: Publish>(
    store: &Store<L, H, P>,
    connection: &Arc<Connection>,
    session: &mut Session,
    input: Input,
    out: &mut Writer,
    caught_up: &(impl Fn() + MaybeSync),
) -> Result<(), PullError> {
    match input {
        Input::Reply(frame) => out.write(frame).await,
        // For sockets only.
        Input::Close(..) | Input::Progress | Input::NewClient => Ok(()),
        Input::Push { request_id, batch, backend_id, generation } => {
            let context = HookContext { connection: Arc::clone(connection), generation };
            let push = Push { batch: batch.into() };
            let admitted = guarded(store.admit(push, backend_id.as_deref(), None, context)).await;
            let mut admitted = match admitted.unwrap_or_else(|panic| Err(PushError::Rejected(panic))) {
                Ok(admitted) => admitted,
                Err(error) => return out.write(session.push_failed(&request_id, &error)).await,
            };
            let result = store.complete(&mut admitted).await;
            let written = out.write(match &result {
                Ok(_) => session.push_repeated(&request_id),
                Err(error) => session.push_failed(&request_id, error),
            });
            let written = written.await;
            // A hook that panics is in the log; the push has its answer.
            let _ = guarded(store.ended(admitted, result)).await;
            written
        }
        Input::Pull { delivery, cursor, live, generation } => {
            let context = HookContext { connection: Arc::clone(connection), generation };
            let sink =
                BodySink { state: Mutex::new((session, out)), delivery: &delivery, live: live.then_some(caught_up) };
            let result = guarded(store.pull(Pull { cursor, live }, &delivery, context, &sink)).await;
            let (session, out) = sink.state.into_inner();
            let end = match result.unwrap_or_else(|panic| Err(PullError::Rejected(panic))) {
                Ok(_) => session.handle_caught_up(&delivery, false),
                Err(error) => session.handle_pull_failed(&delivery, &error),
            };
            match end {
                Some(frame) => out.write(frame).await,
                None => Ok(()),
            }
        }
    }
}

struct BodySink<'a, F> {
    state: Mutex<(&'a mut Session, &'a mut Writer)>,
    delivery: &'a Delivery,
    /// What to call when a live pull has caught up.
    live: Option<&'a F>,
}

impl<F: Fn() + MaybeSync> PullSink for BodySink<'_, F> {
    async fn ready(&self) -> Result<(), PullError> {
        Ok(())
    }

    async fn send(&self, chunk: Option<&Chunk>, remaining: u64, backend_id: &str) -> Result<(), PullError> {
        let mut state = self.state.lock().await;
        let (session, out) = &mut *state;
        let frame = session.handle_chunk(self.delivery, chunk, remaining, backend_id).ok_or(PullError::Gone)?;
        out.write(frame).await
    }

    fn caught_up(&self) {
        if let Some(live) = self.live {
            live();
        }
    }
}

struct Writer {
    frames: mpsc::Sender<Bytes>,
    framing: Framing,
    written: usize,
}

impl Writer {
    async fn write(&mut self, frame: String) -> Result<(), PullError> {
        let text = match (self.framing, self.written) {
            (Framing::Json, 0) => format!("[{frame}"),
            (Framing::Json, _) => format!(",{frame}"),
            (Framing::Ndjson, _) => format!("{frame}\n"),
            #[cfg(target_family = "wasm")]
            (Framing::Msgpack, _) => {
                let bytes = msgpack::from_json(&format!("[{frame}]")).map_err(|error| {
                    tracing::error!(%error, "a frame is no JSON");
                    PullError::Gone
                })?;
                return self.frames.send(bytes.into()).await.map_err(|_| PullError::Gone);
            }
        };
        self.written += 1;
        self.frames.send(text.into()).await.map_err(|_| PullError::Gone)
    }

    async fn finish(self) -> Result<(), mpsc::error::SendError<Bytes>> {
        match (self.framing, self.written) {
            (Framing::Json, 0) => self.frames.send("[]".into()).await,
            (Framing::Json, _) => self.frames.send("]".into()).await,
            (Framing::Ndjson, _) => Ok(()),
            #[cfg(target_family = "wasm")]
            (Framing::Msgpack, _) => Ok(()),
        }
    }
}
