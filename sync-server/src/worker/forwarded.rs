//! What a Worker tells the object beside the request itself. During a deployment the two may be of
//! different releases, in either order: all that the object needs is in the URL, which is LiveStore's
//! own, and this header only adds to it. Members are found by name, unknown ones are passed over, and
//! a newer version of the header is read like this one.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use uuid::Uuid;

use crate::hooks::{Access, Identity};
use crate::platform::connection_id;

/// The header. A Worker replaces what a client sends in it.
pub(super) const HEADER: &str = "x-livestore-sync";

/// The version that this release writes.
const VERSION: u32 = 1;

/// The last time that has a text: the end of the year 9999.
const CONNECTED_MS_MAX: u64 = 253_402_300_799_999;

/// What cannot stand in a member of the header.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%').add(b';').add(b' ');

/// Which connection this is, so that the hooks of the Worker and those of the object see one.
#[derive(Clone, Debug)]
pub(super) struct Forwarded {
    pub(super) connection: Uuid,
    /// When it was made, in milliseconds since 1970.
    pub(super) connected_ms: u64,
    /// Who the client is, as the Worker's hooks have said. A Worker that is older than this says nothing.
    pub(super) identity: Identity,
}

impl Forwarded {
    pub(super) fn encode(&self) -> String {
        let identity = match self.identity.is_default() {
            true => String::new(),
            false => format!("; identity={}", utf8_percent_encode(&self.identity.to_json(), ESCAPED)),
        };
        format!("v={VERSION}; connection={}; at={}{identity}", self.connection, self.connected_ms)
    }

    /// What a request's header says; of one without, a new connection.
    pub(super) fn read(header: Option<&str>, now_ms: u64) -> Self {
        header.and_then(Self::decode).unwrap_or_else(|| Self {
            connection: connection_id(now_ms),
            connected_ms: now_ms,
            identity: Identity::default(),
        })
    }

    /// `None` when the header says nothing that is understood.
    fn decode(header: &str) -> Option<Self> {
        let member = |name: &str| {
            header.split(';').filter_map(|member| member.trim().split_once('=')).find(|(key, _)| *key == name)
        };
        let connection = member("connection")?.1.parse().ok()?;
        let connected_ms = member("at")?.1.parse().ok().filter(|ms| *ms <= CONNECTED_MS_MAX)?;
        // One that is not understood must not be given more than it may have.
        let identity = member("identity").map(|(_, text)| {
            let json = percent_decode_str(text).decode_utf8().ok()?;
            serde_json::from_str(&json).ok()
        });
        let identity =
            identity.map(|identity| identity.unwrap_or_else(|| Identity::default().with_access(Access::Read)));
        Some(Self { connection, connected_ms, identity: identity.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(identity: Identity) -> Forwarded {
        Forwarded { connection: Uuid::from_u128(7), connected_ms: 1_795_220_071_259, identity }
    }

    /// What can be compared of one.
    fn parts(forwarded: Option<Forwarded>) -> Option<(Uuid, u64, String)> {
        let Forwarded { connection, connected_ms, identity } = forwarded?;
        Some((connection, connected_ms, identity.to_json()))
    }

    #[test]
    fn round_trips() {
        let everything = Identity::new("a; b=\"ü\" %字\n").with_access(Access::Read).with_expires_ms(9);
        for identity in [Identity::default(), everything.with_data(&["; at=1"]).expect("json")] {
            let text = forwarded(identity.clone()).encode();
            assert!(text.is_ascii() && !text.contains('\n'), "it stands in a header: {text}");
            assert_eq!(parts(Forwarded::decode(&text)), parts(Some(forwarded(identity))));
        }
        assert_eq!(HEADER, HEADER.to_ascii_lowercase(), "as the platform lists it");
    }

    #[test]
    fn releases_understand_each_other() {
        // What a release without identities writes, and reads.
        let old = "v=1; connection=00000000-0000-0000-0000-000000000007; at=1795220071259";
        assert_eq!(forwarded(Identity::default()).encode(), old);
        assert_eq!(parts(Forwarded::decode(old)), parts(Some(forwarded(Identity::default()))));
        assert!(forwarded(Identity::new("a")).encode().starts_with(&format!("{old}; ")));
        let next = format!("v=2; new=thing; {}", old.replace("v=1; ", ""));
        assert_eq!(parts(Forwarded::decode(&next)), parts(Some(forwarded(Identity::default()))));
        for header in ["", "v=0", "v=1; connection=nope; at=1", "v=1; connection=00000000-0000-0000-0000-000000000007"]
        {
            assert!(Forwarded::decode(header).is_none(), "{header}");
            assert_eq!(Forwarded::read(Some(header), 5).connected_ms, 5, "{header}");
        }
    }

    #[test]
    fn an_identity_that_is_not_understood_may_not_write() {
        let old = forwarded(Identity::default()).encode();
        for identity in ["", "%", "{", "[]", r#"{"access":"admin"}"#, "%FF"] {
            let read = Forwarded::decode(&format!("{old}; identity={identity}")).expect("the rest is understood");
            assert_eq!(read.identity.access, Access::Read, "{identity}");
        }
        let newer = Forwarded::decode(&format!(r#"{old}; identity={{"user":"a","access":"write","role":"x"}}"#))
            .expect("understood");
        assert_eq!((newer.identity.user_id.as_deref(), newer.identity.access), (Some("a"), Access::Write));
    }

    #[test]
    fn times_are_those_that_have_a_text() {
        let at =
            |connected_ms| Forwarded::decode(&Forwarded { connected_ms, ..forwarded(Identity::default()) }.encode());
        assert_eq!(at(CONNECTED_MS_MAX).map(|forwarded| forwarded.connected_ms), Some(CONNECTED_MS_MAX));
        assert_eq!(crate::platform::iso_timestamp(CONNECTED_MS_MAX), "9999-12-31T23:59:59.999Z");
        assert!(at(CONNECTED_MS_MAX + 1).is_none());
    }
}
