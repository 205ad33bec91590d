//! A 0.3 client's side of the conversation. 0.3 has no subscriptions: a connection gets every push. While a
//! pull sends its backlog, pushes wait in the log, so that nothing overtakes it.
//!
//! A 0.3 client pulls once in its life and goes on with that pull on later connections (`ws-impl.ts` of sync-cf
//! 0.3.1). So a session also keeps what a later connection needs to continue it: see `arrivals` here and
//! `host/continuation`, which decides. Pure.

mod arrivals;

use livestore_sync_protocol::v03::{self, ClientMessage, Context, Id, PullReq, Refusal, ServerMessage};
use livestore_sync_protocol::{Chunk, Cursor, Generation, ItemFormat, RequestId, SeqNum};
use serde::{Deserialize, Serialize};

use self::arrivals::Arrivals;
pub(crate) use self::arrivals::{HEARD_MS_MAX, Lost, Position, Proof};
use super::{Action, Delivery, Outgoing, PULLS_MAX, pusher};
use crate::error::{HistoryLost, PullError, PushError, v03_failure};
use crate::event::Committed;
use crate::frame::Frame;

#[derive(Debug)]
pub(super) struct V03 {
    client: Client,
    /// Whether the client has sent anything.
    spoken: bool,
    /// When the client last sent something, or connected.
    heard_ms: u64,
    /// Reasons to leave pushes in the log for now: backlogs that are being sent, and being held.
    catching_up: usize,
    /// Whether any event was sent on this connection.
    sent: bool,
    arrivals: Arrivals,
}

/// What kind of client this is, as far as it has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Client {
    /// It may be one that reconnects and has pulls to continue. It gets no events until that is known.
    Held,
    /// It reconnects, or is new and about to pull.
    Returning,
    /// It pulled on this connection for the first time in its life.
    New {
        /// The pull's request id.
        pull: String,
        /// Whether the pull's last page is sent; what the log yields after that are pushes to the client.
        answered: bool,
    },
    /// The app does not let it pull. It gets no events on this connection, unless a later pull is allowed.
    Refused,
}

/// What a [`V03`] is rebuilt from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    client: Client,
    heard_ms: u64,
    /// What has arrived when this is written; what is sent is kept with the log.
    pulls: Vec<Position>,
    spoken: bool,
    sent: bool,
    acknowledged: Vec<String>,
    /// The longer word is the false one: a session that had room while it caught up, has room afterwards.
    caught_up: bool,
}

impl V03 {
    pub(super) fn new(proof: Proof, now_ms: u64) -> Self {
        Self {
            client: Client::Returning,
            spoken: false,
            heard_ms: now_ms,
            catching_up: 0,
            sent: false,
            arrivals: Arrivals::new(proof),
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            client: self.client.clone(),
            heard_ms: self.heard_ms,
            pulls: self.arrivals.positions(false),
            spoken: self.spoken,
            sent: self.sent,
            acknowledged: self.arrivals.acknowledged(),
            caught_up: !self.is_catching_up(),
        }
    }

    /// Rebuilds a session that has been sent everything up to `head`; `None` if it was sending a backlog.
    pub(super) fn restore(proof: Proof, snapshot: Snapshot, head: SeqNum) -> Option<Self> {
        snapshot.caught_up.then(|| Self {
            client: snapshot.client,
            spoken: snapshot.spoken,
            heard_ms: snapshot.heard_ms,
            catching_up: 0,
            sent: snapshot.sent,
            arrivals: Arrivals::restore(proof, snapshot.pulls, snapshot.acknowledged, head),
        })
    }

    pub(super) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    pub(super) fn hold(&mut self) {
        self.client = Client::Held;
        self.catching_up += 1;
    }

    pub(super) fn is_held(&self) -> bool {
        self.client == Client::Held
    }

    pub(super) fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// The frames repeat acknowledgements, which the client expects before the events.
    pub(super) fn adopt(&mut self, lost: &Lost) -> Vec<String> {
        self.client = Client::Returning;
        lost.pulls.iter().for_each(|Position { pull, after }| self.arrivals.adopt(pull.clone(), *after));
        lost.acknowledged.iter().map(|id| self.acknowledge(id)).collect()
    }

    pub(super) fn has_pulls(&self) -> bool {
        self.arrivals.has_pulls()
    }

