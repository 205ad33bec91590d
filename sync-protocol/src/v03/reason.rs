//! Why a 0.3 server refuses. The wire has a text where 0.4 has types, and a client that must tell "try again" from
//! "never" has nothing else to go by: so the words stand here, for the server that writes them and the client that
//! reads them.

use std::fmt;

use crate::SeqNum;

/// The reference's words for a stale parent.
const AHEAD: [&str; 2] = ["Invalid parent event number. Received e", " but expected e"];
/// This project's for a log that is not the client's.
const MISMATCH: [&str; 2] = ["the store's backend id is ", ", the client has "];
/// This project's for a failure of the server's own.
const FAILED: &str = "the server could not reach its event log; the request may be repeated";

/// What the `message` of a [`Refusal`](super::Refusal) means.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The log has events that the push does not build on.
    ServerAhead {
        /// The head of the log.
        minimum_expected_num: SeqNum,
        /// The parent of the batch's first event.
        provided_num: SeqNum,
    },
    /// The log is not the one that the client knows. Servers of the reference never say so.
    BackendIdMismatch {
        /// The log's id.
        expected: String,
        /// What the client has.
        received: String,
    },
    /// The server failed; the request may be repeated. Servers of the reference do not tell.
    Failed,
    /// Anything else.
    Other(String),
}

impl Reason {
    /// Reads a refusal's text. What has no meaning known here is [`Reason::Other`].
    #[must_use]
    pub fn from_message(message: &str) -> Self {
        // The reference puts an error's name before its words, and a trace behind them.
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number = |text: &str| SeqNum::new(text[..digits(text)].parse().ok()?).ok();
        if let Some((provided, expected)) = between(message, AHEAD)
            && let (Some(provided_num), Some(minimum_expected_num)) = (number(provided), number(expected))
        {
            return Self::ServerAhead { minimum_expected_num, provided_num };
        }
        match between(message, MISMATCH) {
            Some((expected, received)) if message.starts_with(MISMATCH[0]) => {
                Self::BackendIdMismatch { expected: expected.to_owned(), received: received.to_owned() }
            }
            _ if message == FAILED => Self::Failed,
            _ => Self::Other(message.to_owned()),
        }
    }
}

/// What stands behind each of two texts.
fn between<'a>(message: &'a str, [first, second]: [&str; 2]) -> Option<(&'a str, &'a str)> {
    message.split_once(first)?.1.split_once(second)
}

/// The words.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerAhead { minimum_expected_num, provided_num } => {
                write!(f, "{}{provided_num}{}{minimum_expected_num}", AHEAD[0], AHEAD[1])
            }
            Self::BackendIdMismatch { expected, received } => {
                write!(f, "{}{expected}{}{received}", MISMATCH[0], MISMATCH[1])
            }
            Self::Failed => f.write_str(FAILED),
            Self::Other(message) => f.write_str(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead(provided: i64, expected: i64) -> Reason {
        let at = |value| SeqNum::new(value).expect("safe");
        Reason::ServerAhead { minimum_expected_num: at(expected), provided_num: at(provided) }
    }

    #[test]
    fn a_reason_is_told_by_its_words() {
        let other = |text: &str| Reason::Other(text.into());
        for (text, expected) in [
            ("Invalid parent event number. Received e3 but expected e7", ahead(3, 7)),
            ("Error: Invalid parent event number. Received e0 but expected e12 (store)", ahead(0, 12)),
            (
                "Invalid parent event number. Received e but expected e7",
                other("Invalid parent event number. Received e but expected e7"),
            ),
            ("you may not", other("you may not")),
            ("", other("")),
        ] {
            assert_eq!(Reason::from_message(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for reason in [
            ahead(3, 7),
            Reason::BackendIdMismatch { expected: "a".into(), received: "b".into() },
            Reason::BackendIdMismatch { expected: String::new(), received: "a up to event 10".into() },
            Reason::Failed,
            Reason::Other("no".into()),
        ] {
            assert_eq!(Reason::from_message(&reason.to_string()), reason);
        }
    }
}
