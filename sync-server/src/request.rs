//! What an HTTP request asks for. Pure, so that every home answers alike.

use livestore_sync_protocol::rpc::Transport;
use livestore_sync_protocol::target::{self, Target, TargetError};

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Route {
    /// What this server is.
    Info,
    /// A browser's question whether it may ask.
    Preflight,
    /// A 0.3 connection. Refused with [`UPGRADE_REQUIRED`] after validation if it is no upgrade.
    V03 {
        /// The store and the payload.
        target: Target,
        /// Whether the request is a WebSocket upgrade.
        upgrade: bool,
    },
    /// A 0.4 or next connection, likewise.
    Ws {
        /// The store and the payload.
        target: Target,
        /// Whether the request is a WebSocket upgrade.
        upgrade: bool,
    },
    /// A 0.4 or next HTTP request.
    Http {
        /// The store and the payload.
        target: Target,
    },
    /// Nothing that is served here.
    Refused(Refused),
}

/// A status and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// For people.
    pub text: String,
}

/// The parts of a request that decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// `GET`, `POST`, ...
    pub method: &'a str,
    /// The path of the URL.
    pub path: &'a str,
    /// The query of the URL without the `?`.
    pub query: &'a str,
    /// The `Upgrade` header.
    pub upgrade: Option<&'a str>,
    /// Whether preflights are answered.
    pub cors: bool,
}

/// Path and query of an absolute URL as a runtime has normalised it. A parser of URLs that knows all that people
/// write brings Unicode tables, a fifth of what a Worker deploys.
#[cfg(any(test, all(feature = "worker", target_family = "wasm")))]
pub(crate) fn path_and_query(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let target = rest.find(['/', '?', '#']).map_or("", |start| &rest[start..]);
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

/// The answer to a connection request that is no upgrade.
pub(crate) const UPGRADE_REQUIRED: &str =
    "Expected Upgrade: websocket. This address takes WebSocket connections of LiveStore clients.";

/// What [`Route::Info`] says.
pub(crate) const INFO: &str = "LiveStore sync server. Point a LiveStore app's sync backend at this address.";

/// Decides what a request asks for.
#[must_use]
pub(crate) fn route(parts: &Parts<'_>) -> Route {
    let upgrade = parts.upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if parts.method == "OPTIONS" && parts.cors {
        return Route::Preflight;
    }
    let sync = match target::transport(parts.query) {
        Ok(Some(Transport::Ws)) => Target::from_query(parts.query).map(|target| Route::Ws { target, upgrade }),
        Ok(Some(Transport::Http)) => Target::from_query(parts.query).map(|target| Route::Http { target }),
        Ok(None) if parts.path.ends_with("/websocket") => {
            Target::from_query(parts.query).map(|target| Route::V03 { target, upgrade })
        }
        // Calls between objects have no URL.
        Ok(Some(Transport::DurableObject)) => Err(TargetError::InvalidTransport),
        _ if matches!(parts.method, "GET" | "HEAD") && parts.path == "/" && !upgrade => return Route::Info,
        Ok(None) if upgrade || !parts.query.is_empty() => {
            return refused(
                400,
                "Invalid path. Connect to <url>/websocket?storeId=… (LiveStore 0.3) or to \
                 <url>?storeId=…&transport=ws|http (LiveStore 0.4)."
                    .to_owned(),
            );
        }
        Ok(None) => return refused(400, "Invalid path".to_owned()),
        Err(error) => Err(error),
    };
    sync.unwrap_or_else(|error| refused(400, format!("Invalid search params: {error}.")))
}

fn refused(status: u16, text: String) -> Route {
    Route::Refused(Refused { status, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (url, path, query) in [
            ("https://sync.example/a/b?x=1&y=%3F", "/a/b", "x=1&y=%3F"),
            ("http://127.0.0.1:8787/", "/", ""),
            ("http://127.0.0.1:8787", "/", ""),
            ("https://sync.example?storeId=a", "/", "storeId=a"),
            ("https://sync.example#top", "/", ""),
            ("https://sync.example/a?x=1?2#y?z", "/a", "x=1?2"),
            ("https://sync.example/a#b?c", "/a", ""),
            ("https://[::1]:80//a://b?c://d", "//a://b", "c://d"),
            ("/a?b", "/a", "b"),
            ("", "/", ""),
        ] {
            assert_eq!(path_and_query(url), (path, query), "{url}");
        }
    }

    fn ask(method: &str, url: &str, upgrade: Option<&str>) -> String {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        match route(&Parts { method, path, query, upgrade, cors: true }) {
            Route::Info => "info".to_owned(),
            Route::Preflight => "preflight".to_owned(),
            Route::V03 { target, upgrade } => format!("v03 {} {upgrade}", target.store_id),
            Route::Ws { target, upgrade } => format!("ws {} {upgrade}", target.store_id),
            Route::Http { target } => format!("http {}", target.store_id),
            Route::Refused(refused) => refused.status.to_string(),
        }
    }

    #[test]
    fn tells_the_generations_apart() {
        for (method, url, upgrade, expected) in [
            ("GET", "/websocket?storeId=a", Some("websocket"), "v03 a true"),
            ("GET", "/any/prefix/websocket?storeId=a", Some("WebSocket"), "v03 a true"),
            ("GET", "/websocket?storeId=a", None, "v03 a false"),
            ("GET", "/?storeId=a&transport=ws", Some("websocket"), "ws a true"),
            ("GET", "/sync?storeId=a&transport=ws", Some("websocket"), "ws a true"),
            ("GET", "/websocket?storeId=a&transport=ws", Some("websocket"), "ws a true"),
            ("GET", "/?storeId=a&transport=ws", Some("h2c"), "ws a false"),
            ("POST", "/?storeId=a&transport=http", None, "http a"),
            // Any method, as in the reference; what counts is the body.
            ("PUT", "/?storeId=a&transport=http", None, "http a"),
            ("OPTIONS", "/anything", None, "preflight"),
            ("GET", "/", None, "info"),
            ("GET", "/?storeId=a", None, "info"),
        ] {
            assert_eq!(ask(method, url, upgrade), expected, "{method} {url}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for (method, url, upgrade, expected) in [
            ("GET", "/websocket", Some("websocket"), "400"),
            ("GET", "/websocket?storeId=a&storeId=b", Some("websocket"), "400"),
            ("GET", "/websocket?storeId=a&payload=nope", Some("websocket"), "400"),
            ("GET", "/?transport=ws", Some("websocket"), "400"),
            ("GET", "/?storeId=a", Some("websocket"), "400"),
            ("GET", "/?storeId=a&transport=pigeon", Some("websocket"), "400"),
            ("POST", "/", None, "400"),
            ("GET", "/nowhere", None, "400"),
            ("GET", "/websocket/", None, "400"),
        ] {
            assert_eq!(ask(method, url, upgrade), expected, "{method} {url}");
        }
    }
}
