//! Long texts from JavaScript, for pages, pushes and rows. wasm-bindgen copies a text character by character
//! until one is not ASCII, which takes longer than anything else about a page or a push; JavaScript's
//! `TextEncoder` copies it at once.

use worker::js_sys::{JsString, Uint8Array};
use worker::wasm_bindgen::prelude::wasm_bindgen;
use worker::wasm_bindgen::{self, JsCast, JsValue};

/// Texts of up to this length, in UTF-16 units, are left to wasm-bindgen: `encode` is a second call into
/// JavaScript, and on a short text that call takes longer than copying character by character.
const SHORT_MAX: u32 = 256;

#[wasm_bindgen(wasm_bindgen = wasm_bindgen, module = "/src/platform/js_text.js")]
extern "C" {
    /// The value, if it is a text of at most so many UTF-16 units.
    fn short(value: &JsValue, max: u32) -> Option<String>;

    /// UTF-8, with U+FFFD in place of lone surrogates, as wasm-bindgen has it.
    fn encode(text: &JsString) -> Uint8Array;
}

/// `None` when the value is not a text.
pub(crate) fn read(value: &JsValue) -> Option<String> {
    // One call for what is most often there.
    short(value, SHORT_MAX).or_else(|| String::from_utf8(encode(value.dyn_ref()?).to_vec()).ok())
}
