use worker::Env;

use super::ObjectOptions;

/// For [`make_durable_object!`](crate::make_durable_object).
#[doc(hidden)]
pub mod macro_scope {
    pub use worker::Env;
    pub use worker::js_sys::{Promise, Uint8Array};
    pub use worker::wasm_bindgen::{self, JsValue};
    pub use worker::worker_sys::DurableObjectState;
    pub use worker::worker_sys::web_sys::{Request, WebSocket};
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
#[macro_export]
macro_rules! make_durable_object {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident; options = $options:expr $(;)?) => {
        // wasm-bindgen's macros look for some of this by name.
        #[allow(unused_imports)]
        use $crate::worker::macro_scope::*;

        $(#[$attribute])*
        #[$crate::worker::macro_scope::wasm_bindgen::prelude::wasm_bindgen(
            wasm_bindgen = $crate::worker::macro_scope::wasm_bindgen
        )]
        $visibility struct $name($crate::worker::SyncObject);

        // `worker::durable_object` makes async methods, whose callers hang when one panics.
        #[$crate::worker::macro_scope::wasm_bindgen::prelude::wasm_bindgen(
            wasm_bindgen = $crate::worker::macro_scope::wasm_bindgen
        )]
        impl $name {
            #[doc(hidden)]
            #[wasm_bindgen(constructor)]
            pub fn new(state: $crate::worker::macro_scope::DurableObjectState, env: $crate::worker::macro_scope::Env) -> Self {
                let options = $crate::worker::ObjectSetup::options($options, &env);
                Self($crate::worker::SyncObject::new(state.into(), env, options))
            }

            #[doc(hidden)]
            pub fn fetch(&self, request: $crate::worker::macro_scope::Request) -> $crate::worker::macro_scope::Promise {
                self.0.fetch(request.into())
            }

            #[doc(hidden)]
            pub fn alarm(&self) -> $crate::worker::macro_scope::Promise {
                self.0.alarm()
            }

            #[doc(hidden)]
            #[wasm_bindgen(js_name = webSocketMessage)]
            pub fn websocket_message(
                &self,
                socket: $crate::worker::macro_scope::WebSocket,
                message: $crate::worker::macro_scope::JsValue,
            ) -> $crate::worker::macro_scope::Promise {
                self.0.websocket_message(socket.into(), message)
            }

            #[doc(hidden)]
            #[wasm_bindgen(js_name = webSocketClose)]
            pub fn websocket_close(
                &self,
                socket: $crate::worker::macro_scope::WebSocket,
                code: u32,
                reason: String,
            ) -> $crate::worker::macro_scope::Promise {
                self.0.websocket_close(socket.into(), code, reason)
            }

            #[doc(hidden)]
            pub fn rpc(
                &self,
                message: $crate::worker::macro_scope::Uint8Array,
            ) -> $crate::worker::macro_scope::Promise {
                self.0.rpc(message.to_vec())
            }

            #[doc(hidden)]
            #[wasm_bindgen(js_name = webSocketError)]
            pub fn websocket_error(
                &self,
                socket: $crate::worker::macro_scope::WebSocket,
            ) -> $crate::worker::macro_scope::Promise {
                self.0.websocket_error(socket.into())
            }
        }
    };
}
