//! What an app may have a say in: who connects, what is pushed and pulled. The store calls the hooks of a
//! push or a pull, each server calls [`Hooks::validate_payload`] before it opens a store. What a rejection
//! becomes on the wire is decided in `error`, not here.

mod asked;
mod connection;
mod fns;
mod identity;

use std::sync::Arc;

use livestore_sync_protocol::{Cursor, Event, Generation};

pub(crate) use self::asked::Asked;
pub use self::connection::{Connection, Transport};
pub use self::fns::HookFns;
pub use self::identity::{Access, IDENTITY_BYTES_MAX, Identity};
use crate::error::{HookError, PullError, PushError};
use crate::platform::{MaybeSend, MaybeSync};

/// Who pushes or pulls.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HookContext {
    /// The connection that the call came on.
    pub connection: Arc<Connection>,
    /// The protocol that the call was made in.
    pub generation: Generation,
}

impl HookContext {
    /// A call on this connection, in this protocol.
    #[must_use]
    pub fn new(connection: Arc<Connection>, generation: Generation) -> Self {
        Self { connection, generation }
    }
}

/// A push that is offered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Push {
    /// The events, at least one.
    pub batch: Arc<[Event]>,
}

impl Push {
    /// A push of these events.
    #[must_use]
    pub fn new(batch: impl Into<Arc<[Event]>>) -> Self {
        Self { batch: batch.into() }
    }
}

/// A pull that is asked for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Pull {
    /// Where the client is.
    pub cursor: Option<Cursor>,
    /// Whether events that are pushed later follow.
    pub live: bool,
}

impl Pull {
    /// A pull of what is after `cursor`; without one, of everything.
    #[must_use]
    pub fn new(cursor: Option<Cursor>, live: bool) -> Self {
        Self { cursor, live }
    }
}

/// An app's hooks. Each has a default that allows everything; implement the trait, or pass closures
/// to [`HookFns`]. They run outside the store's lock: a slow hook delays its own client only, and
/// one that takes longer than [`Limits::hook_timeout`](crate::Limits::hook_timeout), or panics, counts as a failure of
/// the server's, after which clients try again.
///
/// The same hooks serve on every platform. The native server calls all of them. On Cloudflare, give the same
/// value to `WorkerOptions::hooks` and to `ObjectOptions::hooks`: the Worker calls
/// [`validate_payload`](Self::validate_payload), the store's Durable Object the others.
///
/// Hooks are tested without a server, with values made by hand:
///
/// ```
/// use std::sync::Arc;
///
/// use livestore_sync_server::protocol::{Args, Event, Generation, SeqNum};
/// use livestore_sync_server::{Connection, HookContext, HookError, Hooks, Push, Transport, Uuid};
///
/// struct ReadOnly;
///
/// impl Hooks for ReadOnly {
///     async fn on_push(&self, push: Push, context: HookContext) -> Result<(), HookError> {
///         let (events, store_id) = (push.batch.len(), &context.connection.store_id);
///         Err(HookError::new(format!("{events} events refused: {store_id} is read-only")))
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let connection = Connection::new(Uuid::nil(), "my-store".into(), Transport::Ws, Generation::V04, 0);
/// let context = HookContext::new(Arc::new(connection), Generation::V04);
/// let event = Event {
///     name: "v1.TodoCreated".into(),
///     args: Args::default(),
///     seq_num: SeqNum::new(1)?,
///     parent_seq_num: SeqNum::ROOT,
///     client_id: "client".into(),
///     session_id: "session".into(),
/// };
/// let result = ReadOnly.on_push(Push::new(vec![event]), context).await;
/// assert_eq!(result, Err(HookError::new("1 events refused: my-store is read-only")));
/// # Ok(())
/// # }
/// ```
pub trait Hooks: MaybeSend + MaybeSync + 'static {
    /// May this client connect? Runs once for a WebSocket, and for each HTTP request. A hook that knows who the client
    /// is says so by [`authenticate`](Self::authenticate).
    ///
    /// # Errors
    ///
    /// The text for the client; it gets the error's status, which is 400 unless it says otherwise.
    #[doc(alias = "validatePayload")]
    fn validate_payload(&self, connection: Arc<Connection>) -> impl Future<Output = Result<(), HookError>> + MaybeSend {
        let _ = connection;
        async { Ok(()) }
    }

    /// Who is this client, and what may it do? This is what servers call when a client connects, once for a WebSocket
    /// and for each HTTP request or call of a Durable Object. What it answers is
    /// [`Connection::identity`] in the other hooks. Unless it is implemented, it asks
    /// [`validate_payload`](Self::validate_payload), and whoever that lets in may push and pull.
    ///
    /// It is a method of its own, and `validate_payload` goes on returning `()`, because an `async fn` that returns
    /// anything more exact than its trait says is warned of by the compiler (`refining_impl_trait`).
    ///
    /// # Errors
    ///
    /// As of [`validate_payload`](Self::validate_payload); also where the identity takes more than
    /// [`IDENTITY_BYTES_MAX`] bytes.
    fn authenticate(
        &self,
        connection: Arc<Connection>,
    ) -> impl Future<Output = Result<Identity, HookError>> + MaybeSend {
        async { self.validate_payload(connection).await.map(Identity::from) }
    }

    /// May these events enter the log? They are not checked yet.
    ///
    /// # Errors
    ///
    /// The text for the client. Nothing of the batch is stored.
    #[doc(alias = "onPush")]
    fn on_push(&self, push: Push, context: HookContext) -> impl Future<Output = Result<(), HookError>> + MaybeSend {
        let _ = (push, context);
        async { Ok(()) }
    }

    /// A push has ended: with `Ok`, its events are in the log.
    #[doc(alias = "onPushRes")]
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
    #[doc(alias = "onPull")]
    fn on_pull(&self, pull: Pull, context: HookContext) -> impl Future<Output = Result<(), HookError>> + MaybeSend {
        let _ = (pull, context);
        async { Ok(()) }
    }

    /// A pull has sent its backlog (with `Ok`, the number of events) or failed. A live pull goes on.
    #[doc(alias = "onPullRes")]
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
