//! The settings of the native server: what an app says before [`Server`] opens its data file. Values only;
//! what they mean is the server's.

use std::path::{Path, PathBuf};

use super::Server;
use crate::Hooks;
use crate::event_log::{OpenError, Synchronous};
use crate::host::FRAME_BYTES_MAX;

/// What one server takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Size of one WebSocket frame or HTTP body, in bytes.
    pub frame_bytes_max: usize,
    /// WebSockets and HTTP requests at once.
    pub connections_max: usize,
    /// Stores in the data file.
    pub stores_max: u32,
    /// Bytes that may wait for one WebSocket before it is closed as too slow.
    pub queue_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: FRAME_BYTES_MAX,
            connections_max: 10_000,
            stores_max: 100_000,
            queue_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// Settings of a [`Server`].
pub struct Builder<H> {
    pub(super) data: PathBuf,
    pub(super) synchronous: Synchronous,
    pub(super) hooks: H,
    pub(super) limits: Limits,
    pub(super) cors: bool,
}

impl Server<()> {
    /// A server that keeps its data in this folder, allows everything and has the default limits.
    #[must_use]
    pub fn builder(data: impl AsRef<Path>) -> Builder<()> {
        Builder {
            data: data.as_ref().to_owned(),
            synchronous: Synchronous::default(),
            hooks: (),
            limits: Limits::default(),
            cors: false,
        }
    }
}

impl<H: Hooks> Builder<H> {
    /// The app's hooks.
    #[must_use]
    pub fn hooks<N: Hooks>(self, hooks: N) -> Builder<N> {
        let Self { data, synchronous, limits, cors, hooks: _ } = self;
        Builder { data, synchronous, hooks, limits, cors }
    }

    /// When a push counts as durable; the disk must have it, unless this says otherwise.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// The limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether browsers on other origins may use the http transport.
    #[must_use]
    pub fn cors(mut self, cors: bool) -> Self {
        self.cors = cors;
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
