//! What the codecs of all generations share.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

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
    serde_json::from_str::<Tag<'_>>(text).map(|tag| tag.tag.into_owned()).map_err(|error| error.to_string())
}

pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
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
