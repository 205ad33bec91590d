use std::collections::VecDeque;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::event::{Item, quoted};
use crate::{Event, Pulled, Socket, Store, short};

/// The JSON type of a client's request ids, by which servers tell the generations apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// 0.4: decimal strings.
    Text,
    /// Next: numbers.
    Number,
}

/// What a server sends.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Part of a pull.
    Chunk(Chunk),
    /// The end of a request, by its id.
    Exit(Value, Exit),
    /// The connection's input is wrong.
    Defect(Value),
    /// The answer to a ping.
    Pong,
}

/// Part of a pull.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The pull.
    pub id: Value,
    /// The events.
    pub events: Vec<Pulled>,
    /// Events that are still to come; 0 is `NoMore`.
    pub remaining: u64,
    /// The log's id.
    pub backend: String,
    /// Length of the pull response without its envelope.
    pub bytes: usize,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this `value`; `None` where the member is absent.
    Success(Option<Value>),
    /// With this `cause`, in the shape of the generation.
    Failure(Value),
}

impl Exit {
    /// Panics unless the push was taken.
    #[track_caller]
    pub fn assert_pushed(&self) {
        assert_eq!(*self, Self::Success(Some(serde_json::json!({}))), "the end of a push");
    }

    /// The typed error.
    #[track_caller]
    #[must_use]
    pub fn error(&self) -> Value {
        error_of(self.leaf(), "Fail", "error")
    }

    /// The defect that the request died of, as text.
    #[track_caller]
    #[must_use]
    pub fn died_of(&self) -> String {
        let defect = error_of(self.leaf(), "Die", "defect");
        defect.as_str().map_or_else(|| defect.to_string(), str::to_owned)
    }

