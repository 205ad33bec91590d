use livestore_sync_protocol::v03::{self, ClientMessage, Context, Id, Refusal, ServerMessage};
use livestore_sync_protocol::{Chunk, Cursor, Generation, ItemFormat, RequestId, SeqNum};

use super::{Delivery, Input, pusher};
use crate::PullError;
use crate::store::Committed;

/// 0.3 has no subscriptions: a connection gets every push. While a pull sends its backlog, pushes
/// wait in the log, so that nothing overtakes it.
#[derive(Debug, Default)]
pub(crate) struct V03 {
    /// The client's own pull. It asks once in its life, also when it reconnects later.
    pull: Option<String>,
    catching_up: usize,
    /// The last event that was sent on this connection.
    sent: Option<SeqNum>,
    /// Acknowledgements that were sent and may not have arrived.
    acknowledged: Vec<String>,
    /// What the ping on the way covers.
    pinged: Option<Mark>,
    /// The last event that certainly arrived.
    confirmed: Option<SeqNum>,
}

#[derive(Debug)]
struct Mark {
    sent: Option<SeqNum>,
    acknowledged: usize,
}

/// What the next connection of the same client needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last event that certainly arrived.
    pub(crate) after: SeqNum,
    /// Pushes whose acknowledgement may not have arrived.
    pub(crate) acknowledged: Vec<String>,
}

impl V03 {
    pub(super) fn handle_frame(&mut self, text: &str) -> Vec<Input> {
        let input = match ClientMessage::decode(text) {
            Ok(ClientMessage::Ping(_)) => Input::Reply(v03::PONG.to_owned()),
            Ok(ClientMessage::Pull(pull)) => {
                self.pull = Some(pull.request_id.clone());
                self.catching_up += 1;
                Input::Pull {
                    delivery: Delivery::V03(Context::Pull, pull.request_id),
                    cursor: pull.cursor.map(|seq_num| Cursor { backend_id: None, seq_num }),
                    live: true,
                    generation: Generation::V03,
                }
            }
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
        };
        vec![input]
    }

    pub(super) fn handle_chunk(&mut self, context: Context, id: &str, chunk: Option<&Chunk>, remaining: u64) -> String {
        self.sent = chunk.map(|chunk| chunk.last).or(self.sent);
        v03::encode_pull_res(chunk, context, id, remaining)
    }

    pub(super) fn handle_caught_up(&mut self, head: SeqNum) {
        self.sent = self.sent.max(Some(head));
        self.catching_up = self.catching_up.saturating_sub(1);
    }

    pub(super) fn handle_pull_failed(&mut self, id: &str, error: &PullError) -> Option<String> {
        self.catching_up = self.catching_up.saturating_sub(1);
        Some(crate::error::v03_failure(id.to_owned(), &error.into()))
    }

    pub(super) fn acknowledge(&mut self, id: &str) -> String {
        self.acknowledged.push(id.to_owned());
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
}

fn refusal(request_id: String, message: String) -> String {
    ServerMessage::Error(Refusal { request_id, message }).encode()
}
