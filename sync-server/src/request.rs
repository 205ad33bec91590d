//! From an HTTP request to what it asks for, and whether it may. The one place that reads URLs: the native server,
//! the Worker and the object ask it and answer alike. Pure; it knows nothing of sockets or of the database.

use livestore_sync_protocol::Generation;
use livestore_sync_protocol::rpc::Transport as Parameter;
use livestore_sync_protocol::target::{self, Target, TargetError};
use uuid::Uuid;

mod origin;

#[cfg(feature = "jwt")]
pub(crate) use self::origin::is_loopback;
pub(crate) use self::origin::{Asking, Cors, Origins};
use crate::error::HookError;
use crate::failure::Failure;
use crate::hooks::{Connection, Transport};

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Route {
    /// What this server is.
    Info,
    /// A browser's question whether it may ask.
    Preflight,
    /// A connection of a LiveStore client, or one of its HTTP requests.
    Sync(SyncRequest),
    /// Nothing that is served here.
    Refused(Refused),
}

/// A request that is one of a LiveStore client.
#[derive(Debug)]
pub(crate) struct SyncRequest {
    target: Target,
    generation: Generation,
    transport: Transport,
    upgrade: bool,
}

impl SyncRequest {
    /// Reads a URL's query, whatever the path: without `transport` it is one of a 0.3 client.
    pub(crate) fn from_query(query: &str, upgrade: Option<&str>) -> Result<Self, Refused> {
        let (generation, transport) = match target::transport(query).map_err(Refused::search_params)? {
            None => (Generation::V03, Transport::Ws),
            Some(Parameter::Ws) => (Generation::V04, Transport::Ws),
            Some(Parameter::Http) => (Generation::V04, Transport::Http),
            // Calls between objects have no URL.
            Some(Parameter::DurableObject) => return Err(Refused::search_params(TargetError::InvalidTransport)),
        };
        let target = Target::from_query(query).map_err(Refused::search_params)?;
        Ok(Self { target, generation, transport, upgrade: is_websocket(upgrade) })
    }

    /// The store that it is about.
    #[must_use]
    pub(crate) fn store_id(&self) -> &str {
        &self.target.store_id
    }

    /// How the client wants to be connected.
    #[must_use]
    pub(crate) fn transport(&self) -> Transport {
        self.transport
    }

    /// What is wrong with a WebSocket address that was not asked for an upgrade. Said after validation, as
    /// the reference does.
    pub(crate) fn check_upgrade(&self) -> Result<(), Refused> {
        if self.transport == Transport::Ws && !self.upgrade {
            return Err(Refused { status: 426, text: UPGRADE_REQUIRED.to_owned() });
        }
        Ok(())
    }

    /// Whether the page that asks may, where it is one, and whether a body is what it has to be: browsers ask
    /// before they send JSON to another origin, and do not before they send a form.
    pub(crate) fn check_page(
        &self,
        origins: &Origins,
        asking: Asking<'_>,
        content_type: Option<&str>,
    ) -> Result<(), Refused> {
        origins.check(asking)?;
        // A page can leave it out, too; what is no page need not say what there is only one of.
        let is_json = content_type.map_or(asking.origin.is_none(), is_json);
        if self.transport == Transport::Http && !is_json {
            return Err(Refused::new(415, CONTENT_TYPE_REQUIRED));
        }
        Ok(())
    }

    /// The connection that it opens.
    pub(crate) fn into_connection(self, id: Uuid, connected_ms: u64, headers: Vec<(String, String)>) -> Connection {
        let Self { target, generation, transport, upgrade: _ } = self;
        Connection::new(id, target.store_id.into(), transport, generation, connected_ms)
            .with_payload(target.payload)
            .with_headers(headers)
    }
}

/// A status and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The HTTP status.
    pub(crate) status: u16,
    /// For people.
    pub(crate) text: String,
}

impl Refused {
    fn new(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    fn search_params(error: TargetError) -> Self {
        Self::new(400, format!("Invalid search params: {error}."))
    }

    /// For a body of more than `bytes_max` bytes.
    pub(crate) fn body_too_large(bytes_max: usize) -> Self {
        Self::new(413, format!("The body is cut short, or larger than {bytes_max} bytes."))
    }

    /// For a body that there is no memory for.
    pub(crate) fn out_of_memory() -> Self {
        Self::new(503, "The server has as many bodies to read as it may. Try again later.")
    }

    /// For as many connections as there may be, of `what`.
    pub(crate) fn too_many_connections(what: &str) -> Self {
        Self::new(503, format!("{what} has as many connections as it may. Try again later."))
    }

    /// For a hook that panics or does not return.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self::new(503, format!("{failure}. Try again later."))
    }

    /// For a client that the app's hook rejects.
    pub(crate) fn rejected(error: &HookError) -> Self {
        Self::new(error.status(), error.to_string())
    }

    /// For headers of more than [`HEADERS_BYTES_MAX`].
    pub(crate) fn headers_too_large() -> Self {
        Self::new(431, format!("The headers are larger than {HEADERS_BYTES_MAX} bytes."))
    }

    /// For a database that does not answer.
    pub(crate) fn log_unreachable() -> Self {
        Self::new(500, "The server cannot reach its event log.")
    }
}

/// Bytes of the names and values of a request's headers. They are kept with each connection, for hooks.
pub(crate) const HEADERS_BYTES_MAX: usize = 32 * 1024;

