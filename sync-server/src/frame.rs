//! A frame on its way to a client: an envelope of its own around events that it may share with other receivers.
//! Sessions make it, `host` hands it on, links write it. What many receive is rendered once and held once.
//!
//! Pure, and on the ground floor.

use std::sync::Arc;

use bytes::Bytes;
use livestore_sync_protocol::{Chunk, Envelope};

use crate::budget::{Budget, Exceeded, Held};

/// A frame, in the parts that its bytes are made of. Links put them together when they write, not before.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    head: String,
    body: Option<Arc<str>>,
    tail: String,
    /// What the body takes of its store's budget, where that is counted once for all receivers.
    shared: Option<Arc<Held>>,
    /// What the body takes of its receiver's budget since it was read, where it was.
    own: Option<Arc<Held>>,
}

impl Frame {
    /// The envelope around a chunk; without one, around nothing.
    pub(crate) fn new(envelope: Envelope, chunk: Option<&Chunk>) -> Self {
        let Envelope { head, tail } = envelope;
        Self { head, body: chunk.map(|chunk| Arc::clone(&chunk.items)), tail, shared: None, own: None }
    }

    /// The same, whose body was taken from the receiver's budget before.
    pub(crate) fn holding(self, held: Held) -> Self {
        Self { own: Some(Arc::new(held)), ..self }
    }

    /// The same, whose body many receive: it is held once for all of them.
    pub(crate) fn shared(self, held: &Arc<Held>) -> Self {
        match self.body {
            Some(_) => Self { shared: Some(Arc::clone(held)), ..self },
            None => self,
        }
    }

    /// Its size, in bytes.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.body.as_deref().map_or(0, str::len) + self.tail.len()
    }

    /// Takes what it makes the server hold, for as long as it waits for this receiver. A single frame always fits
    /// into an empty budget.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]: the receiver has as much waiting as it may.
    pub(crate) fn take_from(&self, budget: &Budget) -> Result<Held, Exceeded> {
        let bytes = budget.possible(self.len() as u64);
        if self.shared.is_some() { budget.take_own(bytes) } else { budget.take(bytes) }
    }

    /// Takes the same as soon as there is room; at once where its body was taken when it was read, since what makes room
    /// may be that this frame goes out.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing is taken.
    pub(crate) async fn take_in_turn(&mut self, budget: &Budget) -> Held {
        match self.own.take().and_then(Arc::into_inner) {
            Some(mut held) => {
                held.absorb(budget.take_anyway((self.len() as u64).saturating_sub(held.bytes())));
                held
            }
            None => budget.take_in_turn(self.len() as u64).await,
        }
    }

    /// Whether its body is held for other receivers, too.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// What differs between receivers: before the events, and behind them.
    pub(crate) fn envelope(&self) -> (&str, &str) {
        (&self.head, &self.tail)
    }

    /// The events. Frames of one commit have the same, by its address.
    pub(crate) fn body(&self) -> Option<&Arc<str>> {
        self.body.as_ref()
    }

    /// Its parts, whose body is not copied, and what that takes while it is shared.
    pub(crate) fn into_parts(self) -> ([Bytes; 3], Option<Arc<Held>>) {
        let Self { head, body, tail, shared, own: _ } = self;
        let body = body.map_or_else(Bytes::new, |text| Bytes::from_owner(SharedText(text)));
        ([head.into(), body, tail.into()], shared)
    }

    /// The whole text. Copies the body.
    pub(crate) fn into_text(self) -> String {
        let Self { head, body, tail, shared: _, own: _ } = self;
        let mut text = head;
        text.reserve_exact(body.as_deref().map_or(0, str::len) + tail.len());
        text.extend(body.as_deref());
        text.push_str(&tail);
        text
    }
}

/// A body as bytes.
struct SharedText(Arc<str>);

impl AsRef<[u8]> for SharedText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A frame that is nobody else's.
impl From<String> for Frame {
    fn from(head: String) -> Self {
        Self { head, body: None, tail: String::new(), shared: None, own: None }
    }
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::SeqNum;

    use super::*;
    use crate::budget::Holder;

    #[test]
    fn a_body_is_rendered_and_held_once_for_all() {
        let store = Budget::process(8 << 20);
        let receivers = [1, 2].map(|_| store.child(Holder::Connection, 1000));
        let chunk = Chunk { items: "x".repeat(600).into(), events: 1, first: SeqNum::ROOT, last: SeqNum::ROOT };
        let held = Arc::new(store.take_anyway(600));
        let frame = |id: &str| {
            let envelope = Envelope { head: format!("{id}["), tail: "]".into() };
            Frame::new(envelope, Some(&chunk)).shared(&held)
        };
        let (first, second) = (frame("a"), frame("b"));
        assert!(Arc::ptr_eq(first.body().expect("events"), second.body().expect("events")));
        assert_eq!((first.envelope(), first.is_shared()), (("a[", "]"), true));
        let taken = receivers.each_ref().map(|budget| first.take_from(budget).expect("room"));
        assert_eq!(store.held(), 600, "once");
        second.take_from(&receivers[0]).expect_err("each has a limit of its own");
        assert_eq!((first.len(), first.into_text().len()), (603, 603));
        drop((taken, held));
        assert_eq!((store.held(), receivers[0].held()), (600, 0), "the second still holds it");
        drop(second);
        assert_eq!(store.held(), 0);
    }

    #[test]
    fn a_single_frame_always_fits() {
        let budget = Budget::process(1 << 20).child(Holder::Connection, 10);
        let frame = Frame::from("x".repeat(100));
        let held = frame.take_from(&budget).expect("it is the only one");
        assert_eq!(held.bytes(), 10);
        frame.take_from(&budget).expect_err("another one waits");
    }
}
