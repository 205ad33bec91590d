//! Errors in the words of each protocol generation: the one place where they are spelled.

use livestore_sync_protocol::rpc::{Cause, ServerMessage, SyncError};
use livestore_sync_protocol::{RequestId, v03};

use super::{BackendIdMismatch, PullError, PushError};

/// What clients learn of our own failures; the rest is in the server's log.
const INTERNAL: &str = "the server could not reach its event log; the request may be repeated";

impl From<&BackendIdMismatch> for SyncError {
    fn from(mismatch: &BackendIdMismatch) -> Self {
        Self::BackendIdMismatch { expected: mismatch.expected.clone(), received: mismatch.received.clone() }
    }
}

impl From<&PushError> for SyncError {
    fn from(error: &PushError) -> Self {
        match error {
            PushError::ServerAhead { head, provided } => {
                Self::ServerAhead { minimum_expected_num: *head, provided_num: *provided }
            }
            PushError::BackendIdMismatch(mismatch) => mismatch.into(),
            PushError::InvalidBatch(invalid) => Self::unknown("InvalidBatch", &invalid.to_string()),
            PushError::Rejected(hook) => Self::unknown("Error", &hook.to_string()),
            PushError::Log(_) => Self::unknown("EventLogError", INTERNAL),
        }
    }
}

impl From<&PullError> for SyncError {
    fn from(error: &PullError) -> Self {
        match error {
            PullError::BackendIdMismatch(mismatch) => mismatch.into(),
            PullError::Rejected(hook) => Self::unknown("Error", &hook.to_string()),
            PullError::Log(_) => Self::unknown("EventLogError", INTERNAL),
            PullError::Gone => Self::unknown("Error", "the pull has ended"),
        }
    }
}

/// The RPC frame that ends a call with an error.
pub(crate) fn rpc_failure(id: RequestId, error: impl Into<SyncError>) -> String {
    ServerMessage::failure(id, Cause::Fail { error: error.into() }).encode()
}

/// The 0.3 frame that refuses a request. 0.3 has text only; the reference's words for a stale parent.
pub(crate) fn v03_failure(request_id: String, error: &SyncError) -> String {
    let message = match error {
        SyncError::ServerAhead { minimum_expected_num, provided_num } => {
            format!("Invalid parent event number. Received e{provided_num} but expected e{minimum_expected_num}")
        }
        SyncError::BackendIdMismatch { expected, received } => {
            format!("the store's backend id is {expected}, the client has {received}")
        }
        SyncError::Unknown { cause, .. } => {
            cause.get("message").and_then(|message| message.as_str()).unwrap_or_default().to_owned()
        }
    };
    v03::ServerMessage::Error(v03::Refusal { request_id, message }).encode()
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::SeqNum;

    use super::*;
    use crate::error::LogError;

    #[test]
    fn our_own_failures_stay_with_us() {
        let error = LogError::unknown_outcome("disk I/O error in secret.db");
        let push = PushError::from(error.clone());
        let pull = PullError::from(error);
        for frame in [
            rpc_failure(RequestId::Text("1".into()), &push),
            rpc_failure(RequestId::Number(1), &pull),
            v03_failure("1".into(), &SyncError::from(&push)),
        ] {
            assert!(!frame.contains("secret") && frame.contains(INTERNAL), "{frame}");
        }
    }

    #[test]
    fn old_clients_get_the_references_words() {
        let at = |value| SeqNum::new(value).expect("safe");
        let ahead = PushError::ServerAhead { head: at(7), provided: at(3) };
        let frame = v03_failure("r".into(), &SyncError::from(&ahead));
        assert!(frame.contains("Invalid parent event number. Received e3 but expected e7"), "{frame}");
    }
}
