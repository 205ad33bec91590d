//! In place of `tls` where the crate is built without that feature. URLs that need TLS are refused before a client
//! starts.

use std::io;

use super::net::Io;

/// Nothing can be chosen.
#[derive(Clone, Default)]
pub(super) struct Tls {}

impl Tls {
    /// Whether URLs that ask for TLS can be served.
    pub(super) const AVAILABLE: bool = false;

    pub(super) async fn connect(&self, _: &str, _: impl Io) -> io::Result<Box<dyn Io>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this program was built without TLS"))
    }
}
