//! What an app says about its Worker and about its Durable Objects: values only, which `front` and `object`
//! read. The names are those of the native server's `Builder` where the settings are the same, and those of
//! LiveStore's `makeWorker` and `makeDurableObject` as far as Rust's spelling goes.

#![expect(clippy::arc_with_non_send_sync, reason = "what the engine shares is in `Arc`s; here there is one thread")]

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use worker::Headers;

use crate::request::Origins;
use crate::{HookFns, Hooks, Limits, Transport};

/// The Durable Object bindings that are looked for where none is named: those of LiveStore's own
/// examples for 0.3 and 0.4.
pub(super) const BINDINGS: [&str; 2] = ["WEBSOCKET_SERVER", "SYNC_BACKEND_DO"];

/// The D1 binding of LiveStore's own examples.
const D1_BINDING: &str = "DB";

/// Settings of the Worker.
#[derive(Clone, Default)]
#[must_use = "options do nothing until a Worker has them"]
pub struct WorkerOptions {
    pub(super) hooks: Arc<HookFns>,
    pub(super) hook_timeout: Option<Duration>,
    pub(super) origins: Origins,
    /// As JavaScript takes them.
    pub(super) response_headers: Vec<(String, String)>,
    pub(super) binding: Option<String>,
    pub(super) endpoint: String,
    pub(super) location_hint: Option<String>,
    pub(super) jurisdiction: Option<String>,
}

impl WorkerOptions {
    /// Every client may connect; the object is looked for at `WEBSOCKET_SERVER`, then at
    /// `SYNC_BACKEND_DO`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The app's hooks, in place of any earlier ones: a type that implements [`Hooks`], or closures as
    /// [`HookFns`]. The Worker calls [`Hooks::validate_payload`], once for a WebSocket and for each HTTP
    /// request, before anything of the store is touched. The connection has the payload, the store id and
    /// all headers. A rejected client gets status 400 with the error's text. The other hooks are called by
    /// the store's object, which has them by [`ObjectOptions::hooks`].
    #[doc(alias = "validatePayload")]
    pub fn hooks(self, hooks: impl Hooks) -> Self {
        Self { hooks: Arc::new(HookFns::of(hooks)), ..self }
    }

    /// How long the hook may take; without this, what [`Limits::worker`] says. Those of the object have
    /// [`Limits::hook_timeout`].
    pub fn hook_timeout(self, time: Duration) -> Self {
        Self { hook_timeout: Some(time), ..self }
    }

    /// Allows web pages of this origin, beside those that were allowed before: `https://app.example`, a pattern
    /// such as `http://localhost:*`, in which a `*` stands for any text, or `*` for all. What is not allowed gets
    /// status 403, over WebSockets and http alike; over http, allowed pages on other origins get the headers that
    /// let them read the answers (CORS).
    ///
    /// Without any, pages of the Worker's own host are allowed, and on a loopback address (`wrangler dev`) all pages
    /// from one: dev servers on other ports. Clients that are no browsers have no origin and are always served.
    pub fn allow_origin(mut self, pattern: impl AsRef<str>) -> Self {
        self.origins.allow(pattern.as_ref());
        self
    }

    /// Whether all web pages may use the server: the same as [`allow_origin`](Self::allow_origin) with `*`.
    #[doc(alias = "enableCORS")]
    pub fn enable_cors(mut self, enable: bool) -> Self {
        self.origins.allow_all(enable);
        self
    }

    /// Adds a header to each response, except those that open a WebSocket. It replaces one of that name.
    #[doc(alias = "responseHeaders")]
    pub fn response_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        // JavaScript has a character for each byte.
        let value = value.as_bytes().iter().copied().map(char::from).collect();
        self.response_headers.push((name.as_str().to_owned(), value));
        self
    }

    /// The name of the Durable Object's binding.
    #[doc(alias = "syncBackendBinding")]
    pub fn durable_object_binding(self, name: impl Into<String>) -> Self {
        Self { binding: Some(name.into()), ..self }
    }

    /// The path below which sync requests are taken, such as `/sync`; without it, every path.
    pub fn endpoint(self, path: impl Into<String>) -> Self {
        Self { endpoint: path.into().trim_end_matches('/').to_owned(), ..self }
    }

    /// Where new objects are to be placed: `weur`, `enam`, … It only counts for a store's first request.
    pub fn location_hint(self, hint: impl Into<String>) -> Self {
        Self { location_hint: Some(hint.into()), ..self }
    }

    /// Keeps objects within a jurisdiction: `eu` or `fedramp`. It is part of a store's address: the
    /// same id in another jurisdiction is another store.
    pub fn jurisdiction(self, jurisdiction: impl Into<String>) -> Self {
        Self { jurisdiction: Some(jurisdiction.into()), ..self }
    }
}

