//! The settings of the native server: what an app says before [`Server`] opens its data file. Values only;
//! what they mean is the server's. `worker::WorkerOptions` has the same names for the same settings.

use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Server;
use crate::event_log::{OpenError, Synchronous};
use crate::request::Origins;
use crate::{Hooks, Limits};

/// Settings of a [`Server`].
#[must_use = "a builder does nothing until it builds"]
pub struct Builder<H> {
    pub(super) data: PathBuf,
    pub(super) synchronous: Synchronous,
    pub(super) hooks: H,
    pub(super) limits: Limits,
    pub(super) origins: Origins,
    pub(super) trusted_proxies: usize,
    pub(super) compression: bool,
    pub(super) response_headers: HeaderMap,
}

impl Server<()> {
    /// A server that keeps its data in this folder, allows everything and has the limits of
    /// [`Limits::native`].
    pub fn builder(data: impl AsRef<Path>) -> Builder<()> {
        Builder {
            data: data.as_ref().to_owned(),
            synchronous: Synchronous::default(),
            hooks: (),
            limits: Limits::native(),
            origins: Origins::default(),
            trusted_proxies: 0,
            compression: true,
            response_headers: HeaderMap::new(),
        }
    }
}

impl<H: Hooks> Builder<H> {
    /// The app's hooks, in place of any earlier ones: a type that implements [`Hooks`], or closures as
    /// [`HookFns`](crate::HookFns).
    pub fn hooks<N: Hooks>(self, hooks: N) -> Builder<N> {
        let Self { data, synchronous, hooks: _, limits, origins, trusted_proxies, compression, response_headers } =
            self;
        Builder { data, synchronous, hooks, limits, origins, trusted_proxies, compression, response_headers }
    }

    /// When a push counts as durable; the disk must have it, unless this says otherwise.
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        Self { synchronous, ..self }
    }

    /// What the server takes; without this, [`Limits::native`].
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Allows web pages of this origin, beside those that were allowed before: `https://app.example`, a pattern
    /// such as `http://localhost:*`, in which a `*` stands for any text, or `*` for all. What is not allowed gets
    /// status 403, over WebSockets and http alike; over http, allowed pages on other origins get the headers that
    /// let them read the answers (CORS).
    ///
    /// Without any, pages of the server's own host are allowed, and on a loopback address all pages from one: dev
    /// servers on other ports. Clients that are no browsers have no origin and are always served.
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

    /// How many proxies stand between the server and its clients, each of which adds to `X-Forwarded-For` the address that
    /// it was asked from; without this, none. 0.3 clients that come back are known by their address.
    pub fn trusted_proxies(self, proxies: usize) -> Self {
        Self { trusted_proxies: proxies, ..self }
    }

    /// Whether WebSocket messages are compressed (permessage-deflate) for clients that offer it, as browsers and Node
    /// do; without this, they are. On Workers the platform decides.
    pub fn compression(self, compression: bool) -> Self {
        Self { compression, ..self }
    }

    /// Adds a header to each response, except those that open a WebSocket. It replaces one of that name.
    #[doc(alias = "responseHeaders")]
    pub fn response_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.response_headers.insert(name, value);
        self
    }

    /// Opens the data file.
    ///
    /// # Errors
    ///
    /// [`OpenError`], also when another process uses the folder.
    pub fn build(self) -> Result<Server<H>, OpenError> {
        Server::open(self)
    }
}
