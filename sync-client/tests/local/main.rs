//! The offline store over a backend in memory.

#[path = "../support/mod.rs"]
mod support;

mod basics;
mod faults;