    pub(super) fn pulls(&self) -> Vec<String> {
        self.arrivals.pulls()
    }

    pub(super) fn handle_frame(&mut self, text: &str, now_ms: u64) -> Vec<Action> {
        let message = ClientMessage::decode(text);
        let spoken = std::mem::replace(&mut self.spoken, true);
        self.heard_ms = now_ms;
        self.arrivals.heard(matches!(message, Ok(ClientMessage::Push(_))));
        let mut actions = Vec::new();
        if !spoken || matches!(message, Ok(ClientMessage::Pull(_))) {
            actions.push(Action::Progress);
        }
        if matches!(message, Ok(ClientMessage::Pull(_))) && self.catching_up < PULLS_MAX {
            actions.extend(self.handle_first_pull());
        }
        actions.push(match message {
            Ok(ClientMessage::Ping(_)) => Action::Pong(v03::PONG.to_owned()),
            Ok(ClientMessage::Pull(pull)) if self.catching_up >= PULLS_MAX => {
                Action::Reply(refusal(pull.request_id, format!("more than {PULLS_MAX} pulls at a time")))
            }
            Ok(ClientMessage::Pull(pull)) => self.handle_pull(pull),
            Ok(ClientMessage::Push(push)) if push.batch.is_empty() => Action::Reply(self.acknowledge(&push.request_id)),
            Ok(ClientMessage::Push(push)) => Action::Push {
                request_id: RequestId::Text(push.request_id),
                batch: push.batch,
                backend_id: None,
                generation: Generation::V03,
            },
            // There is no admin secret that could match, as in a reference without one.
            Ok(ClientMessage::AdminResetRoom(admin) | ClientMessage::AdminInfo(admin)) => {
                Action::Reply(refusal(admin.request_id, "Invalid admin secret".to_owned()))
            }
            Err(error) => Action::Reply(refusal(error.request_id, error.message)),
        });
        actions
    }

    /// The first pull of a client's life shows that there is nothing that it could continue.
    fn handle_first_pull(&mut self) -> Option<Action> {
        match self.client {
            Client::New { .. } => return None,
            Client::Held => self.catching_up -= 1,
            Client::Returning | Client::Refused => {}
        }
        self.arrivals.forget_all();
        Some(Action::NewClient)
    }

    fn handle_pull(&mut self, pull: PullReq) -> Action {
        self.client = Client::New { pull: pull.request_id.clone(), answered: false };
        self.arrivals.begin(pull.request_id.clone(), pull.cursor.unwrap_or(SeqNum::ROOT));
        self.catching_up += 1;
        Action::Pull {
            delivery: Delivery::V03(Context::Pull, pull.request_id),
            cursor: pull.cursor.map(|seq_num| Cursor { backend_id: None, seq_num }),
            live: true,
            generation: Generation::V03,
        }
    }

    pub(super) fn begin_catch_up(&mut self) -> bool {
        let refused = self.client == Client::Refused;
        let unknown = !self.arrivals.has_pulls() && self.catching_up == 0 && !self.sent && !refused;
        if unknown {
            self.catching_up += 1;
        }
        unknown
    }

    /// Whether more of a backlog may be sent.
    pub(super) fn poll_ready(&self) -> bool {
        self.arrivals.has_room()
    }

    /// A chunk of a backlog.
    pub(super) fn handle_chunk(
        &mut self,
        context: Context,
        id: &str,
        chunk: Option<&Chunk>,
        remaining: u64,
        now_ms: u64,
    ) -> Frame {
        self.arrivals.send(chunk.map_or(0, |chunk| chunk.items.len()), now_ms);
        self.chunk(context, id, chunk, remaining).hurried(self.arrivals.are_instant())
    }

    fn chunk(&mut self, context: Context, id: &str, chunk: Option<&Chunk>, remaining: u64) -> Frame {
        self.sent |= chunk.is_some();
        let mut context = context;
        if let Client::New { pull, answered } = &mut self.client
            && pull == id
        {
            if *answered {
                context = Context::Push;
            }
            *answered |= remaining == 0;
        }
        Frame::new(v03::pull_res_envelope(context, id, remaining), chunk)
    }

    pub(super) fn handle_sent(&mut self, context: Context, id: &str, last: SeqNum) {
        self.arrivals.sent((context == Context::Pull).then_some(id), last);
    }

