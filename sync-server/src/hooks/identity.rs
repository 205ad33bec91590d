//! Who a client is, as the app says when the client connects. It goes with the connection wherever that goes: hooks
//! see it, pushes are held against it, a Worker's object keeps it over hibernation.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{HookError, PushError};

/// Bytes of an identity: of its user id and its data, as JSON. It is kept with each WebSocket, whose room on Workers
/// is small, and travels in a header there.
pub const IDENTITY_BYTES_MAX: usize = 4_096;

/// What a client may do with a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Pull. Pushes are refused.
    Read,
    /// Pull and push.
    #[default]
    Write,
}

/// Who a client is, and what it may do. Made by [`Hooks::authenticate`](super::Hooks::authenticate).
///
/// ```
/// use livestore_sync_server::{Access, Identity};
///
/// let reader = Identity::new("user-7").with_access(Access::Read).with_expires_ms(1_795_220_071_259);
/// assert_eq!(reader.user_id.as_deref(), Some("user-7"));
/// // Who is nobody in particular may push and pull.
/// assert_eq!(Identity::default().access, Access::Write);
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The user, in the app's own terms. It is named in logs.
    #[serde(rename = "user", default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What the client may do.
    pub access: Access,
    /// Until when, in milliseconds since 1970. From then on pushes are refused, and after
    /// [`Limits::expiry_grace`](crate::Limits::expiry_grace) the connection is closed.
    #[serde(rename = "expires", default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Whatever else the app wants to know of the client at its pushes and pulls, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl Identity {
    /// A user who may push and pull, for as long as it likes.
    #[must_use]
    pub fn new(user_id: impl Into<String>) -> Self {
        Self { user_id: Some(user_id.into()), ..Self::default() }
    }

    /// With this access.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// Until this time, in milliseconds since 1970.
    #[must_use]
    pub fn with_expires_ms(self, expires_ms: u64) -> Self {
        Self { expires_ms: Some(expires_ms), ..self }
    }

    /// With data of the app's own.
    ///
    /// # Errors
    ///
    /// When it has no JSON form.
    pub fn with_data(self, data: &impl Serialize) -> Result<Self, HookError> {
        let data = serde_json::value::to_raw_value(data);
        let data = data.map_err(|error| HookError::new(format!("the identity's data: {error}")))?;
        Ok(Self { data: Some(data), ..self })
    }

    /// The data as the app's own type.
    ///
    /// # Errors
    ///
    /// When there is none, or it does not fit.
    pub fn data_as<T: DeserializeOwned>(&self) -> Result<T, HookError> {
        let data = self.data.as_deref().ok_or_else(|| HookError::new("the identity has no data"))?;
        serde_json::from_str(data.get()).map_err(|error| HookError::new(format!("the identity's data: {error}")))
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|expires_ms| now_ms >= expires_ms)
    }

    /// Refuses a push of who may not, or not any more.
    pub(crate) fn check_push(&self, now_ms: u64) -> Result<(), PushError> {
        match self.access {
            Access::Read => Err(PushError::ReadOnly),
            Access::Write if self.is_expired(now_ms) => Err(PushError::AccessExpired),
            Access::Write => Ok(()),
        }
    }

    /// Whether nothing is known of the client that a connection would not have anyway.
    pub(crate) fn is_default(&self) -> bool {
        self.user_id.is_none() && self.access == Access::Write && self.expires_ms.is_none() && self.data.is_none()
    }

    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text and numbers have a JSON form")
    }

    /// Refuses one that there is no room for.
    pub(super) fn check_size(&self) -> Result<(), HookError> {
        let bytes = if self.is_default() { 0 } else { self.to_json().len() };
        if bytes > IDENTITY_BYTES_MAX {
            return Err(HookError::new(format!(
                "the identity takes {bytes} bytes, the limit is {IDENTITY_BYTES_MAX} (IDENTITY_BYTES_MAX)"
            )));
        }
        Ok(())
    }
}

impl From<()> for Identity {
    /// Nobody in particular.
    fn from((): ()) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_json() {
        let identity =
            Identity::new("ü").with_access(Access::Read).with_expires_ms(7).with_data(&[1, 2]).expect("json");
        assert_eq!(identity.to_json(), r#"{"user":"ü","access":"read","expires":7,"data":[1,2]}"#);
        let read: Identity = serde_json::from_str(&identity.to_json()).expect("reads back");
        assert_eq!((read.user_id.as_deref(), read.access, read.expires_ms), (Some("ü"), Access::Read, Some(7)));
        assert_eq!(read.data_as::<Vec<u8>>(), Ok(vec![1, 2]));
        assert!(!read.is_default() && Identity::from(()).is_default());
        let nobody: Identity = serde_json::from_str(r#"{"access":"write"}"#).expect("reads");
        assert!(nobody.is_default() && nobody.data_as::<u8>().is_err());
    }

    #[test]
    fn it_ends_at_its_time() {
        let identity = Identity::new("a").with_expires_ms(10);
        assert!(!identity.is_expired(9) && identity.is_expired(10));
        assert!(!Identity::new("a").is_expired(u64::MAX));
        assert!(identity.check_push(9).is_ok() && Identity::default().check_push(u64::MAX).is_ok());
        assert!(matches!(identity.check_push(10), Err(PushError::AccessExpired)));
        assert!(matches!(identity.with_access(Access::Read).check_push(9), Err(PushError::ReadOnly)));
    }

    #[test]
    fn its_size_is_bounded() {
        let empty = Identity::new("").to_json().len();
        let of = |bytes: usize| Identity::new("x".repeat(bytes - empty)).check_size();
        assert_eq!(of(IDENTITY_BYTES_MAX), Ok(()));
        let error = of(IDENTITY_BYTES_MAX + 1).expect_err("too large").to_string();
        assert_eq!(error, "the identity takes 4097 bytes, the limit is 4096 (IDENTITY_BYTES_MAX)");
    }
}
