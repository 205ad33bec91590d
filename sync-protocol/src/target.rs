//! The connection URL: which store, over which transport, with which payload.
//!
//! Source: `SearchParamsSchema` in `src/common/mod.ts` of the npm packages 0.3.1 and 0.4.0, and
//! recorded traffic. The payload is JSON, percent-encoded by the schema and again by the query
//! string; a payload that is encoded only once is understood too.
//!
//! ```
//! use livestore_sync_protocol::target::{self, Target};
//!
//! let query = "storeId=notes&payload=%257B%2522token%2522%253A1%257D&transport=ws";
//! let target = Target::from_query(query)?;
//! assert_eq!(target.store_id, "notes");
//! assert_eq!(target.payload.as_deref().map(|json| json.get()), Some(r#"{"token":1}"#));
//! assert_eq!(target.to_query(target::transport(query)?), query);
//! # Ok::<(), target::TargetError>(())
//! ```

use std::borrow::Cow;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::value::RawValue;

use crate::limits::{PAYLOAD_BYTES_MAX, STORE_ID_BYTES_MAX};
use crate::rpc::Transport;

/// Which store, and with which payload.
#[derive(Clone, Debug)]
pub struct Target {
    /// Any text, also the empty one.
    pub store_id: String,
    /// JSON text.
    pub payload: Option<Box<RawValue>>,
}

/// Why a query names no [`Target`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No `storeId`.
    #[error("the query parameter storeId is missing")]
    MissingStoreId,
    /// More than one of a parameter that may occur once.
    #[error("the query parameter {0} occurs more than once")]
    Repeated(&'static str),
    /// A parameter whose bytes are no text.
    #[error("the query parameter {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// See [`STORE_ID_BYTES_MAX`].
    #[error("the query parameter storeId is longer than {STORE_ID_BYTES_MAX} bytes")]
    StoreIdTooLong,
    /// The payload is not percent-encoded JSON.
    #[error("the query parameter payload is not percent-encoded JSON")]
    InvalidPayload,
    /// See [`PAYLOAD_BYTES_MAX`].
    #[error("the query parameter payload is longer than {PAYLOAD_BYTES_MAX} bytes")]
    PayloadTooLong,
    /// `transport` is neither `ws` nor `http`.
    #[error("the query parameter transport must be ws or http")]
    InvalidTransport,
}

/// The value of a query parameter that may occur once.
fn single<'a>(query: &'a str, name: &'static str) -> Result<Option<Cow<'a, str>>, TargetError> {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = form_urlencoded::parse(pair.as_bytes()).next()?;
        // What is not UTF-8 was replaced, so that many values would become one.
        let is_utf8 = percent_decode_str(pair).decode_utf8().is_ok();
        (key == name).then_some(if is_utf8 { Ok(value) } else { Err(TargetError::NotUtf8(name)) })
    });
    let value = values.next().transpose();
    if values.next().is_some() { Err(TargetError::Repeated(name)) } else { value }
}

/// The `transport` parameter. 0.3 clients send none.
///
/// # Errors
///
/// [`TargetError`] when it occurs twice or is not known.
pub fn transport(query: &str) -> Result<Option<Transport>, TargetError> {
    // Effect 4.1 appends a slash to the URL of its HTTP client, behind the query.
    match single(query, "transport")?.as_deref() {
        None => Ok(None),
        Some("ws") => Ok(Some(Transport::Ws)),
        Some("http" | "http/") => Ok(Some(Transport::Http)),
        Some(_) => Err(TargetError::InvalidTransport),
    }
}

impl Target {
    /// Reads a URL's query (without the `?`).
    ///
    /// # Errors
    ///
    /// [`TargetError`] names the parameter.
    pub fn from_query(query: &str) -> Result<Self, TargetError> {
        let store_id = single(query, "storeId")?.ok_or(TargetError::MissingStoreId)?;
        if store_id.len() > STORE_ID_BYTES_MAX {
            return Err(TargetError::StoreIdTooLong);
        }
        let payload = single(query, "payload")?.map(|payload| parse_payload(&payload)).transpose()?;
        Ok(Self { store_id: store_id.into_owned(), payload })
    }

    /// Writes the query as clients do. `transport` is `None` for 0.3.
    #[must_use]
    pub fn to_query(&self, transport: Option<Transport>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("storeId", &self.store_id);
        if let Some(payload) = &self.payload {
            let encoded: Cow<'_, str> = utf8_percent_encode(payload.get(), NON_ALPHANUMERIC).into();
            query.append_pair("payload", &encoded);
        }
        match transport {
            Some(Transport::Ws) => query.append_pair("transport", "ws"),
            Some(Transport::Http) => query.append_pair("transport", "http"),
            // Calls between objects have no URL.
            Some(Transport::DurableObject) | None => &mut query,
        };
        query.finish()
    }
}

