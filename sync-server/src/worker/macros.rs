use worker::Env;

use super::ObjectOptions;

/// For [`make_durable_object!`](crate::make_durable_object).
#[doc(hidden)]
pub mod macro_scope {
    pub use worker::wasm_bindgen;
}

/// What `options = …` of [`make_durable_object!`](crate::make_durable_object) may be.
pub trait ObjectSetup {
    /// The options of an object with this environment.
    fn options(self, env: &Env) -> ObjectOptions;
}

impl ObjectSetup for ObjectOptions {
    fn options(self, _env: &Env) -> ObjectOptions {
        self
    }
}

impl<F: FnOnce(&Env) -> ObjectOptions> ObjectSetup for F {
    fn options(self, env: &Env) -> ObjectOptions {
        self(env)
    }
}

/// Makes the Durable Object of a store. `options` is an [`ObjectOptions`], or a function from the
/// object's [`Env`] to one.
///
/// ```ignore
/// make_durable_object! {
///     /// The object of one store.
///     pub struct WebSocketServer;
///     options = |env: &worker::Env| ObjectOptions::new().forward_headers(&["cookie"]);
/// }
/// ```
///
/// The crate that uses it depends on `worker`, too.
#[macro_export]
macro_rules! make_durable_object {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident; options = $options:expr $(;)?) => {
        // Found by name in what `worker`'s macro makes.
        #[allow(unused_imports)]
        use $crate::worker::macro_scope::*;

        $(#[$attribute])*
        #[::worker::durable_object]
        $visibility struct $name($crate::worker::SyncObject);

        impl ::worker::DurableObject for $name {
            fn new(state: ::worker::State, env: ::worker::Env) -> Self {
                let options = $crate::worker::ObjectSetup::options($options, &env);
                Self($crate::worker::SyncObject::new(state, env, options))
            }

            async fn fetch(&self, request: ::worker::Request) -> ::worker::Result<::worker::Response> {
                self.0.fetch(request).await
            }

            async fn alarm(&self) -> ::worker::Result<::worker::Response> {
                self.0.alarm().await
            }

            async fn websocket_message(
                &self,
                socket: ::worker::WebSocket,
                message: ::worker::WebSocketIncomingMessage,
            ) -> ::worker::Result<()> {
                self.0.websocket_message(socket, message).await
            }

            async fn websocket_close(
                &self,
                socket: ::worker::WebSocket,
                code: usize,
                reason: String,
                _was_clean: bool,
            ) -> ::worker::Result<()> {
                self.0.websocket_close(socket, code, &reason).await
            }

            async fn websocket_error(
                &self,
                socket: ::worker::WebSocket,
                _error: ::worker::Error,
            ) -> ::worker::Result<()> {
                self.0.websocket_error(socket).await
            }
        }
    };
}
