//! The home on Cloudflare Workers: a Worker that decides who may connect, and a Durable Object for
//! each store.

pub mod panic;