    /// Panics unless the request was interrupted.
    #[track_caller]
    pub fn assert_interrupted(&self) {
        let text = self.leaf().to_string();
        assert!(text.contains(r#""_tag":"Interrupt""#), "expected an interruption, got {text}");
    }

    /// Panics unless it is this `ServerAheadError`.
    #[track_caller]
    pub fn assert_server_ahead(&self, head: i64, provided: i64) {
        let expected =
            serde_json::json!({ "_tag": "ServerAheadError", "minimumExpectedNum": head, "providedNum": provided });
        assert_eq!(self.error(), expected);
    }

    /// Panics unless it is an `UnknownError` around an `InvalidBatch`; gives its message.
    #[track_caller]
    pub fn assert_invalid_batch(&self) -> String {
        let error = self.error();
        assert_eq!(error["_tag"], "UnknownError", "{error}");
        assert_eq!(error["cause"]["name"], "InvalidBatch", "{error}");
        error["cause"]["message"].as_str().expect("a message").to_owned()
    }

    #[track_caller]
    fn leaf(&self) -> &Value {
        match self {
            Self::Failure(Value::Array(causes)) => {
                assert_eq!(causes.len(), 1, "one cause: {causes:?}");
                &causes[0]
            }
            Self::Failure(cause) => cause,
            Self::Success(value) => panic!("expected a failure, got success with {value:?}"),
        }
    }
}

/// The member of a cause that must have this tag.
#[track_caller]
#[must_use]
pub fn error_of(cause: &Value, tag: &str, member: &str) -> Value {
    assert_eq!(cause["_tag"], tag, "the cause {cause}");
    cause[member].clone()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Frame<'a> {
    #[serde(rename = "_tag")]
    tag: String,
    request_id: Option<Value>,
    #[serde(borrow)]
    values: Option<Vec<&'a RawValue>>,
    exit: Option<Value>,
    defect: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Response {
    batch: Vec<Item>,
    page_info: PageInfo,
    backend_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageInfo {
    #[serde(rename = "_tag")]
    tag: String,
    remaining: Option<u64>,
}

impl Answer {
    /// Reads one message, strictly.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let wrong = |why: &dyn std::fmt::Display| -> ! { panic!("{why} in {}", short(text)) };
        let frame: Frame<'_> = serde_json::from_str(text).unwrap_or_else(|error| wrong(&error));
        match (frame.tag.as_str(), frame.request_id, frame.values, frame.exit, frame.defect) {
            ("Pong", None, None, None, None) => Self::Pong,
            ("Defect", None, None, None, Some(defect)) => Self::Defect(defect),
            ("Exit", Some(id), None, Some(exit), None) => match exit["_tag"].as_str() {
                Some("Success") => Self::Exit(id, Exit::Success(exit.get("value").cloned())),
                Some("Failure") => {
                    let cause = exit["cause"].clone();
                    assert_eq!(cause.is_array(), id.is_number(), "causes are arrays for numeric ids only: {text}");
                    Self::Exit(id, Exit::Failure(cause))
                }
                _ => wrong(&"unknown exit"),
            },
            ("Chunk", Some(id), Some(values), None, None) => {
                let [value] = values[..] else { wrong(&"not exactly one value") };
                let response: Response = serde_json::from_str(value.get()).unwrap_or_else(|error| wrong(&error));
                let remaining = match (response.page_info.tag.as_str(), response.page_info.remaining) {
                    ("NoMore", None) => 0,
                    ("MoreKnown", Some(remaining)) if remaining > 0 => remaining,
                    _ => wrong(&"odd pageInfo"),
                };
                let events = response.batch.into_iter().map(|item| item.pulled(Some("SyncMessage.SyncMetadata")));
                Self::Chunk(Chunk {
                    id,
                    events: events.collect(),
                    remaining,
                    backend: response.backend_id,
                    bytes: value.get().len(),
                })
            }
            _ => wrong(&"unknown message"),
        }
    }
}

/// Reads the body of an http answer: an array of messages.
#[must_use]
pub fn parse_answers(text: &str) -> Vec<Answer> {
    let messages: Vec<&RawValue> =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {}", short(text)));
    messages.into_iter().map(|message| Answer::parse(message.get())).collect()
}

/// The payload of a pull; `live` is left out for http.
#[must_use]
pub fn pull_payload(store: &Store, live: Option<bool>, cursor: Option<(&str, i64)>) -> String {
    let live = live.map(|live| format!(r#","live":{live}"#)).unwrap_or_default();
    let cursor = cursor.map_or_else(
        || r#"{"_tag":"None"}"#.into(),
        |(backend, seq)| {
            let backend = quoted(backend);
            format!(r#"{{"_tag":"Some","value":{{"backendId":{backend},"eventSequenceNumber":{seq}}}}}"#)
        },
    );
    format!(r#"{{"storeId":{}{live},"cursor":{cursor}}}"#, store.id_json())
}

/// The payload of a push.
#[must_use]
pub fn push_payload(store: &Store, batch: &[Event], backend: Option<&str>) -> String {
    let backend = backend.map_or_else(
        || r#"{"_tag":"None"}"#.into(),
        |backend| format!(r#"{{"_tag":"Some","value":{}}}"#, quoted(backend)),
    );
    format!(r#"{{"storeId":{},"batch":{},"backendId":{backend}}}"#, store.id_json(), Event::batch_json(batch))
}

/// What a pull gave until it had everything.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The pull.
    pub id: Value,
    /// The events.
    pub events: Vec<Pulled>,
    /// The log's id.
    pub backend: String,
    /// Events and `remaining` of each chunk.
    pub pages: Vec<(usize, u64)>,
}

/// Checks that the answers are one finite pull: events, backend id, pages.
pub(crate) fn finite(answers: &[Answer], id: &Value) -> (Vec<Pulled>, String, Vec<(usize, u64)>) {
    let Some((Answer::Exit(exit_id, exit), chunks)) = answers.split_last() else {
        panic!("expected an Exit at the end of {answers:?}");
    };
    assert_eq!(exit_id, id);
    let value = id.is_number().then_some(Value::Null);
    assert_eq!(*exit, Exit::Success(value), "the end of a pull");
    let chunks: Vec<_> = chunks
        .iter()
        .map(|answer| match answer {
            Answer::Chunk(chunk) if chunk.id == *id => chunk,
            other => panic!("expected a chunk of {id}, got {other:?}"),
        })
        .collect();
    let (events, pages) = joined(&chunks);
    (events, chunks.first().expect("at least one chunk").backend.clone(), pages)
}

/// Joins chunks that run to `NoMore`; `remaining` must be exact.
fn joined(chunks: &[&Chunk]) -> (Vec<Pulled>, Vec<(usize, u64)>) {
    let pages: Vec<_> = chunks.iter().map(|chunk| (chunk.events.len(), chunk.remaining)).collect();
    let total: usize = pages.iter().map(|(events, _)| events).sum();
    let mut sent = 0;
    for (events, remaining) in &pages {
        sent += events;
        assert_eq!(*remaining, (total - sent) as u64, "`remaining` is exact: {pages:?}");
        assert!(*events <= 100, "at most 100 events in a chunk: {pages:?}");
        assert!(*events > 0 || pages.len() == 1, "no empty chunk beside others: {pages:?}");
    }
    for chunk in chunks {
        assert!(chunk.bytes <= 900_000 || chunk.events.len() == 1, "{} bytes in a chunk", chunk.bytes);
        assert_eq!(chunk.backend, chunks[0].backend, "the backend id");
    }
    let events: Vec<_> = chunks.iter().flat_map(|chunk| chunk.events.clone()).collect();
    assert!(events.windows(2).all(|pair| pair[0].event.seq < pair[1].event.seq), "ascending, nothing twice");
    (events, pages)
}

/// An RPC client over a WebSocket: 0.4 or next, by its ids.
///
/// Methods called `expect_…` want that answer next. The others put aside what belongs to others.
pub struct Rpc {
    /// The socket, for frames that no client sends.
    pub socket: Socket,
    store: Store,
    ids: Ids,
    last_id: u64,
    aside: VecDeque<Answer>,
}

impl Rpc {
    pub(crate) fn new(socket: Socket, store: Store, ids: Ids) -> Self {
        Self { socket, store, ids, last_id: 0, aside: VecDeque::new() }
    }

    /// An id that this client has not used yet.
    pub fn new_id(&mut self) -> Value {
        self.last_id += 1;
        match self.ids {
            Ids::Text => self.last_id.to_string().into(),
            Ids::Number => self.last_id.into(),
        }
    }

    /// Sends a request.
    pub async fn request(&mut self, id: &Value, tag: &str, payload: &str) {
        let frame = format!(r#"{{"_tag":"Request","id":{id},"tag":"{tag}","payload":{payload},"headers":[]}}"#);
        self.socket.send(frame).await;
    }

    /// Sends a push.
    pub async fn start_push(&mut self, batch: &[Event]) -> Value {
        self.start_push_to(batch, None).await
    }

    /// Sends a push to the log with this id.
    pub async fn start_push_to(&mut self, batch: &[Event], backend: Option<&str>) -> Value {
        let id = self.new_id();
        let payload = push_payload(&self.store, batch, backend);
        self.request(&id, "SyncWsRpc.Push", &payload).await;
        id
    }

    /// Pushes and waits for the end.
    pub async fn push(&mut self, batch: &[Event]) -> Exit {
        let id = self.start_push(batch).await;
        self.exit(&id).await
    }

    /// Pushes; the push must be taken.
    pub async fn push_ok(&mut self, batch: &[Event]) {
        self.push(batch).await.assert_pushed();
    }

    /// Sends a pull.
    pub async fn start_pull(&mut self, live: bool, cursor: Option<(&str, i64)>) -> Value {
        let id = self.new_id();
        self.start_pull_as(&id, live, cursor).await;
        id
    }

    /// Sends a pull with this id.
    pub async fn start_pull_as(&mut self, id: &Value, live: bool, cursor: Option<(&str, i64)>) {
        let payload = pull_payload(&self.store, Some(live), cursor);
        self.request(id, "SyncWsRpc.Pull", &payload).await;
    }

    /// Pulls everything above the cursor, not live.
    pub async fn pull(&mut self, cursor: Option<(&str, i64)>) -> Pull {
        let id = self.start_pull(false, cursor).await;
        let mut answers = Vec::new();
        loop {
            let answer = self.answer_to(&id, "the rest of a pull").await;
            let end = matches!(answer, Answer::Exit(..));
            if !end {
                self.ack(&id).await;
            }
            answers.push(answer);
            if end {
                let (events, backend, pages) = finite(&answers, &id);
                return Pull { id, events, backend, pages };
            }
        }
    }

    /// Pulls the whole log, not live.
    pub async fn pull_all(&mut self) -> Pull {
        self.pull(None).await
    }

    /// Starts a live pull and takes everything that is there.
    pub async fn live(&mut self, cursor: Option<(&str, i64)>) -> Pull {
        let id = self.start_pull(true, cursor).await;
        self.backlog(id).await
    }

    /// Takes a live pull's chunks until `NoMore`.
    pub async fn backlog(&mut self, id: Value) -> Pull {
        let mut chunks = Vec::new();
        loop {
            let chunk = self.chunk(&id).await;
            self.ack(&id).await;
            let end = chunk.remaining == 0;
            chunks.push(chunk);
            if end {
                let (events, pages) = joined(&chunks.iter().collect::<Vec<_>>());
                return Pull { id, events, backend: chunks[0].backend.clone(), pages };
            }
        }
    }

    /// Takes chunks of a live pull until this event came.
    pub async fn live_until(&mut self, id: &Value, last: i64) -> Vec<Pulled> {
        let mut events: Vec<Pulled> = Vec::new();
        while events.last().is_none_or(|pulled| pulled.event.seq < last) {
            events.extend(self.chunk(id).await.events);
            self.ack(id).await;
        }
        events
    }

    /// Acknowledges a chunk.
    pub async fn ack(&mut self, id: &Value) {
        self.socket.send(format!(r#"{{"_tag":"Ack","requestId":{id}}}"#)).await;
    }

    /// Interrupts a request.
    pub async fn interrupt(&mut self, id: &Value) {
        self.socket.send(format!(r#"{{"_tag":"Interrupt","requestId":{id}}}"#)).await;
    }

    async fn receive(&mut self, awaited: &str) -> Answer {
        Answer::parse(&self.socket.next_text(awaited).await)
    }

    /// The next answer, whatever it is.
    pub async fn answer(&mut self, awaited: &str) -> Answer {
        match self.aside.pop_front() {
            Some(answer) => answer,
            None => self.receive(awaited).await,
        }
    }

    async fn matching(&mut self, awaited: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        if let Some(index) = self.aside.iter().position(&wanted) {
            return self.aside.remove(index).expect("it is there");
        }
        loop {
            let answer = self.receive(awaited).await;
            if wanted(&answer) {
                return answer;
            }
            if let Answer::Defect(defect) = &answer {
                panic!("expected {awaited}, got the defect {defect}");
            }
            self.aside.push_back(answer);
        }
    }

    async fn answer_to(&mut self, id: &Value, awaited: &str) -> Answer {
        let wanted = |answer: &Answer| match answer {
            Answer::Chunk(chunk) => chunk.id == *id,
            Answer::Exit(exit, _) => exit == id,
            Answer::Defect(_) | Answer::Pong => false,
        };
        self.matching(awaited, wanted).await
    }

    /// The next chunk of a pull.
    pub async fn chunk(&mut self, id: &Value) -> Chunk {
        match self.answer_to(id, &format!("a chunk of pull {id}")).await {
            Answer::Chunk(chunk) => chunk,
            other => panic!("expected a chunk of pull {id}, got {other:?}"),
        }
    }

    /// The end of a request.
    pub async fn exit(&mut self, id: &Value) -> Exit {
        let wanted = |answer: &Answer| matches!(answer, Answer::Exit(exit, _) if exit == id);
        match self.matching(&format!("the end of request {id}"), wanted).await {
            Answer::Exit(_, exit) => exit,
            _ => unreachable!("only exits are wanted"),
        }
    }

    /// A chunk of this pull must come next.
    pub async fn expect_chunk(&mut self, id: &Value) -> Chunk {
        match self.answer(&format!("a chunk of pull {id}")).await {
            Answer::Chunk(chunk) if chunk.id == *id => chunk,
            other => panic!("expected a chunk of pull {id}, got {other:?}"),
        }
    }

    /// The end of this request must come next.
    pub async fn expect_exit(&mut self, id: &Value) -> Exit {
        match self.answer(&format!("the end of request {id}")).await {
            Answer::Exit(exit_id, exit) if exit_id == *id => exit,
            other => panic!("expected the end of request {id}, got {other:?}"),
        }
    }

    /// A defect must come next.
    pub async fn expect_defect(&mut self) -> Value {
        match self.answer("a defect").await {
            Answer::Defect(defect) => defect,
            other => panic!("expected a defect, got {other:?}"),
        }
    }

    /// A ping must be answered next.
    pub async fn expect_pong(&mut self) {
        self.socket.send(r#"{"_tag":"Ping"}"#).await;
        match self.answer("a pong").await {
            Answer::Pong => {}
            other => panic!("expected nothing but the answer to a ping, got {other:?}"),
        }
    }

    /// Nothing is on its way: the next thing that comes answers a ping, and the next one too.
    pub async fn expect_silence(&mut self) {
        self.expect_pong().await;
        self.expect_pong().await;
    }

    /// The connection still works: it answers a pull.
    pub async fn expect_usable(&mut self) {
        self.pull(None).await;
    }
}
