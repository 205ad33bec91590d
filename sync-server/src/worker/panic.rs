//! What a panic leaves behind.
//!
//! A panic aborts the whole wasm instance: stable Rust cannot unwind on wasm32. worker-build's shim
//! makes a new instance before the next call and each object anew at its next event, but nobody
//! answers the calls that were in flight, of any object in the isolate: they would hang for ever.
//! The panic hook still runs, and so does JavaScript. So each call is raced, in JavaScript, against
//! the death of the instance:
//!
//! - callers in flight, of every object of the instance, get an error at once; an answer that is being
//!   sent already breaks off;
//! - the WebSockets of those objects are closed with [`CloseCode::Crashed`]: clients
//!   come back and continue from what is stored;
//! - an object without calls in flight goes on at its next event with what its sockets carry, as after
//!   hibernation;
//! - promises of the dead instance that settle later are refused instead of running in the new one.
//!
//! The same for a trap without a panic, such as a stack overflow. Nothing that was acknowledged is
//! lost, because acknowledged means committed.
//!
//! `#[durable_object]` cannot have this: its methods are async, and only a dead instance could
//! settle their promises. So ours are plain methods that return [`guard`]'s promise.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;

use ::worker::js_sys::Promise;
use ::worker::wasm_bindgen::prelude::*;
use ::worker::worker_sys::web_sys::{self, ReadableStream};
use ::worker::{Response, State, wasm_bindgen, wasm_bindgen_futures};
use futures_util::{Stream, StreamExt};

use crate::close::CloseCode;

#[wasm_bindgen(wasm_bindgen = wasm_bindgen, module = "/src/worker/panic.js")]
extern "C" {
    type Panics;

    // One import for all: wasm-bindgen 0.2.130 lists a module once per imported function.
    #[wasm_bindgen(thread_local_v2, js_name = panics)]
    static PANICS: Panics;

    #[wasm_bindgen(method)]
    fn watch(this: &Panics, ctx: &JsValue, code: u16, reason: &str);

    #[wasm_bindgen(method)]
    fn guard(this: &Panics, ctx: &JsValue, work: &Promise, code: u16, reason: &str) -> Promise;

    #[wasm_bindgen(method)]
    fn stream(this: &Panics, inner: &ReadableStream) -> ReadableStream;

    #[wasm_bindgen(method, catch)]
    fn fail(this: &Panics) -> Result<(), JsValue>;
}

/// To be called by the constructor of an object. Closes its sockets if an object on this state died
/// with calls in flight: [`guard`] does so at once, but with a compatibility date before 2024-10-14 it
/// cannot do it for other objects than the one that panicked.
pub(super) fn watch(state: &State) {
    install();
    PANICS
        .with(|panics| panics.watch(state.as_raw().as_ref(), CloseCode::Crashed.number(), CloseCode::Crashed.reason()));
}

/// Runs a call of the object. The promise is the call's result, or fails as soon as the instance dies.
///
/// Everything that an object does for a client belongs in here, work in the background included.
pub(super) fn guard<T: Into<JsValue>>(
    state: &State,
    work: impl Future<Output = ::worker::Result<T>> + 'static,
) -> Promise {
    guard_boxed(state, Box::pin(async move { work.await.map(Into::into).map_err(Into::into) }))
}

/// Once in the code for all calls.
fn guard_boxed(state: &State, work: Pin<Box<dyn Future<Output = Result<JsValue, JsValue>>>>) -> Promise {
    install();
    let work = wasm_bindgen_futures::future_to_promise(work);
    PANICS.with(|panics| {
        panics.guard(state.as_raw().as_ref(), &work, CloseCode::Crashed.number(), CloseCode::Crashed.reason())
    })
}

/// A body of these parts. It breaks off as soon as the instance dies.
pub(super) fn stream(parts: impl Stream<Item = Vec<u8>> + 'static) -> ::worker::Result<ReadableStream> {
    install();
    let response = Response::from_stream(parts.map(Ok::<_, ::worker::Error>))?;
    let body = web_sys::Response::from(response).body().ok_or("a stream is a body")?;
    Ok(PANICS.with(|panics| panics.stream(&body)))
}

/// Once per instance, and late: the `worker` crate installs its own at the start.
fn install() {
    thread_local! { static INSTALLED: Cell<bool> = const { Cell::new(false) } }
    if INSTALLED.replace(true) {
        return;
    }
    let log = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log(panic);
        // There is nothing left to do about an error.
        PANICS.with(Panics::fail).ok();
    }));
    // Replaces the one of `worker`, which makes a new instance in the middle of whatever call comes
    // next: a callback that belongs to the dead instance would then run in the new one, with pointers
    // into memory that is no more. Without it such callbacks get an error, and the shim makes the
    // new instance at the next call from outside.
    wasm_bindgen::handler::set_on_abort(|| ());
}
