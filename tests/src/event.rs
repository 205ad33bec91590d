//! Events as tests write and compare them. Called by the tests; knows JSON, no sockets.

use serde::Deserialize;
use serde_json::value::RawValue;

/// An event to push. `args` is JSON text that goes out as it is; `None` leaves the member out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The name.
    pub name: String,
    /// JSON text.
    pub args: Option<String>,
    /// The position.
    pub seq: i64,
    /// The position before it.
    pub parent: i64,
    /// The client.
    pub client: String,
    /// The session.
    pub session: String,
}

impl Event {
    /// An event with recognisable content.
    #[must_use]
    pub fn new(parent: i64, seq: i64) -> Self {
        Self {
            name: "todoCreated".into(),
            args: Some(format!(r#"{{"id":"{seq}","text":"t{seq}"}}"#)),
            seq,
            parent,
            client: "client-a".into(),
            session: "session-a".into(),
        }
    }

    /// The same with other arguments.
    #[must_use]
    pub fn with_args(mut self, args: impl Into<String>) -> Self {
        self.args = Some(args.into());
        self
    }

    /// The same from another client.
    #[must_use]
    pub fn from_client(mut self, client: &str) -> Self {
        self.client = client.into();
        self
    }

    /// The event as clients write it.
    #[must_use]
    pub fn json(&self) -> String {
        let args = self.args.as_ref().map(|args| format!(r#""args":{args},"#)).unwrap_or_default();
        format!(
            r#"{{"name":{},{args}"seqNum":{},"parentSeqNum":{},"clientId":{},"sessionId":{}}}"#,
            quoted(&self.name),
            self.seq,
            self.parent,
            quoted(&self.client),
            quoted(&self.session),
        )
    }

    /// A batch as clients write it.
    #[must_use]
    pub fn batch_json(batch: &[Self]) -> String {
        let events: Vec<_> = batch.iter().map(Self::json).collect();
        format!("[{}]", events.join(","))
    }
}

pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string has a JSON form")
}

/// `count` events that follow `head` without gaps.
#[must_use]
pub fn chain(head: i64, count: i64) -> Vec<Event> {
    (head..head + count).map(|parent| Event::new(parent, parent + 1)).collect()
}

/// The same with these arguments on each.
#[must_use]
pub fn chain_with(head: i64, count: i64, args: &str) -> Vec<Event> {
    chain(head, count).into_iter().map(|event| event.with_args(args)).collect()
}

/// An event as it was pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The event; `args` is always there, byte for byte.
    pub event: Event,
    /// When the server took it.
    pub created_at: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Item {
    event_encoded: EventIn,
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct EventIn {
    name: String,
    args: Box<RawValue>,
    seq_num: i64,
    parent_seq_num: i64,
    client_id: String,
    session_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Metadata {
    #[serde(rename = "_tag")]
    tag: String,
    value: MetadataValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MetadataValue {
    #[serde(rename = "_tag")]
    tag: Option<String>,
    created_at: String,
}

impl Item {
    /// `metadata_tag` is the tag inside the metadata: 0.3 has none.
    pub(crate) fn pulled(self, metadata_tag: Option<&str>) -> Pulled {
        let Self { event_encoded: event, metadata } = self;
        assert_eq!(metadata.tag, "Some", "every event has metadata");
        assert_eq!(metadata.value.tag.as_deref(), metadata_tag, "the tag of the metadata");
        Pulled {
            event: Event {
                name: event.name,
                args: Some(event.args.get().to_owned()),
                seq: event.seq_num,
                parent: event.parent_seq_num,
                client: event.client_id,
                session: event.session_id,
            },
            created_at: metadata.value.created_at,
        }
    }
}

/// The positions.
#[must_use]
pub fn seqs(events: &[Pulled]) -> Vec<i64> {
    events.iter().map(|pulled| pulled.event.seq).collect()
}

/// Panics unless exactly these events came, equal in every field.
pub fn assert_pulled(got: &[Pulled], expected: &[Event]) {
    let numbers: Vec<_> = expected.iter().map(|event| event.seq).collect();
    assert_eq!(seqs(got), numbers, "the positions pulled");
    for (got, expected) in got.iter().zip(expected) {
        let expected = Event { args: Some(expected.args.clone().unwrap_or("null".into())), ..expected.clone() };
        assert_eq!(got.event, expected);
    }
}

/// Panics unless the events are one chain that starts after `head`.
pub fn assert_chain(head: i64, events: &[Pulled]) {
    let mut head = head;
    for Pulled { event, .. } in events {
        assert_eq!(event.parent, head, "the parent of event {}", event.seq);
        assert!(event.seq > head, "event {} comes after {head}", event.seq);
        head = event.seq;
    }
}
