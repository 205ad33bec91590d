//! [`make_durable_object!`](crate::make_durable_object): the class that the platform makes an object of,
//! around [`SyncObject`](super::SyncObject), which has the code.
//!
//! `worker::durable_object` cannot be used for it: its methods are async, and callers of an async method
//! hang when the instance panics (see `panic`). What the macro expands to must not touch the caller's names,
//! nor depend on them. So the class is in an anonymous block, because the derive of wasm-bindgen wants its
//! crate by name; the expression `options = …` stays outside of that block, where the caller wrote it. A
//! trait brings the two together.

use worker::Env;

use super::ObjectOptions;

/// For [`make_durable_object!`](crate::make_durable_object).
#[doc(hidden)]
pub mod macro_scope {
    pub use std::string::String;
    pub use std::vec::Vec;

    pub use worker::Env;
    pub use worker::js_sys::{Promise, Uint8Array};
    pub use worker::wasm_bindgen::{self, JsValue};
    pub use worker::worker_sys::DurableObjectState;
    pub use worker::worker_sys::web_sys::{Request, WebSocket};

    use super::ObjectOptions;

    /// What the type that the macro declares knows of the caller.
    pub trait Declared {
        /// The value of `options = …`.
        fn options(self, env: &Env) -> ObjectOptions;
    }
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

/// Declares the Durable Object class of a store. `options` is an [`ObjectOptions`], or a function from the
/// object's [`Env`] to one; it is evaluated each time that the platform makes an object.
///
/// ```ignore
/// use livestore_sync_server::make_durable_object;
/// use livestore_sync_server::worker::ObjectOptions;
/// use worker::*;
///
/// make_durable_object! {
///     /// The object of one store.
///     pub struct WebSocketServer;
///     options = |env: &Env| ObjectOptions::new().hooks(hooks(env)).forward_headers(&["cookie"]);
/// }
/// ```
///
/// JavaScript sees a class of this name, which is what `class_name` in the wrangler configuration says. The
/// Rust type of this name only stands for it: the platform makes the objects.
#[macro_export]
macro_rules! make_durable_object {
    ($(#[$attribute:meta])* $visibility:vis struct $name:ident; options = $options:expr $(;)?) => {
        $(#[$attribute])*
        $visibility struct $name;

        impl $crate::worker::macro_scope::Declared for $name {
            fn options(self, env: &$crate::worker::macro_scope::Env) -> $crate::worker::ObjectOptions {
                $crate::worker::ObjectSetup::options($options, env)
            }
        }

        const _: () = {
            use $crate::worker::macro_scope::{self, wasm_bindgen};

            #[wasm_bindgen::prelude::wasm_bindgen(wasm_bindgen = wasm_bindgen, js_name = $name)]
            pub struct Object($crate::worker::SyncObject);

            #[wasm_bindgen::prelude::wasm_bindgen(wasm_bindgen = wasm_bindgen, js_class = $name)]
            impl Object {
                #[wasm_bindgen(constructor)]
                pub fn new(state: macro_scope::DurableObjectState, env: macro_scope::Env) -> Self {
                    let options = macro_scope::Declared::options($name, &env);
                    Self($crate::worker::SyncObject::new(state.into(), env, options))
                }

                pub fn fetch(&self, request: macro_scope::Request) -> macro_scope::Promise {
                    self.0.fetch(request.into())
                }

                pub fn alarm(&self) -> macro_scope::Promise {
                    self.0.alarm()
                }

                #[wasm_bindgen(js_name = webSocketMessage)]
                pub fn websocket_message(
                    &self,
                    socket: macro_scope::WebSocket,
                    message: macro_scope::JsValue,
                ) -> macro_scope::JsValue {
                    self.0.websocket_message(socket.into(), message)
                }

                #[wasm_bindgen(js_name = webSocketAcks)]
                pub fn websocket_acks(&self, places: macro_scope::Vec<u32>, frame: macro_scope::String) {
                    self.0.websocket_acks(places, &frame);
                }

                #[wasm_bindgen(js_name = webSocketClose)]
                pub fn websocket_close(
                    &self,
                    socket: macro_scope::WebSocket,
                    code: u32,
                    reason: macro_scope::String,
                ) -> macro_scope::Promise {
                    self.0.websocket_close(socket.into(), code, reason)
                }

                #[wasm_bindgen(js_name = webSocketError)]
                pub fn websocket_error(&self, socket: macro_scope::WebSocket) -> macro_scope::Promise {
                    self.0.websocket_error(socket.into())
                }

                pub fn rpc(&self, message: macro_scope::Uint8Array) -> macro_scope::Promise {
                    self.0.rpc(message.to_vec())
                }
            }
        };
    };
}