/// Whether this is the media type of JSON, or of lines of it.
fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let (kind, subtype) = media_type.split_once('/').unwrap_or_default();
    kind.eq_ignore_ascii_case("application") && subtype.to_ascii_lowercase().ends_with("json")
}

/// The text of a body.
pub(crate) fn body_text(body: Vec<u8>) -> Result<String, Refused> {
    String::from_utf8(body).map_err(|_| Refused::new(400, "The body is not UTF-8."))
}

/// The parts of a request that decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestParts<'a> {
    /// `GET`, `POST`, ...
    pub(crate) method: &'a str,
    /// The path of the URL.
    pub(crate) path: &'a str,
    /// The query of the URL without the `?`.
    pub(crate) query: &'a str,
    /// The `Upgrade` header.
    pub(crate) upgrade: Option<&'a str>,
    /// Whether preflights are answered.
    pub(crate) cors: bool,
}

/// Path and query of an absolute URL as a runtime has normalised it. A parser of URLs that knows all that people
/// write brings Unicode tables, a fifth of what a Worker deploys.
pub(crate) fn path_and_query(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let target = rest.find(['/', '?', '#']).map_or("", |start| &rest[start..]);
    let target = target.split_once('#').map_or(target, |(target, _)| target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (if path.is_empty() { "/" } else { path }, query)
}

/// The answer to a connection request that is no upgrade.
const UPGRADE_REQUIRED: &str =
    "Expected Upgrade: websocket. This address takes WebSocket connections of LiveStore clients.";

/// The answer to a body of another kind.
const CONTENT_TYPE_REQUIRED: &str = "Expected content-type: application/json (or application/x-ndjson).";

/// What [`Route::Info`] says.
pub(crate) const INFO: &str = "LiveStore sync server. Point a LiveStore app's sync backend at this address.";

/// For what may have been meant as a sync request.
const INVALID_SYNC_PATH: &str = "Invalid path. Connect to <url>/websocket?storeId=… (LiveStore 0.3) or to \
                                 <url>?storeId=…&transport=ws|http (LiveStore 0.4).";

fn is_websocket(upgrade: Option<&str>) -> bool {
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Decides what a request asks for.
pub(crate) fn route(parts: &RequestParts<'_>) -> Route {
    if parts.method == "OPTIONS" && parts.cors {
        return Route::Preflight;
    }
    let upgrade = is_websocket(parts.upgrade);
    let transport = target::transport(parts.query);
    let is_sync = match transport {
        Ok(Some(_)) => true,
        // 0.3 clients append this to whatever URL they are given.
        Ok(None) => parts.path.ends_with("/websocket"),
        Err(_) => false,
    };
    if !is_sync && matches!(parts.method, "GET" | "HEAD") && parts.path == "/" && !upgrade {
        return Route::Info;
    }
    if !is_sync && transport.is_ok() {
        let hint = if upgrade || !parts.query.is_empty() { INVALID_SYNC_PATH } else { "Invalid path" };
        return Route::Refused(Refused::new(400, hint));
    }
    match SyncRequest::from_query(parts.query, parts.upgrade) {
        Ok(sync) => Route::Sync(sync),
        Err(refused) => Route::Refused(refused),
    }
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
        match route(&RequestParts { method, path, query, upgrade, cors: true }) {
            Route::Info => "info".to_owned(),
            Route::Preflight => "preflight".to_owned(),
            Route::Sync(sync) => match (sync.generation, sync.transport) {
                (Generation::V03, Transport::Ws) => format!("v03 {} {}", sync.store_id(), sync.upgrade),
                (_, Transport::Ws) => format!("ws {} {}", sync.store_id(), sync.upgrade),
                (_, _) => format!("http {}", sync.store_id()),
            },
            Route::Refused(refused) => refused.status.to_string(),
        }
    }

    #[test]
    fn http_wants_json_and_pages_need_a_right() {
        let check = |query: &str, content_type, origin| {
            let sync = SyncRequest::from_query(query, None).expect("a sync request");
            let asking = Asking { origin, host: Some("sync.example") };
            sync.check_page(&Origins::default(), asking, content_type).map_or_else(|refused| refused.status, |()| 200)
        };
        let (http, ws) = ("storeId=a&transport=http", "storeId=a&transport=ws");
        for (content_type, expected) in [
            (Some("application/json"), 200),
            (Some("Application/JSON; charset=utf-8"), 200),
            (Some("application/ndjson"), 200),
            (Some("application/x-ndjson"), 200),
            (Some("text/plain"), 415),
            (Some("text/json"), 415),
            (Some("application/x-www-form-urlencoded"), 415),
            (Some("multipart/form-data; boundary=json"), 415),
            (Some(""), 415),
            (None, 200),
        ] {
            assert_eq!(check(http, content_type, None), expected, "{content_type:?}");
            assert_eq!(check(ws, content_type, None), 200, "{content_type:?}");
        }
        assert_eq!(check(http, None, Some("https://sync.example")), 415, "a page has to say it");
        for query in [http, ws, "storeId=a"] {
            assert_eq!(check(query, Some("application/json"), Some("https://evil.example")), 403, "{query}");
            assert_eq!(check(query, Some("application/json"), Some("https://sync.example")), 200, "{query}");
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
