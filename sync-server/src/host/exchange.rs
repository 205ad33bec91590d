//! One body in, a stream of frames out: the HTTP transport, and calls between Durable Objects. The body's calls run
//! one after another.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use livestore_sync_protocol::RequestId;
use livestore_sync_protocol::rpc::msgpack;
use tokio::sync::mpsc;

use super::calls::{PAGE_TIMEOUT, PullCall, Replies, run_pull};
use super::pushes::{Admission, PushCall, admit_push, complete_push};
use super::{Closed, Host, Shell, patience};
use crate::budget::{Budget, Held};
use crate::error::PullError;
use crate::event::{Origin, held_bytes};
use crate::frame::Frame;
use crate::hooks::{Connection, Pull, Transport};
use crate::platform::{MaybeSend, MaybeSync, Platform};
use crate::session::{Action, Delivery, Session};
use crate::store::Refusals;

/// Frames of an answer that may wait for the client to read.
const FRAMES_WAITING_MAX: usize = 2;

/// How the frames of an answer are put into one body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A JSON array, what Effect's `RpcSerialization.json` reads.
    Json,
    /// A line each, what `RpcSerialization.ndjson` reads.
    Ndjson,
    /// MessagePack, what `RpcSerialization.msgPack` reads: of each frame, one after another. The body
    /// that asks is JSON here, too.
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
            Self::Json | Self::Msgpack => (Some(body), ""),
            Self::Ndjson => (None, body),
        };
        whole.into_iter().chain(lines.lines().filter(|line| !line.trim().is_empty()))
    }

    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Msgpack => "application/msgpack",
        }
    }

    /// A frame as the next part of a body. `None` for what cannot be said in it.
    fn part(self, frame: &str, is_first: bool) -> Option<Bytes> {
        match self {
            Self::Json if is_first => Some(format!("[{frame}").into()),
            Self::Json => Some(format!(",{frame}").into()),
            Self::Ndjson => Some(format!("{frame}\n").into()),
            Self::Msgpack => match msgpack::from_json(&format!("[{frame}]")) {
                Ok(bytes) => Some(bytes.into()),
                Err(error) => {
                    tracing::error!(%error, "a frame is no JSON");
                    None
                }
            },
        }
    }

    /// What says nothing and shows whoever is on the way that the answer is still being made. Only JSON has such a
    /// thing: a blank line is no message, but an error to those who read lines.
    fn nothing(self) -> Option<Bytes> {
        (self == Self::Json).then(|| " ".into())
    }

    /// What ends a body.
    fn end(self, is_empty: bool) -> Option<Bytes> {
        match self {
            Self::Json if is_empty => Some("[]".into()),
            Self::Json => Some("]".into()),
            Self::Ndjson | Self::Msgpack => None,
        }
    }
}

/// Answers a body: the work, and the parts of the answer as it makes them. Give the work a task of its own that
/// outlives the client, since a push must not stop between its commit and its publication. `caught_up` is called
/// in the moment from which on the live pull of a Durable Object gets what is published.
pub(crate) fn exchange<S: Shell>(
    host: Arc<Host<S>>,
    connection: Arc<Connection>,
    budget: Budget,
    body: String,
    framing: Framing,
    caught_up: impl Fn() + MaybeSend + MaybeSync,
) -> (impl Future<Output = ()> + MaybeSend, impl Stream<Item = Bytes> + MaybeSend) {
    let (parts, receiver) = mpsc::channel(FRAMES_WAITING_MAX);
    let work = async move {
        let now_ms = host.platform.now_ms();
        let session = Mutex::new(match connection.transport {
            Transport::DurableObject => Session::durable_object(connection.id, now_ms),
            Transport::Ws | Transport::Http => Session::http(connection.id, now_ms),
        });
        let (platform, refusals, state) = (host.platform.clone(), Arc::default(), Mutex::default());
        let answer = Answer { session, connection, platform, budget, refusals, parts, framing, state, caught_up };
        answer.run(&host, &body).await;
    };
    let stream = futures_util::stream::unfold(receiver, async |mut receiver| {
        let part = receiver.recv().await?;
        Some((part, receiver))
    });
    (work, stream)
}

/// The answer as far as it is.
struct Answer<F, C> {
    session: Mutex<Session>,
    connection: Arc<Connection>,
    platform: C,
    /// What is held for it is taken from this.
    budget: Budget,
    refusals: Arc<Refusals>,
    parts: mpsc::Sender<Bytes>,
    framing: Framing,
    state: Mutex<State>,
    caught_up: F,
}

/// A part of an answer, with what it takes until the last who has it has written it: libraries queue parts, too.
struct Part {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[derive(Default)]
struct State {
    is_begun: bool,
    /// The end of a pull that has caught up, where sending had to wait.
    end: Option<String>,
}

impl<F: Fn() + MaybeSend + MaybeSync, C: Platform> Answer<F, C> {
    async fn run<S: Shell>(&self, host: &Arc<Host<S>>, body: &str) {
        for frame in self.framing.split(body) {
            let actions = self.session().handle_frame(frame, host.platform.now_ms());
            for action in actions {
                if self.run_action(host, action).await.is_break() {
                    return;
                }
            }
        }
        let is_empty = !self.state().is_begun;
        if let Some(end) = self.framing.end(is_empty) {
            // A client that has gone needs no end.
            let _ = self.parts.send(end).await;
        }
    }

