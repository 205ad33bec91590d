//! A client of 0.3, in raw frames. Called by the tests, on a `socket`.

use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;

use crate::event::{Item, quoted};
use crate::{Event, Pulled, Socket, short};

/// What a server sends to a 0.3 client.
#[derive(Clone, Debug)]
pub enum Message {
    /// Events.
    PullRes(PullRes),
    /// The push is committed, by its id.
    PushAck(String),
    /// The request is refused: its id and why.
    Error(String, String),
    /// The answer to a ping.
    Pong,
}

/// Events for a 0.3 client.
#[derive(Clone, Debug)]
pub struct PullRes {
    /// `pull` or `push`.
    pub context: String,
    /// The pull's or the push's id.
    pub id: String,
    /// The events.
    pub events: Vec<Pulled>,
    /// Events of this pull that are still to come.
    pub remaining: u64,
    /// Length of the frame.
    pub bytes: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Frame {
    #[serde(rename = "_tag")]
    tag: String,
    request_id: RequestId,
    batch: Option<Vec<Item>>,
    remaining: Option<u64>,
    message: Option<String>,
    #[serde(default)]
    info: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RequestId {
    Plain(String),
    #[serde(rename_all = "camelCase")]
    Context {
        context: String,
        request_id: String,
    },
}

impl Message {
    /// Reads one frame, strictly.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let frame: Frame = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {}", short(text)));
        assert!(frame.info.is_none(), "nobody asked for {text}");
        match (frame.tag.as_str(), frame.request_id, frame.batch, frame.remaining, frame.message) {
            ("WSMessage.PullRes", RequestId::Context { context, request_id }, Some(batch), Some(remaining), None) => {
                let events = batch.into_iter().map(|item| item.pulled(None)).collect();
                Self::PullRes(PullRes { context, id: request_id, events, remaining, bytes: text.len() })
            }
            ("WSMessage.PushAck", RequestId::Plain(id), None, None, None) => Self::PushAck(id),
            ("WSMessage.Error", RequestId::Plain(id), None, None, Some(message)) => Self::Error(id, message),
            ("WSMessage.Pong", RequestId::Plain(id), None, None, None) if id == "ping" => Self::Pong,
            _ => panic!("unknown message {}", short(text)),
        }
    }
}

/// A 0.3 client.
///
/// Methods called `expect_…` want that message next. The others put aside what belongs to others.
pub struct V03 {
    /// The socket, for frames that no client sends.
    pub socket: Socket,
    last_id: u64,
    aside: VecDeque<Message>,
}

impl V03 {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, last_id: 0, aside: VecDeque::new() }
    }

    /// An id that this client has not used yet.
    pub fn new_id(&mut self) -> String {
        self.last_id += 1;
        format!("{:021}", self.last_id)
    }

    /// Sends a push.
    pub async fn start_push(&mut self, batch: &[Event]) -> String {
        let id = self.new_id();
        let batch = Event::batch_json(batch);
        self.socket
            .send(format!(r#"{{"_tag":"WSMessage.PushReq","requestId":{},"batch":{batch}}}"#, quoted(&id)))
            .await;
        id
    }

    /// Pushes and waits for the answer; `Err` is the refusal.
    pub async fn push(&mut self, batch: &[Event]) -> Result<(), String> {
        let id = self.start_push(batch).await;
        let wanted = |message: &Message| matches!(message, Message::PushAck(i) | Message::Error(i, _) if *i == id);
        match self.matching(&format!("the answer to push {id}"), wanted).await {
            Message::Error(_, why) => Err(why),
            _ => Ok(()),
        }
    }

    /// Pushes; the push must be taken, and its broadcast must follow the ack.
    pub async fn push_ok(&mut self, batch: &[Event]) {
        let id = self.start_push(batch).await;
        self.expect_ack(&id).await;
        self.expect_broadcast(Some(&id), batch.len()).await;
    }

    /// Sends a pull. `cursor` is JSON; `None` leaves the member out.
    pub async fn start_pull(&mut self, cursor: Option<&str>) -> String {
        let id = self.new_id();
        let cursor = cursor.map(|cursor| format!(r#","cursor":{cursor}"#)).unwrap_or_default();
        self.socket.send(format!(r#"{{"_tag":"WSMessage.PullReq","requestId":{}{cursor}}}"#, quoted(&id))).await;
        id
    }

    /// Pulls; the pages of the answer must come next.
    pub async fn pull(&mut self, cursor: Option<&str>) -> Vec<PullRes> {
        let id = self.start_pull(cursor).await;
        self.expect_pages(&id).await
    }

    /// The pages of this pull must come next.
    pub async fn expect_pages(&mut self, id: &str) -> Vec<PullRes> {
        let mut pages = Vec::new();
        loop {
            let page = self.expect_pull_res().await;
            assert_eq!((page.context.as_str(), page.id.as_str()), ("pull", id), "a page of the pull");
            assert!(page.events.len() <= 100, "at most 100 events in a page");
            assert!(page.bytes <= 101_000 || page.events.len() == 1, "{} bytes in a page", page.bytes);
            let end = page.remaining == 0;
            pages.push(page);
            if end {
                let mut left: u64 = pages.iter().map(|page| page.events.len() as u64).sum();
                for page in &pages {
                    left -= page.events.len() as u64;
                    assert_eq!(page.remaining, left, "`remaining` is exact");
                }
                return pages;
            }
        }
    }

    /// Pulls all events above the cursor.
    pub async fn pull_events(&mut self, cursor: Option<&str>) -> Vec<Pulled> {
        self.pull(cursor).await.into_iter().flat_map(|page| page.events).collect()
    }

    async fn receive(&mut self, awaited: &str) -> Message {
        Message::parse(&self.socket.next_text(awaited).await)
    }

    /// The next message, whatever it is.
    pub async fn message(&mut self, awaited: &str) -> Message {
        match self.aside.pop_front() {
            Some(message) => message,
            None => self.receive(awaited).await,
        }
    }

    async fn matching(&mut self, awaited: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        if let Some(index) = self.aside.iter().position(&wanted) {
            return self.aside.remove(index).expect("it is there");
        }
        loop {
            let message = self.receive(awaited).await;
            if wanted(&message) {
                return message;
            }
            self.aside.push_back(message);
        }
    }

    /// Events must come next.
    pub async fn expect_pull_res(&mut self) -> PullRes {
        match self.message("a PullRes").await {
            Message::PullRes(res) => res,
            other => panic!("expected a PullRes, got {other:?}"),
        }
    }

    /// So many events of one push must come next, with its id where it is known.
    pub async fn expect_broadcast(&mut self, id: Option<&str>, count: usize) -> Vec<Pulled> {
        let mut events = Vec::new();
        while events.len() < count {
            let res = self.expect_pull_res().await;
            assert_eq!(res.context, "push", "events that were not asked for");
            if let Some(id) = id {
                assert_eq!(res.id, id, "the push's id");
            }
            assert!(!res.events.is_empty() && res.events.len() <= 100, "{} events in a broadcast", res.events.len());
            events.extend(res.events);
        }
        assert_eq!(events.len(), count, "events of a broadcast");
        events
    }

    /// So many events of any pushes must come next.
    pub async fn expect_broadcast_events(&mut self, count: usize) -> Vec<Pulled> {
        let mut events = Vec::new();
        while events.len() < count {
            let res = self.expect_pull_res().await;
            assert_eq!(res.context, "push", "events that were not asked for");
            events.extend(res.events);
        }
        assert_eq!(events.len(), count, "events of broadcasts");
        events
    }

    /// The ack of this push must come next.
    pub async fn expect_ack(&mut self, id: &str) {
        match self.message(&format!("the ack of push {id}")).await {
            Message::PushAck(ack) if ack == id => {}
            other => panic!("expected the ack of push {id}, got {other:?}"),
        }
    }

    /// A refusal of this request must come next.
    pub async fn expect_error(&mut self, id: &str) -> String {
        match self.message(&format!("an error for {id:?}")).await {
            Message::Error(error_id, message) if error_id == id => message,
            other => panic!("expected an error for {id:?}, got {other:?}"),
        }
    }

    /// A ping must be answered next.
    pub async fn expect_pong(&mut self) {
        self.socket.send(r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#).await;
        match self.message("a pong").await {
            Message::Pong => {}
            other => panic!("expected nothing but the answer to a ping, got {other:?}"),
        }
    }

    /// Nothing is on its way: the next thing that comes answers a ping, and the next one too.
    pub async fn expect_silence(&mut self) {
        self.expect_pong().await;
        self.expect_pong().await;
    }
}
