//! Bytes that the server holds on behalf of somebody. Each connection has a [`Budget`], a child of its store's,
//! which is a child of the one of the process: what a connection makes the server hold (pages, frames, pushes
//! that wait, unfinished messages, notes) is taken from all three, and given back when it is gone.
//!
//! Pure, and on the ground floor: `host` and the platforms take from budgets, and decide what happens where
//! one has no more (stop reading, then close with a reason).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use thiserror::Error;
use tokio::sync::Notify;

/// A connection that holds no more than this may also take from the part of its store's and of the process's
/// budget that is kept for such: so that those who hold much cannot shut out those who want little. Enough for
/// a page with an event of the largest size, or for the push of one.
pub(crate) const MODEST_BYTES: u64 = 2304 * 1024;

/// The part of a shared budget, one in so many, that is kept for the modest.
const RESERVE_PART: u64 = 4;

/// Whose budget it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// All stores of this server, or of this isolate.
    Process,
    /// All connections of a store.
    Store,
    /// One connection or HTTP request.
    Connection,
}

/// Nothing was taken: this budget would have been exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the budget of this {holder:?} is used up: {max} bytes")]
pub(crate) struct Exceeded {
    /// Whose budget it is.
    pub(crate) holder: Holder,
    /// What may be held, in bytes.
    pub(crate) max: u64,
}

/// How many bytes may be held. Cheap to clone; all clones are one budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Level>);

#[derive(Debug)]
struct Level {
    holder: Holder,
    max: u64,
    held: AtomicU64,
    parent: Option<Budget>,
    /// Rings for one of those who wait, when something is given back.
    freed: Notify,
    /// See [`Budget::retire`].
    retired: AtomicBool,
}

impl Budget {
    /// The budget of a process, in bytes.
    pub(crate) fn process(max: u64) -> Self {
        Self::new(Holder::Process, max, None)
    }

    /// The budget of a part: what it takes is taken from this one, too.
    pub(crate) fn child(&self, holder: Holder, max: u64) -> Self {
        Self::new(holder, max, Some(self.clone()))
    }

    fn new(holder: Holder, max: u64, parent: Option<Self>) -> Self {
        Self(Arc::new(Level {
            holder,
            max,
            held: AtomicU64::new(0),
            parent,
            freed: Notify::new(),
            retired: AtomicBool::new(false),
        }))
    }

    /// Gives back to those above it all that is held of it, once, whoever still has it: for a platform that lets go of
    /// the holders without a word. Nothing more can be taken.
    pub(crate) fn retire(&self) {
        let Level { held, parent, retired, .. } = &*self.0;
        if !retired.swap(true, Ordering::Relaxed)
            && let Some(parent) = parent
        {
            parent.give_back(held.load(Ordering::Relaxed), Depth::All);
        }
    }

    /// Whether anybody has this budget, or holds anything of it, beside the one who asks.
    pub(crate) fn is_used(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// What is held now, in bytes.
    pub(crate) fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Takes so many bytes, until the returned value is dropped.
    ///
    /// # Errors
    ///
    /// [`Exceeded`], the innermost: nothing is taken then.
    pub(crate) fn take(&self, bytes: u64) -> Result<Held, Exceeded> {
        let mut held = Held { budget: self.clone(), bytes: 0, depth: Depth::All };
        held.grow(bytes)?;
        Ok(held)
    }

    /// Takes so many bytes as soon as there is room, but never waits for more than this budget may ever hold.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it returns, nothing is taken.
    pub(crate) async fn take_in_turn(&self, bytes: u64) -> Held {
        let bytes = self.possible(bytes);
        let mut woken_by = None;
        let held = loop {
            let exceeded = match self.take(bytes) {
                Ok(held) => break held,
                Err(exceeded) => exceeded,
            };
            let level = self.level(exceeded.holder);
            // Made before the second look, so that nothing is missed that is given back between the two.
            let mut freed = pin!(level.0.freed.notified());
            freed.as_mut().enable();
            match self.take(bytes) {
                Ok(held) => break held,
                // It is another level that has no room now.
                Err(again) if again.holder != exceeded.holder => continue,
                Err(_) => freed.await,
            }
            woken_by = Some(level);
        };
        // There may be room for the next one, too.
        if let Some(level) = woken_by {
            level.0.freed.notify_one();
        }
        held
    }

    /// Takes so many bytes of this budget alone: they are counted elsewhere for those above it.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]: nothing is taken then.
    pub(crate) fn take_own(&self, bytes: u64) -> Result<Held, Exceeded> {
        let Level { holder, max, held, .. } = &*self.0;
        if held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > *max {
            held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Exceeded { holder: *holder, max: *max });
        }
        Ok(Held { budget: self.clone(), bytes, depth: Depth::Own })
    }

