use std::collections::VecDeque;

use livestore_sync_protocol::v03::{self, ClientMessage, Context, Id, PullReq, Refusal, ServerMessage};
use livestore_sync_protocol::{Chunk, Cursor, Generation, ItemFormat, RequestId, SeqNum};
use serde::{Deserialize, Serialize};

use super::{Delivery, Input, pusher};
use crate::PullError;
use crate::event::Committed;
use crate::resume::{Lost, Position};

/// What proves that something which was sent has arrived. It matters when a client reconnects, see
/// [`crate::resume`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Pongs of numbered WebSocket pings, one behind each chunk.
    Pongs,
    /// For platforms that cannot send WebSocket pings: a frame of the client's. One that was heard less
    /// than [`HEARD_MS_MAX`] ago counts as having had everything.
    Frames,
}

/// 0.3 clients ping every 25 s and take 5 s for the answer (`ws-impl.ts` of sync-cf 0.3.1).
pub(crate) const HEARD_MS_MAX: u64 = 30_000;

/// Acknowledgements that may be repeated where nothing proves that they have arrived. Published
/// clients wait for each before they push again.
const UNPROVEN_ACKS_MAX: usize = 8;

/// Pulls of one connection that a later one could continue. Published clients have one.
const KNOWN_PULLS_MAX: usize = 16;

/// 0.3 has no subscriptions: a connection gets every push. While a pull sends its backlog, pushes
/// wait in the log, so that nothing overtakes it.
#[derive(Debug)]
pub(crate) struct V03 {
    proof: Proof,
    /// When the client last sent something.
    heard_ms: u64,
    /// The pulls that the client may have: its own, or those that it may continue.
    pulls: Vec<Known>,
    own: Option<String>,
    /// Whether its own pull's last page is sent; what the log yields after that are pushes to it.
    answered: bool,
    /// Whether it is open if this is a new client, or one that reconnects and has pulls to continue.
    held: bool,
    /// Whether the client has sent anything.
    spoken: bool,
    catching_up: usize,
    /// Whether any event was sent on this connection.
    sent: bool,
    /// Acknowledgements that were sent and may not have arrived, each with the ping that covers it.
    acknowledged: Vec<(u64, String)>,
    /// Whether something was sent behind the last ping.
    unpinged: bool,
    /// How many pings were sent. The pong of one proves that what was sent before it has arrived.
    pinged: u64,
    /// The last ping that was answered.
    ponged: u64,
}

/// Pings that may be on their way; what is sent meanwhile is covered by the next.
const PINGS_MAX: u64 = 64;

/// What a [`V03`] is rebuilt from.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    heard_ms: u64,
    pulls: Vec<String>,
    own: Option<String>,
    answered: bool,
    spoken: bool,
    sent: bool,
    acknowledged: Vec<String>,
    /// Shorter when it is true: a session that had room amid a backlog, has it afterwards.
    caught_up: bool,
}

/// Where a pull stands.
#[derive(Debug)]
struct Known {
    id: String,
    sent: SeqNum,
    /// What had been sent when these pings went out.
    pinged: VecDeque<(u64, SeqNum)>,
    confirmed: SeqNum,
}

impl Known {
    fn new(id: String, after: SeqNum) -> Self {
        Self { id, sent: after, pinged: VecDeque::new(), confirmed: after }
    }
}