fn parse_payload(value: &str) -> Result<Box<RawValue>, TargetError> {
    // Decoding only shrinks, so what is too long here may still fit: twelve bytes stand for one
    // character at most.
    if value.len() > PAYLOAD_BYTES_MAX * 3 {
        return Err(TargetError::PayloadTooLong);
    }
    let twice = percent_decode_str(value).decode_utf8().ok();
    let payload = twice
        .and_then(|text| serde_json::from_str::<Box<RawValue>>(&text).ok())
        .or_else(|| serde_json::from_str(value).ok())
        .ok_or(TargetError::InvalidPayload)?;
    if payload.get().len() > PAYLOAD_BYTES_MAX { Err(TargetError::PayloadTooLong) } else { Ok(payload) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(query: &str) -> Result<Option<String>, TargetError> {
        Target::from_query(query).map(|target| target.payload.map(|payload| payload.get().to_owned()))
    }

    #[test]
    fn reads_what_clients_send() {
        let target = Target::from_query(
            "storeId=a%20b&payload=%257B%2522authToken%2522%253A%2522x%252By%2522%257D&transport=ws",
        )
        .expect("a target");
        assert_eq!(target.store_id, "a b");
        assert_eq!(target.payload.as_deref().map(RawValue::get), Some(r#"{"authToken":"x+y"}"#));
        assert_eq!(transport("storeId=a&transport=ws"), Ok(Some(Transport::Ws)));
        assert_eq!(transport("storeId=a"), Ok(None));
    }

    #[test]
    fn a_payload_may_be_encoded_once() {
        assert_eq!(payload("storeId=a&payload=%7B%22a%22%3A1%7D"), Ok(Some(r#"{"a":1}"#.into())));
        assert_eq!(payload("storeId=a&payload=%22100%25%22"), Ok(Some(r#""100%""#.into())));
        assert_eq!(payload("storeId=a&payload=null"), Ok(Some("null".into())));
    }

    #[test]
    fn names_what_is_wrong() {
        for (query, error) in [
            ("", TargetError::MissingStoreId),
            ("storeid=a", TargetError::MissingStoreId),
            ("storeId=a&storeId=b", TargetError::Repeated("storeId")),
            ("storeId=a&payload=1&payload=2", TargetError::Repeated("payload")),
            ("storeId=%ff", TargetError::NotUtf8("storeId")),
            ("storeId=a&payload=%22%fe%22", TargetError::NotUtf8("payload")),
            ("storeId=%ff&storeId=%fe", TargetError::Repeated("storeId")),
            ("storeId=a&payload=nope", TargetError::InvalidPayload),
            ("storeId=a&payload=", TargetError::InvalidPayload),
            ("storeId=a&payload=%25ZZ%7B", TargetError::InvalidPayload),
        ] {
            assert_eq!(Target::from_query(query).err(), Some(error), "{query}");
        }
        assert_eq!(transport("transport=carrier-pigeon"), Err(TargetError::InvalidTransport));
        assert_eq!(transport("transport=ws&transport=ws"), Err(TargetError::Repeated("transport")));
    }

    #[test]
    fn limits_hold_on_both_sides() {
        let id = |bytes: usize| format!("storeId={}", "x".repeat(bytes));
        assert!(Target::from_query(&id(STORE_ID_BYTES_MAX)).is_ok());
        assert_eq!(Target::from_query(&id(STORE_ID_BYTES_MAX + 1)).err(), Some(TargetError::StoreIdTooLong));
        let text = |bytes: usize| format!("storeId=a&payload=\"{}\"", "x".repeat(bytes - 2));
        assert!(payload(&text(PAYLOAD_BYTES_MAX)).is_ok());
        assert_eq!(payload(&text(PAYLOAD_BYTES_MAX + 1)), Err(TargetError::PayloadTooLong));
    }

    #[test]
    fn round_trips() {
        for (store_id, json) in [("", r#""""#), ("a/b?c=d&e ü🚀", r#"{"t":"a+b%20&=ü🚀\u0000"}"#)] {
            let target =
                Target { store_id: store_id.into(), payload: Some(RawValue::from_string(json.into()).expect("JSON")) };
            let read = Target::from_query(&target.to_query(Some(Transport::Ws))).expect("reads back");
            assert_eq!(read.store_id, store_id);
            assert_eq!(read.payload.as_deref().map(RawValue::get), Some(json));
        }
    }
}