    /// Whether this one, or one above it, has given out what is kept for the modest.
    pub(crate) fn is_short(&self) -> bool {
        let Level { holder, max, held, parent, .. } = &*self.0;
        let kept = if *holder == Holder::Connection { 0 } else { max / RESERVE_PART };
        held.load(Ordering::Relaxed) > max - kept || parent.as_ref().is_some_and(Self::is_short)
    }

    /// Takes bytes that are there already, whether or not there is room.
    pub(crate) fn take_anyway(&self, bytes: u64) -> Held {
        let mut level = Some(self);
        while let Some(Self(inner)) = level {
            inner.held.fetch_add(bytes, Ordering::Relaxed);
            level = inner.parent.as_ref();
        }
        Held { budget: self.clone(), bytes, depth: Depth::All }
    }

    /// So many bytes, or the most that can ever be taken at once: for what is there already, or fits nowhere else.
    pub(crate) fn possible(&self, bytes: u64) -> u64 {
        bytes.min(self.largest())
    }

    fn largest(&self) -> u64 {
        let Level { holder, max, parent, .. } = &*self.0;
        let own = if *holder == Holder::Connection { *max } else { max - max / RESERVE_PART };
        parent.as_ref().map_or(own, |parent| own.min(parent.largest()))
    }

    fn level(&self, holder: Holder) -> &Self {
        match &self.0.parent {
            Some(parent) if self.0.holder != holder => parent.level(holder),
            _ => self,
        }
    }

    /// What is to grow.
    pub(crate) fn nothing(&self) -> Held {
        self.take_anyway(0)
    }

    fn charge(&self, bytes: u64, modest: bool) -> Result<(), Exceeded> {
        let Level { holder, max, held, parent, retired, .. } = &*self.0;
        let own = held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // The one who asks is the innermost.
        let (modest, kept) = match holder {
            Holder::Connection => (own <= MODEST_BYTES, 0),
            Holder::Store | Holder::Process => (modest, max / RESERVE_PART),
        };
        let room = if modest { *max } else { max - kept };
        let result = if own > room || retired.load(Ordering::Relaxed) {
            Err(Exceeded { holder: *holder, max: *max })
        } else {
            parent.as_ref().map_or(Ok(()), |parent| parent.charge(bytes, modest))
        };
        if result.is_err() {
            held.fetch_sub(bytes, Ordering::Relaxed);
        }
        result
    }

    fn give_back(&self, bytes: u64, depth: Depth) {
        if bytes == 0 {
            return;
        }
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        self.0.freed.notify_one();
        if let (Depth::All, Some(parent), false) = (depth, &self.0.parent, self.0.retired.load(Ordering::Relaxed)) {
            parent.give_back(bytes, depth);
        }
    }
}

/// Bytes that are held. Dropped, they are given back.
#[derive(Debug)]
pub(crate) struct Held {
    budget: Budget,
    bytes: u64,
    depth: Depth,
}

/// Of which budgets something was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Of this one and of those above it.
    All,
    /// Of this one.
    Own,
}

impl Held {
    /// Takes more.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]: what was held before still is, and no more.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Exceeded> {
        debug_assert_eq!(self.depth, Depth::All, "what is counted elsewhere does not grow here");
        self.budget.charge(bytes, false)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes more of the same budget, to be given back by itself.
    ///
    /// # Errors
    ///
    /// [`Exceeded`]: nothing is taken then.
    pub(crate) fn beside(&self, bytes: u64) -> Result<Self, Exceeded> {
        self.budget.take(bytes)
    }

