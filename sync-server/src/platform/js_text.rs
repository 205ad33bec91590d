//! Long texts from JavaScript. What wasm-bindgen does for all texts, character by character until one
//! is not ASCII, takes longer than anything else about a page or a push.

use worker::js_sys::{JsString, Uint8Array};
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen::{self, JsCast, JsValue};

/// In UTF-16 units. For shorter ones, a call more costs more than it saves.
const SHORT_MAX: u32 = 256;

#[wasm_bindgen(wasm_bindgen = wasm_bindgen, module = "/src/platform/js_text.js")]
extern "C" {
    /// UTF-8, with U+FFFD in place of lone surrogates, as wasm-bindgen has it.
    fn encode(text: &JsString) -> Uint8Array;
}

/// `None` when the value is not a text.
pub(crate) fn read(value: &JsValue) -> Option<String> {
    let text: &JsString = value.dyn_ref()?;
    if text.length() <= SHORT_MAX { value.as_string() } else { String::from_utf8(encode(text).to_vec()).ok() }
}
