//! What is published, on its way to many sockets: collected while the hub goes through them, and handed to JavaScript in
//! one call, with each shared body once. For each frame of its own that would be a call, and a text to decode, per
//! socket. Called by `socket`, for the frames of one commit.
//!
//! `packed` says how the frames cross, and is pure and tested on the host; `sending` sends them.

mod packed;
#[cfg(target_family = "wasm")]
mod sending;

#[cfg(target_family = "wasm")]
pub(super) use self::sending::{add, is_waiting, send};
