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

/// A connection that holds no more than this is given it whatever others hold: who reads its acknowledgements and pongs is
/// not to suffer from those who read nothing. All of them together are some MB beyond the limit.
const LITTLE_BYTES: u64 = 4 * 1024;

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

    fn charge(&self, bytes: u64, wants: Wants) -> Result<(), Exceeded> {
        let Level { holder, max, held, parent, retired, .. } = &*self.0;
        let own = held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        // The one who asks is the innermost.
        let wants = match holder {
            Holder::Connection => Wants::of(own),
            Holder::Store | Holder::Process => wants,
        };
        let room = match (holder, wants) {
            (Holder::Connection, _) | (_, Wants::Some) => *max,
            (_, Wants::Much) => max - max / RESERVE_PART,
            (_, Wants::Little) => u64::MAX,
        };
        let result = if own > room || retired.load(Ordering::Relaxed) {
            Err(Exceeded { holder: *holder, max: *max })
        } else {
            parent.as_ref().map_or(Ok(()), |parent| parent.charge(bytes, wants))
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

/// What the connection that asks would hold then.
#[derive(Clone, Copy)]
enum Wants {
    /// See [`LITTLE_BYTES`].
    Little,
    /// See [`MODEST_BYTES`].
    Some,
    Much,
}

impl Wants {
    fn of(bytes: u64) -> Self {
        if bytes <= LITTLE_BYTES {
            Self::Little
        } else if bytes <= MODEST_BYTES {
            Self::Some
        } else {
            Self::Much
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
        self.budget.charge(bytes, Wants::Much)?;
        self.bytes += bytes;
        Ok(())
    }

    /// So many of them, to be given back apart from the others.
    pub(crate) fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { budget: self.budget.clone(), bytes, depth: self.depth }
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
mod tests;
