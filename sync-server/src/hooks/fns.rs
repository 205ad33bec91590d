//! Hooks as closures, for apps that need no type of their own. Closures of different types are kept behind
//! pointers, so that every server with `HookFns` is the same code.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Connection, HookContext, Hooks, Identity, Pull, Push};
use crate::error::{HookError, PullError, PushError};
use crate::platform::{BoxFuture, MaybeSend, MaybeSync};

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

/// Hooks as closures. Each may be set once or not at all; set again, the later one counts.
///
/// ```
/// use livestore_sync_server::{HookError, HookFns};
/// use serde::Deserialize;
/// use subtle::ConstantTimeEq;
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "camelCase")]
/// struct Payload {
///     auth_token: String,
/// }
///
/// let hooks = HookFns::new()
///     .validate_payload_as(async |payload: Payload, _connection| {
///         // `==` takes longer the more of a guess is right.
///         let is_right = payload.auth_token.as_bytes().ct_eq(b"secret");
///         if is_right.into() { Ok(()) } else { Err(HookError::new("unknown token")) }
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
    authenticate: Slot<(Arc<Connection>,), Result<Identity, HookError>>,
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

    /// The hooks of any type, as one type: where it is only known at run time which hooks an app has.
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
            .authenticate(forward!(authenticate(connection)))
            .on_push(forward!(on_push(push, context)))
            .on_push_res(forward!(on_push_res(push, result, context)))
            .on_pull(forward!(on_pull(pull, context)))
            .on_pull_res(forward!(on_pull_res(pull, result, context)))
    }

    /// See [`Hooks::validate_payload`].
    #[must_use]
    #[doc(alias = "validatePayload")]
    pub fn validate_payload<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<Connection>) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<(), HookError>> + MaybeSend + 'static,
    {
        self.validate_payload = Some(Box::new(hook));
        self
    }

    /// As [`validate_payload`](Self::validate_payload), for a payload of the app's own type. A client whose
    /// payload is missing or does not fit is rejected, with a text that names the field.
    #[must_use]
    #[doc(alias = "validatePayload")]
    pub fn validate_payload_as<T, F, Fut>(self, hook: F) -> Self
    where
        T: DeserializeOwned,
        F: Fn(T, Arc<Connection>) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<(), HookError>> + MaybeSend + 'static,
    {
        self.validate_payload(move |connection| {
            let validated = connection.payload_as().map(|payload| hook(payload, connection));
            async { validated?.await }
        })
    }

    /// See [`Hooks::authenticate`]: the closure says who the client is. Where there is one, servers ask it and not the one
    /// of [`validate_payload`](Self::validate_payload).
    #[must_use]
    #[doc(alias = "authorize")]
    pub fn authenticate<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(Arc<Connection>) -> Fut + MaybeSend + MaybeSync + 'static,
        Fut: Future<Output = Result<Identity, HookError>> + MaybeSend + 'static,
    {
        self.authenticate = Some(Box::new(hook));
        self
    }

    /// See [`Hooks::on_push`].
    #[must_use]
    #[doc(alias = "onPush")]
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
    #[doc(alias = "onPushRes")]
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
    #[doc(alias = "onPull")]
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
    #[doc(alias = "onPullRes")]
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

    async fn authenticate(&self, connection: Arc<Connection>) -> Result<Identity, HookError> {
        match &self.authenticate {
            Some(hook) => hook.call((connection,)).await,
            None => Hooks::validate_payload(self, connection).await.map(Identity::from),
        }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use livestore_sync_protocol::Generation;
    use serde_json::value::RawValue;
    use uuid::Uuid;

    use super::*;
    use crate::Transport;

    #[derive(Clone, Default)]
    struct Calls(Arc<Mutex<Vec<&'static str>>>);

    impl Calls {
        fn note(&self, call: &'static str) {
            self.0.lock().unwrap().push(call);
        }
    }

    impl Hooks for Calls {
        async fn validate_payload(&self, _: Arc<Connection>) -> Result<(), HookError> {
            self.note("validate_payload");
            Err(HookError::new("payload"))
        }

        async fn authenticate(&self, _: Arc<Connection>) -> Result<Identity, HookError> {
            self.note("authenticate");
            Ok(Identity::new("me"))
        }

        async fn on_push(&self, _: Push, _: HookContext) -> Result<(), HookError> {
            self.note("on_push");
            Err(HookError::new("push"))
        }

        async fn on_push_res(&self, _: Push, _: Result<(), PushError>, _: HookContext) {
            self.note("on_push_res");
        }

        async fn on_pull(&self, _: Pull, _: HookContext) -> Result<(), HookError> {
            self.note("on_pull");
            Err(HookError::new("pull"))
        }

        async fn on_pull_res(&self, _: Pull, _: Result<u64, PullError>, _: HookContext) {
            self.note("on_pull_res");
        }
    }

    fn connection(payload: Option<&str>) -> Arc<Connection> {
        let payload = payload.map(|json| RawValue::from_string(json.to_owned()).unwrap());
        let connection = Connection::new(Uuid::nil(), "store".into(), Transport::Ws, Generation::V04, 0);
        Arc::new(connection.with_payload(payload))
    }

    #[tokio::test]
    async fn each_hook_of_a_type_is_called_by_its_own_name() {
        let calls = Calls::default();
        // Twice, because a Worker does the same with hooks that are closures already.
        let hooks = HookFns::of(HookFns::of(calls.clone()));
        let context = HookContext::new(connection(None), Generation::V04);
        let (push, pull) = (Push::new([]), Pull::new(None, true));
        assert_eq!(Hooks::validate_payload(&hooks, connection(None)).await, Err(HookError::new("payload")));
        let identity = Hooks::authenticate(&hooks, connection(None)).await.unwrap();
        assert_eq!(identity.user_id.as_deref(), Some("me"));
        assert_eq!(Hooks::on_push(&hooks, push.clone(), context.clone()).await, Err(HookError::new("push")));
        Hooks::on_push_res(&hooks, push, Ok(()), context.clone()).await;
        assert_eq!(Hooks::on_pull(&hooks, pull.clone(), context.clone()).await, Err(HookError::new("pull")));
        Hooks::on_pull_res(&hooks, pull, Ok(0), context).await;
        let expected = ["validate_payload", "authenticate", "on_push", "on_push_res", "on_pull", "on_pull_res"];
        assert_eq!(*calls.0.lock().unwrap(), expected);
    }

    #[tokio::test]
    async fn a_payload_that_does_not_fit_never_reaches_the_hook() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let hooks = HookFns::new().validate_payload_as(move |number: u8, connection| {
            log.lock().unwrap().push((number, connection.store_id.to_string()));
            async move { if number == 7 { Ok(()) } else { Err(HookError::new("not seven")) } }
        });
        let missing = "the connection has no payload";
        let wrong = "payload: invalid type: string \"7\", expected u8 at line 1 column 3";
        for (payload, expected) in
            [(None, Err(missing)), (Some(r#""7""#), Err(wrong)), (Some("8"), Err("not seven")), (Some("7"), Ok(()))]
        {
            let validated = Hooks::validate_payload(&hooks, connection(payload)).await;
            assert_eq!(validated, expected.map_err(HookError::new), "{payload:?}");
        }
        assert_eq!(*seen.lock().unwrap(), [(8, "store".to_owned()), (7, "store".to_owned())]);
    }
}
