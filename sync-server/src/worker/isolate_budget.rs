//! What the objects of an isolate hold together: it has one memory for all of them. Pure; `open_store` asks when an
//! object comes into memory.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::budget::{Budget, Holder};
use crate::limits::Limits;

thread_local! {
    /// An isolate has one thread.
    static STORES: RefCell<Option<Stores>> = const { RefCell::new(None) };
}

/// The budget of the store of an object that comes into memory. The first one decides how much the isolate may hold.
pub(super) fn open(object: String, limits: &Limits) -> Budget {
    STORES.with_borrow_mut(|stores| stores.get_or_insert_with(|| Stores::new(limits)).open(object, limits))
}

struct Stores {
    isolate: Budget,
    /// By the id of their object.
    open: HashMap<String, Budget>,
}

impl Stores {
    fn new(limits: &Limits) -> Self {
        let max = limits.memory_bytes_max.unwrap_or(limits.store_bytes_max) as u64;
        Self { isolate: Budget::process(max), open: HashMap::new() }
    }

    fn open(&mut self, object: String, limits: &Limits) -> Budget {
        let budget = self.isolate.child(Holder::Store, limits.store_bytes_max as u64);
        self.open.retain(|_, budget| budget.is_used());
        // An object that sleeps is gone without a word: nothing of it runs any more, also no destructor. What it held
        // would be counted for as long as the isolate lives.
        if let Some(asleep) = self.open.insert(object, budget.clone()) {
            asleep.retire();
        }
        budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sleeping_object_held_is_given_back_when_it_wakes() {
        let limits = Limits::worker();
        let mut stores = Stores::new(&limits);
        let connection = |store: &Budget| store.child(Holder::Connection, limits.connection_bytes_max as u64);
        let first = connection(&stores.open("a".into(), &limits));
        let held = first.take(1_000).expect("room");
        let other = connection(&stores.open("b".into(), &limits)).take(10).expect("room");
        assert_eq!(stores.isolate.held(), 1_010);
        let second = connection(&stores.open("a".into(), &limits));
        assert_eq!(stores.isolate.held(), 10);
        first.take(1).expect_err("nobody is there any more");
        let woken = second.take(100).expect("room");
        // Should the destructor run all the same, nothing is given back twice.
        drop((held, first));
        assert_eq!(stores.isolate.held(), 110);
        drop((woken, other, second));
        assert_eq!(stores.isolate.held(), 0);
        stores.open("c".into(), &limits);
        assert_eq!(stores.open.keys().collect::<Vec<_>>(), ["c"], "what nobody has is forgotten");
    }

    #[test]
    fn an_isolate_has_a_limit_for_all_objects() {
        let limits = Limits::worker().with_memory_bytes_max(8 << 20);
        let connection = |store: Budget| store.child(Holder::Connection, limits.connection_bytes_max as u64);
        let _held = connection(open("a".into(), &limits)).take(6 << 20).expect("room");
        let refused = connection(open("b".into(), &limits)).take(6 << 20).expect_err("the isolate has no more");
        assert_eq!(refused.holder, Holder::Process);
    }
}
