//! Clients that are Durable Objects themselves. Their live pulls end like others, and what is pushed
//! later is brought to them by calling them: one call after another, so that events keep their order,
//! each client on its own, so that none waits for another.
//!
//! A client has one live pull. Who it is and how far it got outlives the object's memory: an object that
//! dies between its calls begins where they ended. (A call that was made and not yet noted is then made
//! again. The client's store stops at an event that it has already; after a missing one it would go on.)
//!
//! `queue` decides, free of JavaScript and of I/O; `calls` does what it says. The object opens this room
//! with its store and asks it for a place for each live pull that comes by a call.

#[cfg(target_family = "wasm")]
mod calls;
mod queue;

#[cfg(target_family = "wasm")]
pub(super) use self::calls::{Answering, Subscribers};