    /// An answer that is not read is no reason to leave out the next call; one that is not read while a hook does not
    /// return is.
    async fn run_action<S: Shell>(&self, host: &Arc<Host<S>>, action: Action) -> ControlFlow<()> {
        match action {
            // A client that has gone needs no answer.
            Action::Reply(frame) | Action::Pong(frame) | Action::PullEnded(frame) => {
                drop(self.send(frame.into()).await);
            }
            // For sockets only.
            Action::Close(_) | Action::Progress | Action::NewClient => {}
            Action::Push { request_id, batch, backend_id, generation } => {
                let held = self.budget.take_in_turn(held_bytes(&batch)).await;
                let call = PushCall { held, in_progress: None, request_id, batch, backend_id, generation };
                match admit_push(host, self, call).await {
                    Admission::Admitted(admitted) => complete_push(host, self, admitted, || ()).await,
                    Admission::TimedOut if self.parts.is_closed() => return ControlFlow::Break(()),
                    Admission::TimedOut | Admission::Refused => {}
                }
            }
            Action::Pull { delivery, cursor, live, generation } => {
                run_pull(host, self, PullCall { delivery, pull: Pull::new(cursor, live), generation }).await;
                let end = self.state().end.take();
                if let Some(frame) = end {
                    // As above.
                    let _ = self.send(frame.into()).await;
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Whether nothing was sent yet; from here on something was.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.state().is_begun, true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Fn() + MaybeSend + MaybeSync, C: Platform> Replies for Answer<F, C> {
    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn refusals(&self) -> &Arc<Refusals> {
        &self.refusals
    }

    /// The hub does not know this client.
    fn origin(&self, _request_id: &RequestId) -> Option<Origin> {
        None
    }

    async fn ready(&self, _delivery: &Delivery) -> Result<(), Closed> {
        // Given back at once.
        self.parts.reserve().await.map(drop).map_err(|_| Closed)
    }

    async fn ready_soon(&self, delivery: &Delivery) -> Result<bool, Closed> {
        let ready = self.platform.timeout(PAGE_TIMEOUT, self.ready(delivery)).await;
        ready.map_or(Ok(false), |ready| ready.map(|()| true))
    }

    async fn hold(&self, bytes: u64) -> Result<Held, Closed> {
        tokio::select! {
            held = self.budget.take_in_turn(bytes) => Ok(held),
            () = self.parts.closed() => Err(Closed),
        }
    }

    fn now_ms(&self) -> u64 {
        self.platform.now_ms()
    }

    async fn send(&self, mut frame: Frame) -> Result<(), Closed> {
        let is_first = self.begin();
        let held = tokio::select! {
            held = frame.take_in_turn(&self.budget) => held,
            () = self.parts.closed() => return Err(Closed),
        };
        let bytes = self.framing.part(&frame.into_text(), is_first).ok_or(Closed)?;
        self.parts.send(Bytes::from_owner(Part { bytes, _held: held })).await.map_err(|_| Closed)
    }

    /// There is no answer on which a published client would pull again, and nothing like the end of a socket. So it is
    /// tried until it works or the client goes.
    async fn pull_failing(&self, _error: PullError, failures: u32) -> Result<(), PullError> {
        if self.platform.timeout(patience::pause(failures), self.parts.closed()).await.is_some() {
            return Err(PullError::Gone);
        }
        if let Some(nothing) = self.framing.nothing() {
            // Where parts wait, they will do.
            let _ = self.parts.try_send(nothing);
        }
        Ok(())
    }

    async fn acknowledge(&self, request_id: &RequestId) {
        let frame = self.session().acknowledge(request_id);
        // An answer that is not read needs no more.
        let _ = self.send(frame.into()).await;
    }

    fn caught_up(&self, delivery: &Delivery, live: bool) {
        if live {
            (self.caught_up)();
        }
        // A live pull ends here, too: what is published later comes in calls to the client.
        self.state().end = self.session().handle_caught_up(delivery, false);
    }
}

#[cfg(test)]
mod tests {
    use super::Framing;

    #[test]
    fn frames_become_one_body() {
        for (framing, body, empty) in [
            (Framing::Json, "[1,1]".as_bytes(), "[]".as_bytes()),
            (Framing::Ndjson, b"1\n1\n", b""),
            (Framing::Msgpack, b"\x91\x01\x91\x01", b""),
        ] {
            let parts = [framing.part("1", true), framing.part("1", false), framing.end(false)];
            assert_eq!(parts.iter().flatten().flatten().copied().collect::<Vec<_>>(), body, "{framing:?}");
            assert_eq!(framing.end(true).unwrap_or_default(), empty, "{framing:?}");
        }
        assert_eq!(Framing::Msgpack.part("no JSON", true), None);
    }
}
