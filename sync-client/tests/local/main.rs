//! The offline store over a backend in memory.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod converge;
mod faults;
