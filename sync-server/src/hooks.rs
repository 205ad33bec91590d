//! What an app may have a say in: who connects, what is pushed and pulled.

use std::sync::Arc;

use livestore_sync_protocol::{Cursor, Event, Generation};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::error::{HookError, PullError, PushError};
use crate::platform::{BoxFuture, MaybeSend, MaybeSync, iso_timestamp};

/// How a client is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A WebSocket; hooks see the same connection for all that it sends.
    Ws,
    /// HTTP; each request is a connection of its own.
    Http,
    /// A call of a Durable Object; each is a connection of its own.
    DurableObject,
}

/// One client's connection to one store.
#[derive(Clone, Debug)]
pub struct Connection {
    /// A UUIDv7, so that ids sort by time.
    pub id: Uuid,
    /// When the client connected, in milliseconds since 1970.
    pub connected_ms: u64,
    /// The store.
    pub store_id: Arc<str>,
    /// The payload of the connection URL as JSON text.
    pub payload: Option<Box<RawValue>>,
    /// The headers of the HTTP request, names in lower case.
    pub headers: Vec<(String, String)>,
    /// How the client is connected.
    pub transport: Transport,
    /// The protocol of the address: 0.3, or 0.4, which includes next. Each call tells exactly, see
    /// [`HookContext::generation`].
    pub generation: Generation,
}

impl Connection {
    /// A connection without payload and headers, for an app's own tests too. `connected_ms` is in milliseconds since
    /// 1970.
    #[must_use]
    pub fn new(id: Uuid, store_id: Arc<str>, transport: Transport, generation: Generation, connected_ms: u64) -> Self {
        Self { id, connected_ms, store_id, payload: None, headers: Vec::new(), transport, generation }
    }

    /// With the payload of the connection URL.
    #[must_use]
    pub fn with_payload(mut self, payload: Option<Box<RawValue>>) -> Self {
        self.payload = payload;
        self
    }

    /// With the headers of the HTTP request, names in lower case.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }

    /// When the client connected, as JavaScript's `toISOString` writes it.
    #[must_use]
    pub fn connected_at(&self) -> String {
        iso_timestamp(self.connected_ms)
    }

    /// The payload as the app's own type.
    ///
    /// # Errors
    ///
    /// When the client sent none, or one that does not fit; the text names the field and may be
    /// passed on with `?` to reject the client.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, HookError> {
        let payload = self.payload.as_deref().ok_or_else(|| HookError::new("the connection has no payload"))?;
        serde_json::from_str(payload.get()).map_err(|error| HookError::new(format!("payload: {error}")))
    }

    /// The first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Who pushes or pulls.
#[derive(Clone, Debug)]
pub struct HookContext {
    /// The connection that the call came on.
    pub connection: Arc<Connection>,
    /// The protocol that the call was made in.
    pub generation: Generation,
}

impl HookContext {
    /// Of a call in this protocol on this connection.
    #[must_use]
    pub fn new(connection: Arc<Connection>, generation: Generation) -> Self {
        Self { connection, generation }
    }
}

/// A push that is offered.
#[derive(Clone, Debug)]
pub struct Push {
    /// The events, at least one.
    pub batch: Arc<[Event]>,
}

impl Push {
    /// Of these events.
    #[must_use]
    pub fn new(batch: Arc<[Event]>) -> Self {
        Self { batch }
    }
}

/// A pull that is asked for.
#[derive(Clone, Debug)]
pub struct Pull {
    /// Where the client is.
    pub cursor: Option<Cursor>,
    /// Whether events that are pushed later follow.
    pub live: bool,
}

impl Pull {
    /// From this cursor on.
    #[must_use]
    pub fn new(cursor: Option<Cursor>, live: bool) -> Self {
        Self { cursor, live }
    }
}

/// An app's hooks. Each has a default that allows everything; implement the trait, or pass closures
/// to [`HookFns`]. They run outside the store's lock: a slow hook delays its own client only.
pub trait Hooks: MaybeSend + MaybeSync + 'static {
    /// May this client connect? Runs once for a WebSocket, and for each HTTP request.
    ///
    /// # Errors
    ///
    /// The text for the client; it gets status 400.
    fn validate_payload(&self, connection: Arc<Connection>) -> impl Future<Output = Result<(), HookError>> + MaybeSend {
        let _ = connection;
        async { Ok(()) }
    }

    /// May these events enter the log? They are not checked yet.
    ///
    /// # Errors
    ///
    /// The text for the client. Nothing of the batch is stored.
    fn on_push(&self, push: Push, context: HookContext) -> impl Future<Output = Result<(), HookError>> + MaybeSend {
        let _ = (push, context);
        async { Ok(()) }
    }

    /// A push has ended: with `Ok`, its events are in the log.
    fn on_push_res(
        &self,
        push: Push,
        result: Result<(), PushError>,
        context: HookContext,
    ) -> impl Future<Output = ()> + MaybeSend {
        let _ = (push, result, context);
        async {}
    }

    /// May this client pull?
    ///
    /// # Errors
    ///
    /// The text for the client.
    fn on_pull(&self, pull: Pull, context: HookContext) -> impl Future<Output = Result<(), HookError>> + MaybeSend {
        let _ = (pull, context);
        async { Ok(()) }
    }

    /// A pull has sent its backlog (with `Ok`, the number of events) or failed. A live pull goes on.
    fn on_pull_res(
        &self,
        pull: Pull,
        result: Result<u64, PullError>,
        context: HookContext,
    ) -> impl Future<Output = ()> + MaybeSend {
        let _ = (pull, result, context);
        async {}
    }
}

