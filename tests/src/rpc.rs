//! A client of 0.4 and later, in raw frames. Called by the tests, on a `socket`.

use std::collections::VecDeque;

use serde_json::Value;

use crate::event::{quoted, seqs};
use crate::{Answer, Chunk, Event, Exit, Pulled, Socket, Store};

/// What a pull is sent at first without an `Ack`, in bytes of events.
const WINDOW_BYTES_START: usize = 128_000;

/// What a chunk has beside its events, about.
const ENVELOPE_BYTES: usize = 120;

/// The JSON type of a client's request ids, by which servers tell the generations apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// 0.4: decimal strings.
    Text,
    /// Next: numbers.
    Number,
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
        assert!(chunk.bytes <= 100_000 || chunk.events.len() == 1, "{} bytes in a chunk", chunk.bytes);
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

    /// Pushes to the log with this id and waits for the answer.
    pub async fn push_to(&mut self, batch: &[Event], backend: &str) -> Exit {
        let id = self.start_push_to(batch, Some(backend)).await;
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

    /// Takes chunks without acknowledging them, as many as come at first.
    pub async fn fill_window(&mut self, id: &Value) -> Vec<i64> {
        let (mut numbers, mut bytes) = (Vec::new(), 0);
        while bytes < WINDOW_BYTES_START {
            let chunk = self.expect_chunk(id).await;
            bytes += chunk.bytes - ENVELOPE_BYTES;
            numbers.extend(seqs(&chunk.events));
        }
        numbers
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
