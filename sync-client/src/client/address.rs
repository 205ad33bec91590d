//! URLs: the one that apps are given, and the ones that connections go to. Called by the builder and, for each
//! connection, by the link.

use hyper::http::Uri;
use livestore_sync_protocol::rpc::Transport;
use livestore_sync_protocol::target::Target;

use super::tls::Tls;
use crate::connection::Protocol;
use crate::error::ConfigError;

/// Where the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    secure: bool,
    authority: String,
    /// Without a slash at the end.
    path: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, ConfigError> {
        let invalid = || ConfigError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let secure = match uri.scheme_str() {
            Some("ws" | "http") => false,
            Some("wss" | "https") => true,
            _ => return Err(invalid()),
        };
        let authority = uri.authority().filter(|authority| !authority.host().is_empty()).ok_or_else(invalid)?;
        // The query is the client's own, and a user would have to become a header.
        if uri.query().is_some() || authority.as_str().contains('@') {
            return Err(invalid());
        }
        if secure && !Tls::AVAILABLE {
            return Err(ConfigError::Tls(url.to_owned()));
        }
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { secure, authority: authority.as_str().to_owned(), path })
    }

    /// The URI of a connection.
    pub(super) fn uri(&self, protocol: Protocol, target: &Target) -> Uri {
        let (transport, path) = match protocol {
            Protocol::V04Ws => (Some(Transport::Ws), "/"),
            Protocol::V04Http => (Some(Transport::Http), "/"),
            Protocol::V03 => (None, "/websocket"),
        };
        let scheme = match (protocol, self.secure) {
            (Protocol::V04Http, false) => "http",
            (Protocol::V04Http, true) => "https",
            (_, false) => "ws",
            (_, true) => "wss",
        };
        // LiveStore's own clients put no slash behind a path: `/sync?storeId=…`.
        let path = if path == "/" && !self.path.is_empty() { "" } else { path };
        let query = target.to_query(transport);
        format!("{scheme}://{}{}{path}?{query}", self.authority, self.path).parse().expect("queries are encoded")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_those_of_livestore_clients() {
        let target = Target { store_id: "a b".into(), payload: None };
        for (url, protocol, expected) in [
            ("ws://h:1", Protocol::V04Ws, "ws://h:1/?storeId=a+b&transport=ws"),
            ("https://h", Protocol::V04Ws, "wss://h/?storeId=a+b&transport=ws"),
            ("https://h/sync", Protocol::V04Ws, "wss://h/sync?storeId=a+b&transport=ws"),
            ("wss://h/sync/", Protocol::V04Http, "https://h/sync?storeId=a+b&transport=http"),
            ("http://h:1/x", Protocol::V03, "ws://h:1/x/websocket?storeId=a+b"),
            ("http://[::1]:1/", Protocol::V03, "ws://[::1]:1/websocket?storeId=a+b"),
        ] {
            let address = Address::parse(url);
            if !Tls::AVAILABLE && (url.starts_with("https") || url.starts_with("wss")) {
                assert_eq!(address, Err(ConfigError::Tls(url.into())));
                continue;
            }
            assert_eq!(address.unwrap().uri(protocol, &target), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["", "h:1", "ftp://h", "ws://", "ws:///x", "ws://h/?a=b", "http://me@h", "ws://a b"] {
            assert_eq!(Address::parse(url), Err(ConfigError::Url(url.into())), "{url}");
        }
    }
}
