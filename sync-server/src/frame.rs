//! A frame on its way to a client: an envelope of its own around events that it may share with other receivers.
//! Sessions make it, `host` hands it on, links write it. What many receive is rendered once and held once.
//!
//! Pure, and on the ground floor.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use livestore_sync_protocol::{Chunk, Envelope};

use crate::budget::{Budget, Exceeded, Held};

/// A frame, in the parts that its bytes are made of. Links put them together when they write, not before.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    head: String,
    body: Option<Arc<str>>,
    tail: String,
    /// Where the body is held once for all receivers.
    shared: Option<Arc<HeldOnce>>,
    /// What the body takes of its receiver's budget since it was read, where it was.
    own: Option<Arc<Held>>,
    /// Whether it is sooner there as it is than made smaller first.
    hurried: bool,
}

/// What the bodies of a commit take of their store's budget, and what links made of them: once for all receivers.
#[derive(Debug)]
pub(crate) struct HeldOnce {
    held: Held,
    packed: Mutex<Vec<(Arc<str>, PackedOnce)>>,
}

/// `None` where packing does not pay, or has no room.
type PackedOnce = Arc<OnceLock<Option<Packed>>>;

/// A body, made smaller.
#[derive(Debug)]
struct Packed {
    bytes: Bytes,
    /// What it takes.
    _held: Held,
}

impl From<Held> for HeldOnce {
    fn from(held: Held) -> Self {
        Self { held, packed: Mutex::default() }
    }
}

impl HeldOnce {
    /// The body as `pack` makes it, which the first who asks calls. Nobody gets what there is no room for.
    fn packed(&self, body: &Arc<str>, pack: impl FnOnce(&str) -> Option<Vec<u8>>) -> Option<Bytes> {
        let cell = {
            let mut bodies = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, cell)) = bodies.iter().find(|(known, _)| Arc::ptr_eq(known, body)) {
                Arc::clone(cell)
            } else {
                let cell = PackedOnce::default();
                bodies.push((Arc::clone(body), Arc::clone(&cell)));
                cell
            }
        };
        let packed = cell.get_or_init(|| {
            let mut held = self.held.beside(body.len() as u64).ok()?;
            let bytes = pack(body)?;
            held.shrink_to(bytes.len() as u64);
            Some(Packed { bytes: bytes.into(), _held: held })
        });
        packed.as_ref().map(|packed| packed.bytes.clone())
    }
}

impl Frame {
    /// The envelope around a chunk; without one, around nothing.
    pub(crate) fn new(envelope: Envelope, chunk: Option<&Chunk>) -> Self {
        let Envelope { head, tail } = envelope;
        Self { head, body: chunk.map(|chunk| Arc::clone(&chunk.items)), tail, shared: None, own: None, hurried: false }
    }

    /// The same, whose body was taken from the receiver's budget before.
    pub(crate) fn holding(self, held: Held) -> Self {
        Self { own: Some(Arc::new(held)), ..self }
    }

    /// The same, which goes out as it is if the link is so fast that making it smaller takes longer than it saves.
    pub(crate) fn hurried(self, hurried: bool) -> Self {
        Self { hurried, ..self }
    }

    /// The same, whose body many receive: it is held once for all of them.
    pub(crate) fn shared(self, held: &Arc<HeldOnce>) -> Self {
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

    /// The body as `pack` makes it smaller; for all receivers once.
    pub(crate) fn packed(&self, pack: impl FnOnce(&str) -> Option<Vec<u8>>) -> Option<Bytes> {
        let body = self.body.as_ref()?;
        match &self.shared {
            Some(shared) => shared.packed(body, pack),
            None if self.hurried => None,
            None => pack(body).map(Bytes::from),
        }
    }

    /// Its parts, whose body is not copied, and what that takes while it is shared.
    pub(crate) fn into_parts(self) -> ([Bytes; 3], Option<Arc<HeldOnce>>) {
        let Self { head, body, tail, shared, .. } = self;
        let body = body.map_or_else(Bytes::new, |text| Bytes::from_owner(SharedText(text)));
        ([head.into(), body, tail.into()], shared)
    }

    /// The whole text. Copies the body.
    pub(crate) fn into_text(self) -> String {
        let Self { head, body, tail, .. } = self;
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
        Self { head, body: None, tail: String::new(), shared: None, own: None, hurried: false }
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
        let held = Arc::new(HeldOnce::from(store.take_anyway(600)));
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
    fn a_body_is_packed_once_for_all_who_share_it() {
        let store = Budget::process(1_600);
        let chunk = |letter: &str| Chunk {
            items: letter.repeat(600).into(),
            events: 1,
            first: SeqNum::ROOT,
            last: SeqNum::ROOT,
        };
        let chunks = [chunk("x"), chunk("y")];
        let held = Arc::new(HeldOnce::from(store.take_anyway(600)));
        let frame = |chunk: &Chunk| Frame::new(Envelope { head: "[".into(), tail: "]".into() }, Some(chunk));
        let shared = |chunk| frame(chunk).hurried(true).shared(&held);
        let pack = |body: &str| Some(body.as_bytes()[..100].to_vec());
        let first = shared(&chunks[0]).packed(pack).expect("there is room");
        assert_eq!((&first[..], store.held()), (&[b'x'; 100][..], 700));
        let again = shared(&chunks[0]).packed(|_| unreachable!("it is there")).expect("as before");
        assert_eq!(again.as_ptr(), first.as_ptr());
        // While it is made it may be as large as it was.
        assert_eq!(shared(&chunks[1]).packed(pack), None, "1,200 bytes are for those who want much");
        assert_eq!(store.held(), 700);
        drop(held);
        assert_eq!(store.held(), 0);
        // What nobody shares is packed for its receiver, unless that would keep it waiting.
        assert!(frame(&chunks[1]).packed(pack).is_some());
        assert_eq!(frame(&chunks[1]).hurried(true).packed(pack), None);
        assert_eq!(Frame::from(String::new()).packed(pack), None);
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
