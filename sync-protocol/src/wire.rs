//! What the codecs of all generations share.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::limits::{BACKEND_ID_BYTES_MAX, CALLER_BYTES_MAX, QUOTE_BYTES_MAX, REQUEST_ID_BYTES_MAX};
use crate::{Event, PulledEvent};

/// The `_tag` of a message; the message itself is read once its type is known. (Serde's own tagged
/// enums buffer members into values, which raw JSON does not survive.)
///
/// # Errors
///
/// Text for people: not JSON, not an object, no `_tag`.
pub(crate) fn tag(text: &str) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Tag<'a> {
        #[serde(rename = "_tag", borrow)]
        tag: Cow<'a, str>,
    }
    read::<Tag<'_>>(text).map(|tag| quoted(tag.tag.into_owned()))
}

/// Reads a JSON object.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str::<Object<T>>(text).map(|object| object.0).map_err(|error| quoted(error.to_string()))
}

/// A text that quotes a message, cut to what an answer may hold of it: its beginning and its end, where the
/// reason stands.
pub(crate) fn quoted(text: String) -> String {
    const LEFT_OUT: &str = " … ";
    if text.len() <= QUOTE_BYTES_MAX {
        return text;
    }
    let half = (QUOTE_BYTES_MAX - LEFT_OUT.len()) / 2;
    let head = (0..=half).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let tail = (text.len() - half..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    [&text[..head], LEFT_OUT, &text[tail..]].concat()
}

/// A struct that is read from an object only: Serde's own reading takes `["a",1]` for it too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// A 0.3 request id. It goes to every client of the store, so its length matters.
pub(crate) fn request_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    at_most("requestId", REQUEST_ID_BYTES_MAX, deserializer)
}

/// A log's id, which is kept with a pull or a push, and goes back where it is the wrong one.
pub(crate) fn backend_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    at_most("backendId", BACKEND_ID_BYTES_MAX, deserializer)
}

/// A part of what names a Durable Object that pulls, which is kept for as long as that follows the log.
pub(crate) fn caller<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    at_most("a name in callerContext", CALLER_BYTES_MAX, deserializer)
}

fn at_most<'de, D: Deserializer<'de>>(what: &str, bytes_max: usize, deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() > bytes_max {
        return Err(de::Error::custom(format_args!("{what} is longer than {bytes_max} bytes")));
    }
    Ok(text)
}

/// A push's `batch`.
pub(crate) fn events<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Event>, D::Error> {
    let events = Vec::<Object<Event>>::deserialize(deserializer)?;
    Ok(events.into_iter().map(|event| event.0).collect())
}

pub(crate) fn write<T: Serialize>(message: &T) -> String {
    serde_json::to_string(message).expect("messages have a JSON form")
}

/// Effect's encoding of an optional value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "_tag", content = "value")]
pub(crate) enum WireOption<T> {
    None,
    Some(T),
}

impl<T> From<Option<T>> for WireOption<T> {
    fn from(option: Option<T>) -> Self {
        option.map_or(Self::None, Self::Some)
    }
}

impl<T> From<WireOption<T>> for Option<T> {
    fn from(option: WireOption<T>) -> Self {
        match option {
            WireOption::None => None,
            WireOption::Some(value) => Some(value),
        }
    }
}

/// An element of a pull response's `batch`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item<M> {
    event_encoded: Event,
    metadata: WireOption<M>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct V03Metadata {
    created_at: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "_tag", rename = "SyncMessage.SyncMetadata", rename_all = "camelCase")]
pub(crate) struct RpcMetadata {
    created_at: String,
}

pub(crate) trait Metadata: From<String> + Into<String> {}
impl Metadata for V03Metadata {}
impl Metadata for RpcMetadata {}

impl From<String> for V03Metadata {
    fn from(created_at: String) -> Self {
        Self { created_at }
    }
}

impl From<V03Metadata> for String {
    fn from(metadata: V03Metadata) -> Self {
        metadata.created_at
    }
}

impl From<String> for RpcMetadata {
    fn from(created_at: String) -> Self {
        Self { created_at }
    }
}

impl From<RpcMetadata> for String {
    fn from(metadata: RpcMetadata) -> Self {
        metadata.created_at
    }
}

impl<M: Metadata> From<PulledEvent> for Item<M> {
    fn from(pulled: PulledEvent) -> Self {
        Self { event_encoded: pulled.event, metadata: pulled.created_at.map(M::from).into() }
    }
}

impl<M: Metadata> From<Item<M>> for PulledEvent {
    fn from(item: Item<M>) -> Self {
        Self { event: item.event_encoded, created_at: Option::from(item.metadata).map(M::into) }
    }
}