/// Where an object keeps its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// In D1 if there is a binding `DB`, else in the object's own SQLite; also there if it has the store's
    /// events already, as that of a deployment of the reference 0.4.0 that named no storage.
    #[default]
    Auto,
    /// In the D1 database of this binding, a table per store.
    D1 {
        /// The binding's name.
        binding: String,
    },
    /// In the object's own SQLite.
    DurableObject,
}

impl Storage {
    /// The D1 binding to look for, and whether it must exist.
    pub(super) fn d1_binding(&self) -> Option<(&str, bool)> {
        match self {
            Self::Auto => Some((D1_BINDING, false)),
            Self::D1 { binding } => Some((binding, true)),
            Self::DurableObject => None,
        }
    }
}

type SelectHeaders = Rc<dyn Fn(&Headers) -> Vec<(String, String)>>;

/// Settings of the Durable Object.
#[must_use = "options do nothing until an object has them"]
pub struct ObjectOptions {
    pub(super) hooks: HookFns,
    pub(super) limits: Limits,
    pub(super) storage: Storage,
    pub(super) forward_headers: SelectHeaders,
    pub(super) transports: Vec<Transport>,
    pub(super) trusted_proxies: usize,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self {
            hooks: HookFns::new(),
            limits: Limits::worker(),
            storage: Storage::default(),
            forward_headers: Rc::new(|_| Vec::new()),
            transports: vec![Transport::Ws, Transport::Http, Transport::DurableObject],
            trusted_proxies: 0,
        }
    }
}

impl ObjectOptions {
    /// No hooks, every transport, storage as [`Storage::Auto`] says.
    pub fn new() -> Self {
        Self::default()
    }

    /// The app's hooks, in place of any earlier ones: a type that implements [`Hooks`], or closures as
    /// [`HookFns`]. The object calls all but [`Hooks::validate_payload`], which the Worker calls before it
    /// forwards a request, see [`WorkerOptions::hooks`].
    #[doc(alias = "onPush")]
    #[doc(alias = "onPushRes")]
    #[doc(alias = "onPull")]
    #[doc(alias = "onPullRes")]
    pub fn hooks(self, hooks: impl Hooks) -> Self {
        Self { hooks: HookFns::of(hooks), ..self }
    }

    /// What one store takes; without this, [`Limits::worker`].
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Where events are kept.
    pub fn storage(self, storage: Storage) -> Self {
        Self { storage, ..self }
    }

    /// The request headers that hooks see as [`Connection::headers`](crate::Connection::headers), by name.
    /// They are kept with each WebSocket, whose room is small: name those that are needed.
    pub fn forward_headers(self, names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self.forward_headers_with(move |headers| {
            let value = |name: &String| headers.get(name).ok().flatten().map(|value| (name.clone(), value));
            names.iter().filter_map(value).collect()
        })
    }

    /// As [`forward_headers`](Self::forward_headers), chosen or made from the request's headers. Names
    /// in lower case.
    pub fn forward_headers_with(self, select: impl Fn(&Headers) -> Vec<(String, String)> + 'static) -> Self {
        Self { forward_headers: Rc::new(select), ..self }
    }

    /// How many proxies stand between Cloudflare and the clients, each of which adds to `X-Forwarded-For` the address that
    /// it was asked from; without this, none, and a client's address is the one that the platform tells.
    pub fn trusted_proxies(self, proxies: usize) -> Self {
        Self { trusted_proxies: proxies, ..self }
    }

    /// The transports that are served; without this, all.
    #[doc(alias = "enabledTransports")]
    pub fn transports(self, transports: &[Transport]) -> Self {
        Self { transports: transports.to_vec(), ..self }
    }
}
