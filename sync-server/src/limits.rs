//! What a server takes before it refuses: one table for all settings of this kind, whose values differ
//! per platform. The platforms enforce them; what every server keeps to because the wire says so is in
//! `livestore_sync_protocol::limits`.

use std::time::Duration;

const MIB: usize = 1024 * 1024;

/// What a server takes. Start from the values of the platform, and change some:
///
/// ```
/// use livestore_sync_server::Limits;
///
/// let limits = Limits::native().with_connections_max(500);
/// assert_eq!(limits.frame_bytes_max, 8 * 1024 * 1024);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one WebSocket frame or HTTP body. A larger frame closes its connection with code 1009, a
    /// larger body gets status 413.
    pub frame_bytes_max: usize,
    /// Connections at once; a further one gets status 503. Natively all of the server, from their first byte on,
    /// on Workers the WebSockets of one store.
    pub connections_max: usize,
    /// Connections at once from one address (of IPv6, one network of 64 bits); a further one gets status 503.
    /// Natively only, and not where proxies are trusted, from whose addresses all connections come.
    pub connections_per_address_max: usize,
    /// WebSockets of one store at once; a further one gets status 503. Off unless it is set.
    pub connections_per_store_max: usize,
    /// WebSockets of one user to one store at once ([`Identity::user_id`](crate::Identity::user_id)); a further one gets
    /// status 503. Off unless it is set.
    pub connections_per_user_max: usize,
    /// Bytes that one connection may make the server hold: frames that wait for it, pages that it reads,
    /// pushes that wait for their commit. What it sends beyond is not read yet; a client for which more waits
    /// does not read fast enough: its connection is closed with code 1013, and it comes back with its cursor. On
    /// Workers, where the platform has the queue, what was sent since the client was last heard from counts as
    /// waiting.
    pub connection_bytes_max: usize,
    /// Bytes that all connections of one store may make the server hold. A quarter is kept for those that hold
    /// little.
    pub store_bytes_max: usize,
    /// Natively, the memory that the process may take, in bytes, of which a quarter is for what its connections make it
    /// hold; `None` for half of what the machine or the container has. On Workers, what the connections of all objects of
    /// an isolate may make it hold; an isolate has 128 MB.
    pub memory_bytes_max: Option<usize>,
    /// Stores in one data file; a client of a further one gets status 503. Natively only: on Workers each
    /// store is a Durable Object of its own.
    pub stores_max: u32,
    /// How long each of an app's hooks may take. One that takes longer counts as failed: a push or a pull is made again,
    /// by the client or by the server, and a client that wants to connect gets status 503.
    pub hook_timeout: Duration,
    /// How long a connection stays after its client's access has expired
    /// ([`Identity::expires_ms`](crate::Identity::expires_ms)): pushes are refused at once, and after this it is closed
    /// with code 4401.
    pub expiry_grace: Duration,
}

impl Limits {
    /// What the native server takes: frames of 8 MiB, 10,000 connections, 5,000 of one address, 16 MiB held for
    /// one connection, 128 MiB for one store, 100,000 stores, hooks of 30 s, 30 s after an access has expired.
    #[must_use]
    pub const fn native() -> Self {
        Self {
            frame_bytes_max: 8 * 1024 * 1024,
            connections_max: 10_000,
            connections_per_address_max: 5_000,
            connections_per_store_max: usize::MAX,
            connections_per_user_max: usize::MAX,
            connection_bytes_max: 16 * MIB,
            store_bytes_max: 128 * MIB,
            memory_bytes_max: None,
            stores_max: 100_000,
            hook_timeout: Duration::from_secs(30),
            expiry_grace: Duration::from_secs(30),
        }
    }

    /// What the Durable Object of one store takes: frames of 8 MiB, 10,000 WebSockets (the platform takes
    /// 32,768), 12 MiB held for one of them, 32 MiB for all, 40 MiB for all objects of an isolate.
    #[must_use]
    pub const fn worker() -> Self {
        Self {
            connection_bytes_max: 12 * MIB,
            store_bytes_max: 32 * MIB,
            memory_bytes_max: Some(40 * MIB),
            stores_max: 1,
            ..Self::native()
        }
    }

    /// With another [`frame_bytes_max`](Self::frame_bytes_max).
    #[must_use]
    pub const fn with_frame_bytes_max(self, bytes: usize) -> Self {
        Self { frame_bytes_max: bytes, ..self }
    }

    /// With another [`connections_max`](Self::connections_max).
    #[must_use]
    pub const fn with_connections_max(self, connections: usize) -> Self {
        Self { connections_max: connections, ..self }
    }

    /// With another [`connections_per_address_max`](Self::connections_per_address_max).
    #[must_use]
    pub const fn with_connections_per_address_max(self, connections: usize) -> Self {
        Self { connections_per_address_max: connections, ..self }
    }

    /// With another [`connections_per_store_max`](Self::connections_per_store_max).
    #[must_use]
    pub const fn with_connections_per_store_max(self, connections: usize) -> Self {
        Self { connections_per_store_max: connections, ..self }
    }

    /// With another [`connections_per_user_max`](Self::connections_per_user_max).
    #[must_use]
    pub const fn with_connections_per_user_max(self, connections: usize) -> Self {
        Self { connections_per_user_max: connections, ..self }
    }

    /// With another [`connection_bytes_max`](Self::connection_bytes_max).
    #[must_use]
    pub const fn with_connection_bytes_max(self, bytes: usize) -> Self {
        Self { connection_bytes_max: bytes, ..self }
    }

    /// With another [`store_bytes_max`](Self::store_bytes_max).
    #[must_use]
    pub const fn with_store_bytes_max(self, bytes: usize) -> Self {
        Self { store_bytes_max: bytes, ..self }
    }

    /// With another [`memory_bytes_max`](Self::memory_bytes_max).
    #[must_use]
    pub const fn with_memory_bytes_max(self, bytes: usize) -> Self {
        Self { memory_bytes_max: Some(bytes), ..self }
    }

    /// With another [`hook_timeout`](Self::hook_timeout).
    #[must_use]
    pub const fn with_hook_timeout(self, time: Duration) -> Self {
        Self { hook_timeout: time, ..self }
    }

    /// With another [`expiry_grace`](Self::expiry_grace).
    #[must_use]
    pub const fn with_expiry_grace(self, time: Duration) -> Self {
        Self { expiry_grace: time, ..self }
    }

    /// With another [`stores_max`](Self::stores_max).
    #[must_use]
    pub const fn with_stores_max(self, stores: u32) -> Self {
        Self { stores_max: stores, ..self }
    }
}