    pub(super) fn handle_caught_up(&mut self) {
        self.catching_up = self.catching_up.saturating_sub(1);
    }

    pub(super) fn handle_pull_failed(&mut self, id: &str, error: &PullError) -> Option<String> {
        self.handle_caught_up();
        // It has a hole now, so no connection may continue it.
        self.arrivals.forget(id);
        let is_latest = matches!(&self.client, Client::New { pull, .. } if pull == id);
        if is_latest && matches!(error, PullError::Rejected(_)) {
            self.client = Client::Refused;
        }
        Some(v03_failure(id.to_owned(), &error.into()))
    }

    pub(super) fn handle_continuation_refused(&mut self, pulls: &[Position], error: &PullError) -> Vec<String> {
        self.handle_caught_up();
        // Unless it has shown meanwhile that it is a new one.
        if self.client == Client::Returning {
            self.client = Client::Refused;
        }
        pulls.iter().for_each(|Position { pull, .. }| self.arrivals.forget(pull));
        pulls.iter().map(|Position { pull, .. }| v03_failure(pull.clone(), &error.into())).collect()
    }

    /// Published clients take a refused push for a lost race, whatever it says, and wait in silence for the events that
    /// it lost to. Where history was lost there are none, so a pull that is continued from an earlier connection is
    /// told: that error they show, or end on. One that was asked for on this connection is where the log is.
    pub(super) fn push_failed(&mut self, id: String, error: &PushError) -> Vec<String> {
        let PushError::HistoryLost(lost) = error else { return vec![v03_failure(id, &error.into())] };
        let wrong_parent = PushError::ServerAhead { head: lost.head, provided: lost.position };
        let mut frames = vec![v03_failure(id, &(&wrong_parent).into())];
        if !matches!(self.client, Client::New { .. }) {
            frames.extend(self.handle_history_lost(lost));
        }
        frames
    }

    pub(super) fn handle_history_lost(&mut self, lost: &HistoryLost) -> Vec<String> {
        let pulls = self.arrivals.pulls();
        self.arrivals.forget_all();
        let error = PullError::from(lost.clone());
        pulls.into_iter().map(|id| v03_failure(id, &(&error).into())).collect()
    }

    pub(super) fn acknowledge(&mut self, id: &str) -> String {
        // Without a pull, no later connection can be known for this client's.
        if self.is_held() || self.arrivals.has_pulls() {
            self.arrivals.sent_acknowledgement(id);
        }
        ServerMessage::PushAck(Id { request_id: id.to_owned() }).encode()
    }

    pub(super) fn handle_committed(&mut self, committed: &Committed, own: Option<&RequestId>) -> Vec<Outgoing> {
        let acknowledgement = own.map(|id| self.acknowledge(&id.to_string()));
        let mut outgoing: Vec<_> = acknowledgement.map(|frame| Outgoing::Text(frame.into())).into_iter().collect();
        if self.catching_up == 0 && self.client != Client::Refused {
            if !std::mem::replace(&mut self.sent, true) {
                // A client that has got anything must not be sent it once more, see `begin_catch_up`.
                outgoing.push(Outgoing::Remember);
            }
            let id = pusher(committed);
            for chunk in committed.chunks(ItemFormat::V03) {
                outgoing.push(Outgoing::Text(self.chunk(Context::Push, &id, Some(chunk), 0)));
                self.handle_sent(Context::Push, &id, chunk.last);
                outgoing.extend(self.poll_ping().map(Outgoing::Ping));
            }
        }
        outgoing.extend(self.poll_ping().map(Outgoing::Ping));
        outgoing
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.catching_up > 0
    }

    pub(super) fn poll_ping(&mut self) -> Option<u64> {
        self.arrivals.poll_ping()
    }

    pub(super) fn handle_pong(&mut self, ping: u64, now_ms: u64) {
        self.arrivals.handle_pong(ping, now_ms);
    }

    pub(super) fn handle_lost(&mut self, now_ms: u64) -> Lost {
        if self.is_held() {
            // What it might have continued is left to the next connection.
            self.client = Client::Returning;
        }
        self.arrivals.lose(now_ms.saturating_sub(self.heard_ms))
    }
}

fn refusal(request_id: String, message: String) -> String {
    ServerMessage::Error(Refusal { request_id, message }).encode()
}

#[cfg(test)]
mod tests;
