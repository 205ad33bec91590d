//! What a WebSocket carries with it while its object is out of memory (hibernation).

use std::sync::Arc;

use livestore_sync_protocol::Generation;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::hooks::{Connection, Identity, Transport};
use crate::session::Snapshot;

/// What the platform takes (workerd's `MAX_ATTACHMENT_SIZE` of 16,384 bytes), less its own framing.
pub(super) const ATTACHMENT_BYTES_MAX: usize = 16_384 - 64;

/// Of that, what is kept free for the state of the session: its live pulls.
pub(super) const SESSION_BYTES_RESERVED: usize = 2_048;

/// The version that this release writes. Sockets do not outlive a deployment, so that no other is met.
const VERSION: u32 = 1;

/// The part that stays the same for as long as the connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Fixed {
    pub(super) v: u32,
    pub(super) connection: Uuid,
    pub(super) connected_ms: u64,
    pub(super) store_id: String,
    pub(super) payload: Option<Box<RawValue>>,
    pub(super) headers: Vec<(String, String)>,
    /// Whether it speaks 0.3.
    pub(super) v03: bool,
    /// See [`crate::host::fingerprint`].
    pub(super) fingerprint: String,
    #[serde(default, skip_serializing_if = "Identity::is_default")]
    pub(super) identity: Identity,
}

impl Fixed {
    pub(super) fn new(connection: &Connection, fingerprint: String) -> Self {
        Self {
            v: VERSION,
            connection: connection.id,
            connected_ms: connection.connected_ms,
            store_id: connection.store_id.to_string(),
            payload: connection.payload.clone(),
            headers: connection.headers.clone(),
            v03: connection.generation == Generation::V03,
            fingerprint,
            identity: connection.identity.clone(),
        }
    }

    pub(super) fn into_connection(self) -> Connection {
        let generation = if self.v03 { Generation::V03 } else { Generation::V04 };
        let store_id = Arc::from(self.store_id);
        Connection::new(self.connection, store_id, Transport::Ws, generation, self.connected_ms)
            .with_payload(self.payload)
            .with_headers(self.headers)
            .with_identity(self.identity)
    }

