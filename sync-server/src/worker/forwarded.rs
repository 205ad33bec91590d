//! What a Worker tells the object beside the request itself. During a deployment the two may be of
//! different releases, in either order: all that the object needs is in the URL, which is LiveStore's
//! own, and this header only adds to it. Members are found by name, unknown ones are passed over, and
//! a newer version of the header is read like this one.

use uuid::Uuid;

/// The header. A Worker replaces what a client sends in it.
pub(super) const HEADER: &str = "x-livestore-sync";

/// The version that this release writes.
const VERSION: u32 = 1;

/// The last time that has a text: the end of the year 9999.
const CONNECTED_MS_MAX: u64 = 253_402_300_799_999;

/// Which connection this is, so that the hooks of the Worker and those of the object see one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) connection: Uuid,
    /// When it was made, in milliseconds since 1970.
    pub(super) connected_ms: u64,
}

impl Forwarded {
    pub(super) fn encode(&self) -> String {
        format!("v={VERSION}; connection={}; at={}", self.connection, self.connected_ms)
    }

    /// `None` when the header says nothing that is understood.
    pub(super) fn decode(header: &str) -> Option<Self> {
        let member = |name: &str| {
            header.split(';').filter_map(|member| member.trim().split_once('=')).find(|(key, _)| *key == name)
        };
        let connection = member("connection")?.1.parse().ok()?;
        let connected_ms = member("at")?.1.parse().ok().filter(|ms| *ms <= CONNECTED_MS_MAX)?;
        Some(Self { connection, connected_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARDED: Forwarded = Forwarded { connection: Uuid::from_u128(7), connected_ms: 1_795_220_071_259 };

    #[test]
    fn round_trips() {
        assert_eq!(Forwarded::decode(&FORWARDED.encode()), Some(FORWARDED));
        assert_eq!(HEADER, HEADER.to_ascii_lowercase(), "as the platform lists it");
    }

    #[test]
    fn releases_understand_each_other() {
        let next = format!("v=2; new=thing; {}", FORWARDED.encode().replace("v=1; ", ""));
        assert_eq!(Forwarded::decode(&next), Some(FORWARDED));
        for header in ["", "v=0", "v=1; connection=nope; at=1", "v=1; connection=00000000-0000-0000-0000-000000000007"]
        {
            assert_eq!(Forwarded::decode(header), None, "{header}");
        }
    }

    #[test]
    fn times_are_those_that_have_a_text() {
        let at = |connected_ms| Forwarded::decode(&Forwarded { connected_ms, ..FORWARDED }.encode());
        assert_eq!(at(CONNECTED_MS_MAX).map(|forwarded| forwarded.connected_ms), Some(CONNECTED_MS_MAX));
        assert_eq!(crate::platform::iso_timestamp(CONNECTED_MS_MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(at(CONNECTED_MS_MAX + 1), None);
    }
}
