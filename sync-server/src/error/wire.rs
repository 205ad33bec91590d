//! Errors in the words of each protocol generation: the one place where they are spelled.

use livestore_sync_protocol::rpc::{Cause, ServerMessage, SyncError};
use livestore_sync_protocol::{RequestId, v03};

use super::{BackendIdMismatch, HistoryLost, PullError, PushError};

impl From<&BackendIdMismatch> for SyncError {
    fn from(mismatch: &BackendIdMismatch) -> Self {
        Self::BackendIdMismatch { expected: mismatch.expected.clone(), received: mismatch.received.clone() }
    }
}

/// To a client that is beyond the end of the log, the log is another one than it knew, and that is what every client
/// of 0.4 has an answer to.
impl From<&HistoryLost> for SyncError {
    fn from(lost: &HistoryLost) -> Self {
        let HistoryLost { backend_id, head, position } = lost;
        let received = format!("{backend_id} up to event {position}, where the log ends at {head}");
        Self::BackendIdMismatch { expected: backend_id.clone(), received }
    }
}

/// What clients learn of our own failures; the rest is in the server's log.
fn internal() -> SyncError {
    SyncError::unknown("EventLogError", &v03::Reason::Failed.to_string())
}

impl From<&PushError> for SyncError {
    fn from(error: &PushError) -> Self {
        match error {
            PushError::ServerAhead { head, provided } => {
                Self::ServerAhead { minimum_expected_num: *head, provided_num: *provided }
            }
            PushError::BackendIdMismatch(mismatch) => mismatch.into(),
            PushError::HistoryLost(lost) => lost.into(),
            PushError::InvalidBatch(invalid) => Self::unknown("InvalidBatch", &invalid.to_string()),
            PushError::Rejected(hook) => Self::unknown("Error", &hook.to_string()),
            PushError::ReadOnly => Self::unknown("ReadOnlyError", &error.to_string()),
            PushError::AccessExpired => Self::unknown("AccessExpiredError", &error.to_string()),
            PushError::Log(_) => internal(),
            PushError::Failed(failure) => Self::unknown("ServerError", &failure.to_string()),
        }
    }
}

impl From<&PullError> for SyncError {
    fn from(error: &PullError) -> Self {
        match error {
            PullError::BackendIdMismatch(mismatch) => mismatch.into(),
            PullError::HistoryLost(lost) => lost.into(),
            PullError::Rejected(hook) => Self::unknown("Error", &hook.to_string()),
            PullError::Log(_) => internal(),
            PullError::Failed(failure) => Self::unknown("ServerError", &failure.to_string()),
            PullError::Gone => Self::unknown("Error", "the pull has ended"),
        }
    }
}

/// The RPC frame that ends a call with an error.
pub(crate) fn rpc_failure(id: RequestId, error: impl Into<SyncError>) -> String {
    ServerMessage::failure(id, Cause::Fail { error: error.into() }).encode()
}

/// The 0.3 frame that refuses a request. 0.3 has text only.
pub(crate) fn v03_failure(request_id: String, error: &SyncError) -> String {
    let reason = match error.clone() {
        SyncError::ServerAhead { minimum_expected_num, provided_num } => {
            v03::Reason::ServerAhead { minimum_expected_num, provided_num }
        }
        SyncError::BackendIdMismatch { expected, received } => v03::Reason::BackendIdMismatch { expected, received },
        SyncError::Unknown { cause, .. } => {
            v03::Reason::Other(cause.get("message").and_then(|message| message.as_str()).unwrap_or_default().to_owned())
        }
    };
    v03::ServerMessage::Error(v03::Refusal { request_id, message: reason.to_string() }).encode()
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
            assert!(!frame.contains("secret") && frame.contains(&v03::Reason::Failed.to_string()), "{frame}");
        }
    }

    #[test]
    fn who_may_not_push_is_told_why_in_every_generation() {
        for (error, name, text) in [
            (PushError::ReadOnly, "ReadOnlyError", "may read and not write"),
            (PushError::AccessExpired, "AccessExpiredError", "has expired: connect again"),
        ] {
            assert!(!error.is_ours(), "it is not made again here");
            for id in [RequestId::Text("1".into()), RequestId::Number(1)] {
                let frame = rpc_failure(id, &error);
                assert!(frame.contains(name) && frame.contains(text), "{frame}");
            }
            let frame = v03_failure("r".into(), &SyncError::from(&error));
            assert!(frame.contains(text), "{frame}");
        }
    }

    #[test]
    fn old_clients_get_the_references_words() {
        let at = |value| SeqNum::new(value).expect("safe");
        let ahead = PushError::ServerAhead { head: at(7), provided: at(3) };
        let frame = v03_failure("r".into(), &SyncError::from(&ahead));
        assert!(frame.contains("Invalid parent event number. Received e3 but expected e7"), "{frame}");
    }

    #[test]
    fn a_client_beyond_the_end_of_the_log_learns_that_its_log_is_gone() {
        let at = |value| SeqNum::new(value).expect("safe");
        let lost = HistoryLost { backend_id: "b".into(), head: at(5), position: at(10) };
        let (push, pull) = (PushError::from(lost.clone()), PullError::from(lost));
        for error in [SyncError::from(&push), SyncError::from(&pull)] {
            let SyncError::BackendIdMismatch { expected, received } = &error else { panic!("{error:?}") };
            assert_eq!((expected.as_str(), received.as_str()), ("b", "b up to event 10, where the log ends at 5"));
            let frame = v03_failure("r".into(), &error);
            assert!(frame.contains("the store's backend id is b, the client has b up to event 10"), "{frame}");
        }
    }
}