    /// The text before the session's state; `None` when it leaves too little room for that. With it,
    /// the number of bytes that it takes.
    pub(super) fn prefix(&self) -> Result<String, usize> {
        let json = serde_json::to_string(self).expect("text and numbers have a JSON form");
        let prefix = format!(r#"{{"fixed":{json},"session":"#);
        let bytes = stored_bytes(&prefix);
        if bytes > ATTACHMENT_BYTES_MAX - SESSION_BYTES_RESERVED { Err(bytes) } else { Ok(prefix) }
    }
}

/// What to say to a client whose connection would take `bytes` bytes.
pub(super) fn too_large(bytes: usize) -> String {
    format!(
        "The store id, the payload, the identity and the forwarded headers take {bytes} bytes; a WebSocket has room for {}.",
        ATTACHMENT_BYTES_MAX - SESSION_BYTES_RESERVED
    )
}

/// A whole attachment.
#[derive(Debug, Deserialize)]
pub(super) struct Attachment {
    pub(super) fixed: Fixed,
    pub(super) session: Snapshot,
}

impl Attachment {
    pub(super) fn decode(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// `None` when it is larger than the platform takes.
    pub(super) fn encode(prefix: &str, session: &Snapshot) -> Option<String> {
        let session = serde_json::to_string(session).expect("text and numbers have a JSON form");
        let text = format!("{prefix}{session}}}");
        (stored_bytes(&text) <= ATTACHMENT_BYTES_MAX).then_some(text)
    }
}

/// What V8 makes of a string: a byte a character, or two if any is beyond Latin-1.
fn stored_bytes(text: &str) -> usize {
    let units = text.encode_utf16().count();
    if text.chars().all(|c| u32::from(c) < 0x100) { units } else { 2 * units }
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::SeqNum;

    use super::*;
    use crate::session::{Action, Proof, Session};

    fn fixed(payload_bytes: usize, filler: &str) -> Fixed {
        let payload = format!("{:?}", filler.repeat(payload_bytes));
        let connection = Connection::new(Uuid::from_u128(1), "store".into(), Transport::Ws, Generation::V04, 5)
            .with_payload(RawValue::from_string(payload).ok())
            .with_headers(vec![("cookie".into(), "a=b".into())])
            .with_identity(Identity::new("me").with_expires_ms(9));
        Fixed::new(&connection, "0123456789abcdef".into())
    }

    #[test]
    fn a_connection_comes_back() {
        let fixed = fixed(10, "x");
        let session = Session::rpc(fixed.connection, 5).snapshot();
        let text = Attachment::encode(&fixed.prefix().expect("fits"), &session).expect("fits");
        let read = Attachment::decode(&text).expect("reads back");
        let connection = read.fixed.into_connection();
        assert_eq!((connection.id, &*connection.store_id), (Uuid::from_u128(1), "store"));
        assert_eq!(connection.payload.as_ref().map(|payload| payload.get().len()), Some(12));
        assert_eq!(connection.header("cookie"), Some("a=b"));
        assert_eq!((connection.user_id(), connection.identity.expires_ms), (Some("me"), Some(9)));
        assert_eq!(connection.connected_at(), "1970-01-01T00:00:00.005Z");
        assert!(Session::restore(connection.id, read.session, SeqNum::ROOT).is_some());
    }

    #[test]
    fn what_leaves_no_room_for_the_session_is_refused() {
        let empty = fixed(0, "x").prefix().expect("fits").len();
        let room = ATTACHMENT_BYTES_MAX - SESSION_BYTES_RESERVED - empty;
        assert!(fixed(room, "x").prefix().is_ok());
        let bytes = fixed(room + 1, "x").prefix().expect_err("it is too much");
        assert_eq!(bytes, ATTACHMENT_BYTES_MAX - SESSION_BYTES_RESERVED + 1);
        assert!(too_large(bytes).contains(&bytes.to_string()));
        // Beyond Latin-1, every character takes two bytes.
        let room = (ATTACHMENT_BYTES_MAX - SESSION_BYTES_RESERVED) / 2 - empty;
        assert!(fixed(room, "字").prefix().is_ok());
        assert!(fixed(room + 1, "字").prefix().is_err());
    }

    #[test]
    fn a_session_that_has_grown_too_large_does_not_fit() {
        let prefix = fixed(0, "x").prefix().expect("fits");
        let mut session = Session::v03(Uuid::from_u128(1), Proof::Frames, 0);
        assert!(Attachment::encode(&prefix, &session.snapshot()).is_some());
        for n in 0..16 {
            let id = format!("{n:0>128}");
            session.handle_frame(&format!(r#"{{"_tag":"WSMessage.PullReq","requestId":"{id}"}}"#), 0);
        }
        assert!(Attachment::encode(&prefix, &session.snapshot()).is_some(), "as many as a 0.3 session keeps");
        assert!(Attachment::encode(&"x".repeat(ATTACHMENT_BYTES_MAX), &session.snapshot()).is_none());
    }

    #[test]
    fn a_pull_that_had_room_has_it_when_it_is_live() {
        let rpc = r#"{"_tag":"Request","id":"7","tag":"SyncWsRpc.Pull","payload":{"storeId":"s","live":true,"cursor":{"_tag":"None"}},"headers":[]}"#;
        let v03 = r#"{"_tag":"WSMessage.PullReq","requestId":"p"}"#;
        let id = Uuid::from_u128(1);
        for (mut session, frame) in [(Session::rpc(id, 0), rpc), (Session::v03(id, Proof::Frames, 0), v03)] {
            let bytes = |session: &Session| Attachment::encode("", &session.snapshot()).map(|text| text.len());
            let inputs = session.handle_frame(frame, 0);
            let is_pull = |input: &Action| matches!(input, Action::Pull { .. });
            let Some(Action::Pull { delivery, .. }) = inputs.into_iter().find(is_pull) else { panic!("{frame}") };
            let asked = bytes(&session);
            session.handle_chunk(&delivery, None, 0, "backend", 0);
            session.handle_caught_up(&delivery, true);
            assert!(bytes(&session) <= asked, "{frame}");
            assert!(Session::restore(id, session.snapshot(), SeqNum::ROOT).is_some());
        }
    }
}