/// Allows everything.
impl Hooks for () {}

trait Call<A, T>: MaybeSend + MaybeSync {
    fn call(&self, arguments: A) -> BoxFuture<T>;
}

macro_rules! callable {
    ($($name:ident: $type:ident),+) => {
        impl<Func, Fut, T, $($type),+> Call<($($type,)+), T> for Func
        where
            Func: Fn($($type),+) -> Fut + MaybeSend + MaybeSync,
            Fut: Future<Output = T> + MaybeSend + 'static,
        {
            fn call(&self, ($($name,)+): ($($type,)+)) -> BoxFuture<T> {
                Box::pin(self($($name),+))
            }
        }
    };
}
callable!(a: A);
callable!(a: A, b: B);
callable!(a: A, b: B, c: C);

type Slot<A, T> = Option<Box<dyn Call<A, T>>>;

/// Hooks as closures.
///
/// ```
/// use livestore_sync_server::{HookError, HookFns};
///
/// let hooks = HookFns::new()
///     .validate_payload(async |connection| match connection.payload_as::<String>()?.as_str() {
///         "secret" => Ok(()),
///         _ => Err(HookError::new("unknown token")),
///     })
///     .on_push(async |push, context| {
///         println!("{} events for {}", push.batch.len(), context.connection.store_id);
///         Ok(())
///     });
/// # let _ = hooks;
/// ```
#[derive(Default)]
pub struct HookFns {
    validate_payload: Slot<(Arc<Connection>,), Result<(), HookError>>,
    on_push: Slot<(Push, HookContext), Result<(), HookError>>,
    on_push_res: Slot<(Push, Result<(), PushError>, HookContext), ()>,
    on_pull: Slot<(Pull, HookContext), Result<(), HookError>>,
    on_pull_res: Slot<(Pull, Result<u64, PullError>, HookContext), ()>,
}

impl HookFns {
    /// No hooks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hooks of a type of the app's own, as closures.
    #[must_use]
    pub fn of<H: Hooks>(hooks: H) -> Self {
        let hooks = Arc::new(hooks);
        macro_rules! forward {
            ($name:ident($($argument:ident),+)) => {{
                let hooks = Arc::clone(&hooks);
                move |$($argument),+| {
                    let hooks = Arc::clone(&hooks);
                    async move { hooks.$name($($argument),+).await }
                }
            }};
        }
        Self::new()
            .validate_payload(forward!(validate_payload(connection)))
            .on_push(forward!(on_push(push, context)))
            .on_push_res(forward!(on_push_res(push, result, context)))
            .on_pull(forward!(on_pull(pull, context)))
            .on_pull_res(forward!(on_pull_res(pull, result, context)))
    }

    /// See [`Hooks::validate_payload`].
    #[must_use]
    pub fn validate_payload<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<Connection>) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<(), HookError>> + MaybeSend + 'static,
    {
        self.validate_payload = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_push`].
    #[must_use]
    pub fn on_push<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Push, HookContext) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<(), HookError>> + MaybeSend + 'static,
    {
        self.on_push = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_push_res`].
    #[must_use]
    pub fn on_push_res<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Push, Result<(), PushError>, HookContext) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = ()> + MaybeSend + 'static,
    {
        self.on_push_res = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_pull`].
    #[must_use]
    pub fn on_pull<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Pull, HookContext) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<(), HookError>> + MaybeSend + 'static,
    {
        self.on_pull = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_pull_res`].
    #[must_use]
    pub fn on_pull_res<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Pull, Result<u64, PullError>, HookContext) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = ()> + MaybeSend + 'static,
    {
        self.on_pull_res = Some(Box::new(hook));
        self
    }
}

async fn call<A, T>(slot: &Slot<A, T>, arguments: A, default: T) -> T {
    match slot {
        Some(hook) => hook.call(arguments).await,
        None => default,
    }
}

impl Hooks for HookFns {
    async fn validate_payload(&self, connection: Arc<Connection>) -> Result<(), HookError> {
        call(&self.validate_payload, (connection,), Ok(())).await
    }

    async fn on_push(&self, push: Push, context: HookContext) -> Result<(), HookError> {
        call(&self.on_push, (push, context), Ok(())).await
    }

    async fn on_push_res(&self, push: Push, result: Result<(), PushError>, context: HookContext) {
        call(&self.on_push_res, (push, result, context), ()).await;
    }

    async fn on_pull(&self, pull: Pull, context: HookContext) -> Result<(), HookError> {
        call(&self.on_pull, (pull, context), Ok(())).await
    }

    async fn on_pull_res(&self, pull: Pull, result: Result<u64, PullError>, context: HookContext) {
        call(&self.on_pull_res, (pull, result, context), ()).await;
    }
}
