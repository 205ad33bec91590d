//! Positions of events: integers that JavaScript holds exactly.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// The position of an event in a store's log. Events start at 1; [`SeqNum::ROOT`] is the head of an
/// empty log. On the wire it is a JavaScript safe integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SeqNum(i64);

/// The number is not an integer that JavaScript can hold exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an integer between -(2^53 - 1) and 2^53 - 1")]
pub struct InvalidSeqNum;

impl SeqNum {
    /// The parent of a store's first event, and the head of an empty log.
    pub const ROOT: Self = Self(0);
    /// The largest safe integer of JavaScript, 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// # Errors
    ///
    /// [`InvalidSeqNum`] when the number is outside JavaScript's safe integers.
    pub fn new(value: i64) -> Result<Self, InvalidSeqNum> {
        // `abs` has no answer for the lowest `i64`.
        if value.unsigned_abs() <= Self::MAX.0.unsigned_abs() { Ok(Self(value)) } else { Err(InvalidSeqNum) }
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    fn from_f64(value: f64) -> Result<Self, InvalidSeqNum> {
        // Written so that NaN fails too.
        if value.fract() == 0.0 && value.abs() <= Self::MAX.0 as f64 {
            Ok(Self(value as i64))
        } else {
            Err(InvalidSeqNum)
        }
    }

    /// A reader's position need not be an event's: the reference serves any number as a cursor, and
    /// "greater than 1.5" means "greater than 1".
    pub(crate) fn deserialize_cursor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        if !value.is_finite() {
            return Err(de::Error::custom("a cursor must be a finite number"));
        }
        Ok(Self((value.floor() as i64).clamp(-Self::MAX.0, Self::MAX.0)))
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for SeqNum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SafeInteger;
        impl Visitor<'_> for SafeInteger {
            type Value = SeqNum;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a safe integer")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<SeqNum, E> {
                i64::try_from(v).ok().and_then(|v| SeqNum::new(v).ok()).ok_or_else(|| E::custom(InvalidSeqNum))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<SeqNum, E> {
                SeqNum::new(v).map_err(E::custom)
            }
            // JSON has one number type: `1.0` and `1e2` are integers to a JavaScript client.
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<SeqNum, E> {
                SeqNum::from_f64(v).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(SafeInteger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_exactly_the_safe_integers() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("1.0", Some(1)),
            ("1e2", Some(100)),
            ("9007199254740991", Some(9_007_199_254_740_991)),
            ("-9007199254740991", Some(-9_007_199_254_740_991)),
            ("9007199254740992", None),
            ("-9007199254740992", None),
            ("-9223372036854775808", None),
            ("9223372036854775807", None),
            ("-9223372036854775809", None),
            ("18446744073709551615", None),
            ("1.5", None),
            ("1e400", None),
            ("\"1\"", None),
            ("null", None),
        ] {
            assert_eq!(serde_json::from_str::<SeqNum>(text).ok().map(SeqNum::get), expected, "{text}");
        }
    }

    #[test]
    fn a_cursor_may_be_any_finite_number() {
        #[derive(Deserialize)]
        struct C(#[serde(deserialize_with = "SeqNum::deserialize_cursor")] SeqNum);
        for (text, expected) in
            [("1.5", Some(1)), ("-2.5", Some(-3)), ("1e300", Some(SeqNum::MAX.get())), ("1e400", None), ("null", None)]
                .into_iter()
                .chain([("-9223372036854775808", Some(-SeqNum::MAX.get()))])
        {
            assert_eq!(serde_json::from_str::<C>(text).ok().map(|c| c.0.get()), expected, "{text}");
        }
    }
}