impl V03 {
    pub(super) fn new(proof: Proof, now_ms: u64) -> Self {
        Self {
            proof,
            heard_ms: now_ms,
            pulls: Vec::new(),
            own: None,
            answered: false,
            held: false,
            spoken: false,
            catching_up: 0,
            sent: false,
            acknowledged: Vec::new(),
            unpinged: false,
            pinged: 0,
            ponged: 0,
        }
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            heard_ms: self.heard_ms,
            pulls: self.pulls().map(str::to_owned).collect(),
            own: self.own.clone(),
            answered: self.answered,
            spoken: self.spoken,
            sent: self.sent,
            acknowledged: self.acknowledged.iter().map(|(_, id)| id.clone()).collect(),
            caught_up: !self.is_catching_up(),
        }
    }

    /// Rebuilds a session that has been sent everything up to `head`; `None` if it was amid a backlog.
    pub(super) fn restore(proof: Proof, snapshot: Snapshot, head: SeqNum) -> Option<Self> {
        snapshot.caught_up.then(|| Self {
            pulls: snapshot.pulls.into_iter().map(|id| Known::new(id, head)).collect(),
            own: snapshot.own,
            answered: snapshot.answered,
            spoken: snapshot.spoken,
            sent: snapshot.sent,
            acknowledged: snapshot.acknowledged.into_iter().map(|id| (0, id)).collect(),
            ..Self::new(proof, snapshot.heard_ms)
        })
    }

    /// When the client last sent something, in milliseconds since 1970.
    pub(crate) fn heard_ms(&self) -> u64 {
        self.heard_ms
    }

    /// There are earlier connections that may be the same client's. Nothing is sent until it is
    /// known what to continue, or that the client is a new one.
    pub(crate) fn hold(&mut self) {
        self.held = true;
        self.catching_up += 1;
    }

    /// Whether the client has sent anything, which a new one starts with its pull.
    pub(crate) fn has_spoken(&self) -> bool {
        self.spoken
    }

    /// Whether it is still open what kind of client this is.
    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// The client continues these pulls, or, if there are none, what is sent from now on. The
    /// frames repeat acknowledgements, which it expects before the events.
    pub(crate) fn adopt(&mut self, lost: &Lost) -> Vec<String> {
        self.held = false;
        self.pulls.extend(lost.pulls.iter().map(|Position { pull, after }| Known::new(pull.clone(), *after)));
        lost.acknowledged.iter().map(|id| self.acknowledge(id)).collect()
    }

    /// The ids of this client's pulls, which another connection could continue.
    pub(crate) fn pulls(&self) -> impl Iterator<Item = &str> {
        self.pulls.iter().map(|pull| pull.id.as_str())
    }

    pub(super) fn handle_frame(&mut self, text: &str, now_ms: u64) -> Vec<Input> {
        let message = ClientMessage::decode(text);
        self.spoken = true;
        self.heard_ms = now_ms;
        if self.proof == Proof::Frames {
            self.pulls.iter_mut().for_each(|pull| pull.confirmed = pull.sent);
            if matches!(message, Ok(ClientMessage::Push(_))) {
                self.acknowledged.clear();
            }
        }
        let mut inputs = vec![Input::Progress];
        if matches!(message, Ok(ClientMessage::Pull(_))) {
            inputs.extend(self.handle_new_client());
        }
        inputs.push(match message {
            Ok(ClientMessage::Ping(_)) => Input::Reply(v03::PONG.to_owned()),
            Ok(ClientMessage::Pull(pull)) => self.handle_pull(pull),
            Ok(ClientMessage::Push(push)) if push.batch.is_empty() => Input::Reply(self.acknowledge(&push.request_id)),
            Ok(ClientMessage::Push(push)) => Input::Push {
                request_id: RequestId::Text(push.request_id),
                batch: push.batch,
                backend_id: None,
                generation: Generation::V03,
            },
            // There is no admin secret that could match, as in a reference without one.
            Ok(ClientMessage::AdminResetRoom(admin) | ClientMessage::AdminInfo(admin)) => {
                Input::Reply(refusal(admin.request_id, "Invalid admin secret".to_owned()))
            }
            Err(error) => Input::Reply(refusal(error.request_id, error.message)),
        });
        inputs
    }

    /// The client pulls for the first time in its life: there is nothing that it could continue.
    fn handle_new_client(&mut self) -> Option<Input> {
        if self.own.is_some() {
            return None;
        }
        self.pulls.clear();
        if std::mem::take(&mut self.held) {
            self.catching_up -= 1;
        }
        Some(Input::NewClient)
    }

    fn handle_pull(&mut self, pull: PullReq) -> Input {
        let after = pull.cursor.unwrap_or(SeqNum::ROOT);
        self.own = Some(pull.request_id.clone());
        self.answered = false;
        if self.pulls.len() >= KNOWN_PULLS_MAX {
            self.pulls.remove(0);
        }
        self.pulls.push(Known::new(pull.request_id.clone(), after));
        self.catching_up += 1;
        Input::Pull {
            delivery: Delivery::V03(Context::Pull, pull.request_id),
            cursor: pull.cursor.map(|seq_num| Cursor { backend_id: None, seq_num }),
            live: true,
            generation: Generation::V03,
        }
    }

    /// A push was refused on a connection that never pulled, so nobody knows what its client lacks;
    /// the push tells. Returns whether that may be sent now; then nothing else is meanwhile.
    pub(crate) fn begin_catch_up(&mut self) -> bool {
        let unknown = self.pulls.is_empty() && self.catching_up == 0 && !self.sent;
        if unknown {
            self.catching_up += 1;
        }
        unknown
    }

    pub(super) fn handle_chunk(&mut self, context: Context, id: &str, chunk: Option<&Chunk>, remaining: u64) -> String {
        if let Some(chunk) = chunk {
            self.sent = true;
            for pull in self.pulls.iter_mut().filter(|pull| context == Context::Push || pull.id == id) {
                pull.sent = pull.sent.max(chunk.last);
                self.unpinged = true;
            }
        }
        let mut context = context;
        if self.own.as_deref() == Some(id) {
            if self.answered {
                context = Context::Push;
            }
            self.answered |= remaining == 0;
        }
        v03::encode_pull_res(chunk, context, id, remaining)
    }

    pub(super) fn handle_caught_up(&mut self) {
        self.catching_up = self.catching_up.saturating_sub(1);
    }

    pub(super) fn handle_pull_failed(&mut self, id: &str, error: &PullError) -> Option<String> {
        self.handle_caught_up();
        // It has a hole now, so nobody may continue it.
        self.pulls.retain(|pull| pull.id != id);
        Some(crate::error::v03_failure(id.to_owned(), &error.into()))
    }

    pub(super) fn acknowledge(&mut self, id: &str) -> String {
        // Without a pull, no later connection can be known for this client's.
        if self.held || !self.pulls.is_empty() {
            self.acknowledged.push((self.pinged + 1, id.to_owned()));
            self.unpinged = true;
            if self.proof == Proof::Frames && self.acknowledged.len() > UNPROVEN_ACKS_MAX {
                self.acknowledged.remove(0);
            }
        }
        ServerMessage::PushAck(Id { request_id: id.to_owned() }).encode()
    }

    pub(super) fn handle_committed(&mut self, committed: &Committed, own: Option<&RequestId>) -> Vec<String> {
        let mut frames: Vec<_> = own.map(|id| self.acknowledge(&id.to_string())).into_iter().collect();
        if self.catching_up == 0 {
            let id = pusher(committed);
            let chunks = committed.batch.chunks(ItemFormat::V03);
            frames.extend(chunks.iter().map(|chunk| self.handle_chunk(Context::Push, &id, Some(chunk), 0)));
        }
        frames
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.catching_up > 0
    }

    /// The number of a WebSocket ping to send now: its pong will prove that what was sent has arrived.
    /// Ask again after each frame.
    pub(super) fn poll_ping(&mut self) -> Option<u64> {
        if self.proof == Proof::Frames || !self.unpinged || self.pinged - self.ponged >= PINGS_MAX {
            return None;
        }
        self.unpinged = false;
        self.pinged += 1;
        self.pulls.iter_mut().for_each(|pull| pull.pinged.push_back((self.pinged, pull.sent)));
        Some(self.pinged)
    }

    pub(super) fn handle_pong(&mut self, ping: u64) {
        if ping > self.pinged {
            return;
        }
        self.ponged = self.ponged.max(ping);
        for pull in &mut self.pulls {
            while let Some((_, sent)) = pull.pinged.front().filter(|(number, _)| *number <= ping) {
                pull.confirmed = *sent;
                pull.pinged.pop_front();
            }
        }
        self.acknowledged.retain(|(covered_by, _)| *covered_by > ping);
    }

    /// What the next connection of this client must know.
    pub(crate) fn handle_lost(&mut self, now_ms: u64) -> Lost {
        let arrived = self.proof == Proof::Frames && now_ms.saturating_sub(self.heard_ms) < HEARD_MS_MAX;
        let position =
            |pull: &Known| Position { pull: pull.id.clone(), after: if arrived { pull.sent } else { pull.confirmed } };
        let acknowledged = self.acknowledged.drain(..).map(|(_, id)| id).collect();
        Lost { pulls: self.pulls.iter().map(position).collect(), acknowledged }
    }
}

fn refusal(request_id: String, message: String) -> String {
    ServerMessage::Error(Refusal { request_id, message }).encode()
}

#[cfg(test)]
mod tests;
