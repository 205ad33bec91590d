//! Request ids, which go back with the JSON type that they came with: text in 0.4, numbers in next.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::limits::REQUEST_ID_BYTES_MAX;
use crate::{Generation, SeqNum};

/// What ties an answer to its request. Clients look answers up by value, so an id goes back with
/// the JSON type it came with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum RequestId {
    /// Effect 4's RPC client counts with numbers.
    Number(i64),
    /// Effect 3's RPC client sends decimal strings, 0.3 clients random ones.
    Text(String),
}

impl RequestId {
    /// The RPC generation whose clients write ids of this type.
    #[must_use]
    pub fn generation(&self) -> Generation {
        match self {
            Self::Number(_) => Generation::Next,
            Self::Text(_) => Generation::V04,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Id;
        impl Visitor<'_> for Id {
            type Value = RequestId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a request id: a safe integer or a string of at most {REQUEST_ID_BYTES_MAX} bytes")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<RequestId, E> {
                i64::try_from(v).map_err(E::custom).and_then(|v| self.visit_i64(v))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<RequestId, E> {
                SeqNum::new(v).map(|v| RequestId::Number(v.get())).map_err(E::custom)
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<RequestId, E> {
                if v.len() > REQUEST_ID_BYTES_MAX {
                    return Err(E::invalid_length(v.len(), &self));
                }
                Ok(RequestId::Text(v.to_owned()))
            }
        }
        deserializer.deserialize_any(Id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_back_as_it_came() {
        for text in ["0", "17", "9007199254740991", r#""0""#, r#""abc""#, r#""""#] {
            let id: RequestId = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&id).expect("encodes"), text);
        }
    }

    #[test]
    fn refuses_what_is_no_id() {
        let longest = format!("\"{}\"", "x".repeat(REQUEST_ID_BYTES_MAX));
        assert!(serde_json::from_str::<RequestId>(&longest).is_ok());
        let longer = format!("\"{}\"", "x".repeat(REQUEST_ID_BYTES_MAX + 1));
        for text in ["null", "1.5", "true", "[]", "9007199254740992", "-9223372036854775808", longer.as_str()] {
            assert!(serde_json::from_str::<RequestId>(text).is_err(), "{text}");
        }
    }
}
