//! A LiveStore client in Rust.
//!
//! [`local`] is the offline store: events committed on this machine, online or not, and kept in
//! step with a sync backend.

pub mod local;