    /// Takes over what was taken of the same budget.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.budget.0, &other.budget.0) && self.depth == other.depth, "another budget's");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives some back.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.budget.give_back(bytes, self.depth);
        self.bytes -= bytes;
    }

    /// Gives back what there is beyond this.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        self.shrink(self.bytes.saturating_sub(bytes));
    }

    /// How many these are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes, self.depth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn connection(store: &Budget) -> Budget {
        store.child(Holder::Connection, 8 * MIB)
    }

    #[test]
    fn each_level_has_its_limit() {
        let process = Budget::process(40 * MIB);
        let store = process.child(Holder::Store, 20 * MIB);
        let (a, b) = (connection(&store), connection(&store));
        let held = a.take(8 * MIB).expect("all of its own");
        assert_eq!(a.take(1).expect_err("one more"), Exceeded { holder: Holder::Connection, max: 8 * MIB });
        let other = b.take(7 * MIB).expect("the store has 15 MiB for those who want much");
        let refused = Exceeded { holder: Holder::Store, max: 20 * MIB };
        assert_eq!(b.take(MIB).expect_err("from the part that is kept"), refused);
        assert_eq!((a.held(), b.held(), store.held(), process.held()), (8 * MIB, 7 * MIB, 15 * MIB, 15 * MIB));
        drop((held, other));
        assert_eq!((a.held(), b.held(), store.held(), process.held()), (0, 0, 0, 0));
    }

    #[test]
    fn the_process_has_a_limit_for_all_stores() {
        let process = Budget::process(10 * MIB);
        let stores = [process.child(Holder::Store, 20 * MIB), process.child(Holder::Store, 20 * MIB)];
        let _held = connection(&stores[0]).take(7 * MIB).expect("all but the part that is kept");
        let refused = Exceeded { holder: Holder::Process, max: 10 * MIB };
        assert_eq!(connection(&stores[1]).take(MODEST_BYTES + 1).expect_err("too much"), refused);
        let _modest = connection(&stores[1]).take(MODEST_BYTES).expect("a modest one gets in");
    }

    #[tokio::test]
    async fn those_who_wait_get_their_turn() {
        let store = Budget::process(16 * MIB);
        let (a, b, c) = (connection(&store), connection(&store), connection(&store));
        let all = [a.take(8 * MIB), b.take(4 * MIB)].map(|held| held.expect("room"));
        let mut waiting: Vec<_> = [&b, &c].map(|budget| Box::pin(budget.take_in_turn(3 * MIB))).into_iter().collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait).is_pending(), "there is no room");
        }
        drop(all);
        // One ring is enough: who got room passes it on.
        let (second, first) = (waiting.pop().expect("two"), waiting.pop().expect("two"));
        assert_eq!((first.await.bytes(), second.await.bytes()), (3 * MIB, 3 * MIB));
        assert_eq!(store.held(), 0);
        let most = a.take_in_turn(100 * MIB).await;
        assert_eq!(most.bytes(), 8 * MIB, "nobody waits for what there never is");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_passes_its_turn_on() {
        let store = Budget::process(16 * MIB);
        let own = connection(&store);
        let held = own.take(8 * MIB).expect("room");
        let mut gone = Box::pin(own.take_in_turn(MIB));
        let mut next = Box::pin(own.take_in_turn(MIB));
        assert!(futures_util::poll!(&mut gone).is_pending());
        assert!(futures_util::poll!(&mut next).is_pending());
        drop(held);
        drop(gone);
        assert_eq!(next.await.bytes(), MIB);
    }

    #[test]
    fn what_is_there_already_counts() {
        let store = Budget::process(8 * MIB);
        let own = connection(&store);
        let held = own.take_anyway(20 * MIB);
        assert_eq!((own.held(), store.held()), (20 * MIB, 20 * MIB));
        own.take(1).expect_err("no room");
        drop(held);
        assert_eq!((own.held(), store.held()), (0, 0));
    }

    #[test]
    fn what_grew_and_shrank_is_given_back_once() {
        let store = Budget::process(8 * MIB);
        let connection = connection(&store);
        let mut held = connection.take(10).expect("room");
        held.grow(15).expect("room");
        held.absorb(connection.take(5).expect("room"));
        held.grow(8 * MIB).expect_err("no room");
        assert_eq!((held.bytes(), store.held()), (30, 30));
        held.shrink(25);
        held.shrink(25);
        assert_eq!((held.bytes(), store.held()), (0, 0));
        drop(held);
        assert_eq!(store.held(), 0);
    }
}
