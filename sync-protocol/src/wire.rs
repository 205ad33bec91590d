//! What the codecs of all generations share.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::limits::REQUEST_ID_BYTES_MAX;
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
    read::<Tag<'_>>(text).map(|tag| tag.tag.into_owned())
}

/// Reads a JSON object.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str::<Object<T>>(text).map(|object| object.0).map_err(|error| error.to_string())
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
    let id = String::deserialize(deserializer)?;
    if id.len() > REQUEST_ID_BYTES_MAX {
        return Err(de::Error::custom(format_args!("requestId is longer than {REQUEST_ID_BYTES_MAX} bytes")));
    }
    Ok(id)
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
