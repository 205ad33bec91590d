use std::rc::Rc;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use worker::{Headers, Response};

use crate::{Connection, HookContext, HookError, HookFns, Hooks, Pull, PullError, Push, PushError, Transport};

/// The Durable Object bindings that are looked for where none is named: those of LiveStore's own
/// examples for 0.3 and 0.4.
pub(super) const BINDINGS: [&str; 2] = ["WEBSOCKET_SERVER", "SYNC_BACKEND_DO"];

/// The D1 binding of LiveStore's own examples.
const D1_BINDING: &str = "DB";

type ModifyResponse = Rc<dyn Fn(Response) -> worker::Result<Response>>;

/// Settings of the Worker.
#[derive(Clone, Default)]
pub struct WorkerOptions {
    pub(super) hooks: Rc<HookFns>,
    pub(super) cors: bool,
    pub(super) binding: Option<String>,
    pub(super) endpoint: String,
    pub(super) modify_response: Option<ModifyResponse>,
    pub(super) location_hint: Option<String>,
    pub(super) jurisdiction: Option<String>,
}

impl WorkerOptions {
    /// Every client may connect; the object is looked for at `WEBSOCKET_SERVER`, then at
    /// `SYNC_BACKEND_DO`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// May this client connect? Runs once for a WebSocket and for each HTTP request, before anything
    /// of the store is touched. The connection has the payload, the store id and all headers. A
    /// rejected client gets status 400 with the error's text.
    #[must_use]
    pub fn validate_payload<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<Connection>) -> Fut + 'static,
        Fut: Future<Output = Result<(), HookError>> + 'static,
    {
        self.hooks = Rc::new(HookFns::new().validate_payload(hook));
        self
    }

    /// As [`validate_payload`](Self::validate_payload), for a payload of the app's own type; one that
    /// is missing or does not fit rejects the client.
    #[must_use]
    pub fn validate_payload_as<T, F, Fut>(self, hook: F) -> Self
    where
        T: DeserializeOwned,
        F: Fn(T, Arc<Connection>) -> Fut + 'static,
        Fut: Future<Output = Result<(), HookError>> + 'static,
    {
        let hook = Rc::new(hook);
        self.validate_payload(move |connection| {
            let hook = Rc::clone(&hook);
            async move { hook(connection.payload_as()?, connection).await }
        })
    }

    /// Whether browsers on other origins may use the http transport.
    #[must_use]
    pub fn enable_cors(mut self, cors: bool) -> Self {
        self.cors = cors;
        self
    }

    /// The name of the Durable Object's binding.
    #[must_use]
    pub fn durable_object_binding(mut self, name: impl Into<String>) -> Self {
        self.binding = Some(name.into());
        self
    }

    /// The path below which sync requests are taken, such as `/sync`; without it, every path.
    #[must_use]
    pub fn endpoint(mut self, path: impl Into<String>) -> Self {
        self.endpoint = path.into().trim_end_matches('/').to_owned();
        self
    }

    /// Changes each response before it goes out, except those that open a WebSocket.
    #[must_use]
    pub fn modify_response(mut self, modify: impl Fn(Response) -> worker::Result<Response> + 'static) -> Self {
        self.modify_response = Some(Rc::new(modify));
        self
    }

    /// Where new objects are to be placed: `weur`, `enam`, … It only counts for a store's first request.
    #[must_use]
    pub fn location_hint(mut self, hint: impl Into<String>) -> Self {
        self.location_hint = Some(hint.into());
        self
    }

    /// Keeps objects within a jurisdiction: `eu` or `fedramp`. It is part of a store's address: the
    /// same id in another jurisdiction is another store.
    #[must_use]
    pub fn jurisdiction(mut self, jurisdiction: impl Into<String>) -> Self {
        self.jurisdiction = Some(jurisdiction.into());
        self
    }
}

/// Where an object keeps its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// In D1 if there is a binding `DB`, else in the object's own SQLite; also there if it has the store's
    /// events already, as that of a deployment of the reference 0.4.0 where nobody named a storage.
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

/// WebSockets of one store where nothing else is said. The platform takes 32,768.
const CONNECTIONS_MAX: usize = 10_000;

type SelectHeaders = Rc<dyn Fn(&Headers) -> Vec<(String, String)>>;

/// Settings of the Durable Object.
pub struct ObjectOptions {
    pub(super) hooks: HookFns,
    pub(super) storage: Storage,
    pub(super) forward_headers: SelectHeaders,
    pub(super) transports: Vec<Transport>,
    pub(super) response_headers: Vec<(String, String)>,
    pub(super) connections_max: usize,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        Self {
            hooks: HookFns::new(),
            storage: Storage::default(),
            forward_headers: Rc::new(|_| Vec::new()),
            transports: vec![Transport::Ws, Transport::Http, Transport::DurableObject],
            response_headers: Vec::new(),
            connections_max: CONNECTIONS_MAX,
        }
    }
}

impl ObjectOptions {
    /// No hooks, every transport, storage as [`Storage::Auto`] says.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hooks of a type of the app's own. Its `validate_payload` is not called: that is the Worker's.
    #[must_use]
    pub fn hooks<H: Hooks>(mut self, hooks: H) -> Self {
        self.hooks = HookFns::of(hooks);
        self
    }

    /// See [`Hooks::on_push`].
    #[must_use]
    pub fn on_push<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Push, HookContext) -> Fut + 'static,
        Fut: Future<Output = Result<(), HookError>> + 'static,
    {
        self.hooks = self.hooks.on_push(hook);
        self
    }

    /// See [`Hooks::on_push_res`].
    #[must_use]
    pub fn on_push_res<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Push, Result<(), PushError>, HookContext) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.hooks = self.hooks.on_push_res(hook);
        self
    }

    /// See [`Hooks::on_pull`].
    #[must_use]
    pub fn on_pull<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Pull, HookContext) -> Fut + 'static,
        Fut: Future<Output = Result<(), HookError>> + 'static,
    {
        self.hooks = self.hooks.on_pull(hook);
        self
    }

    /// See [`Hooks::on_pull_res`].
    #[must_use]
    pub fn on_pull_res<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Pull, Result<u64, PullError>, HookContext) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        self.hooks = self.hooks.on_pull_res(hook);
        self
    }

    /// Where events are kept.
    #[must_use]
    pub fn storage(mut self, storage: Storage) -> Self {
        self.storage = storage;
        self
    }

    /// The request headers that hooks see as [`Connection::headers`], by name. They are kept with each
    /// WebSocket, whose room is small: name those that are needed.
    #[must_use]
    pub fn forward_headers(self, names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        self.forward_headers_with(move |headers| {
            let value = |name: &String| headers.get(name).ok().flatten().map(|value| (name.clone(), value));
            names.iter().filter_map(value).collect()
        })
    }

    /// As [`forward_headers`](Self::forward_headers), chosen or made from the request's headers. Names
    /// in lower case.
    #[must_use]
    pub fn forward_headers_with(mut self, select: impl Fn(&Headers) -> Vec<(String, String)> + 'static) -> Self {
        self.forward_headers = Rc::new(select);
        self
    }

    /// The transports that are served; without this, all.
    #[must_use]
    pub fn transports(mut self, transports: &[Transport]) -> Self {
        self.transports = transports.to_vec();
        self
    }

    /// How many WebSockets one store takes at once; without this, 10,000.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Adds a header to each answer over HTTP.
    #[must_use]
    pub fn response_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.response_headers.push((name.into(), value.into()));
        self
    }
}
