//! Frames that wait to be handed to JavaScript together. Decides nothing.

use std::cell::RefCell;

use ::worker::WebSocket;
use ::worker::js_sys::{Array, JsString};
use ::worker::wasm_bindgen;
use ::worker::wasm_bindgen::prelude::*;
use ::worker::worker_sys::web_sys;

use super::packed::Packed;
use crate::frame::Frame;
use crate::worker::end::End;

#[wasm_bindgen(wasm_bindgen = wasm_bindgen, module = "/src/worker/fan_out/sending.js")]
extern "C" {
    type FanOut;

    #[wasm_bindgen(thread_local_v2, js_name = fanOut)]
    static FAN_OUT: FanOut;

    #[wasm_bindgen(method)]
    fn send(this: &FanOut, sockets: &Array, frames: &[u32], envelopes: &str, cuts: &[u32], bodies: &Array) -> Vec<u32>;
}

thread_local! {
    /// An isolate has one thread, and a commit is published without a pause: these are the frames of one object.
    static WAITING: RefCell<Waiting> = RefCell::default();
}

#[derive(Default)]
struct Waiting {
    sockets: Array,
    /// Of each socket, what has come when it is found to be closing.
    ends: Vec<End>,
    packed: Packed,
}

/// Adds a frame to those that wait for [`send`].
pub(in crate::worker) fn add(socket: &WebSocket, end: &End, frame: &Frame) {
    WAITING.with_borrow_mut(|waiting| {
        let socket: &web_sys::WebSocket = socket.as_ref();
        waiting.sockets.push(socket);
        waiting.ends.push(end.clone());
        let (head, tail) = frame.envelope();
        waiting.packed.push(head, frame.body(), tail);
    });
}

/// Whether frames wait to be sent.
pub(in crate::worker) fn is_waiting() -> bool {
    WAITING.with_borrow(|waiting| !waiting.packed.is_empty())
}

/// Sends what waits.
pub(in crate::worker) fn send() {
    let Waiting { sockets, ends, packed } = WAITING.take();
    if packed.is_empty() {
        return;
    }
    let bodies: Array = packed.bodies.iter().map(|body| JsString::from(&**body)).collect();
    let closing =
        FAN_OUT.with(|fan_out| fan_out.send(&sockets, &packed.frames, &packed.envelopes, &packed.cuts, &bodies));
    // Their clients will notice without us.
    closing.into_iter().filter_map(|place| ends.get(place as usize)).for_each(End::end);
}
