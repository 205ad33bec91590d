//! How many WebSockets a store has, and each of its users: taken before one is opened, given back when it has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hooks::Connection;

/// The seats of one store.
#[derive(Debug)]
pub(crate) struct Seats {
    store_max: usize,
    user_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of users that have any.
    by_user: HashMap<String, usize>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    #[error("This store has as many connections as it may: {0} (--max-connections-per-store). Try again later.")]
    Store(usize),
    #[error(
        "This user has as many connections to this store as it may: {0} (--max-connections-per-user). Try again later."
    )]
    User(usize),
}

/// One seat, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    user: Option<String>,
}

impl Default for Seats {
    /// For everybody.
    fn default() -> Self {
        Self::new(usize::MAX, usize::MAX)
    }
}

impl Seats {
    pub(crate) fn new(store_max: usize, user_max: usize) -> Self {
        Self { store_max, user_max, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Counters, so a panic elsewhere leaves them usable.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A seat for this connection, if there is one.
    pub(crate) fn take(self: &Arc<Self>, connection: &Connection) -> Result<Seat, Full> {
        let mut taken = self.taken();
        if taken.all >= self.store_max {
            return Err(Full::Store(self.store_max));
        }
        if let Some(user) = connection.user_id()
            && taken.by_user.get(user).is_some_and(|count| *count >= self.user_max)
        {
            return Err(Full::User(self.user_max));
        }
        Ok(self.seat(&mut taken, connection))
    }

    /// A seat for a connection that had one before this process lost its memory.
    pub(super) fn take_again(self: &Arc<Self>, connection: &Connection) -> Seat {
        self.seat(&mut self.taken(), connection)
    }

    fn seat(self: &Arc<Self>, taken: &mut Taken, connection: &Connection) -> Seat {
        taken.all += 1;
        // Who is nobody in particular, and where nobody counts, is not counted.
        let user = connection.user_id().filter(|_| self.user_max < usize::MAX).map(str::to_owned);
        if let Some(user) = &user {
            *taken.by_user.entry(user.clone()).or_default() += 1;
        }
        Seat { seats: Arc::clone(self), user }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        taken.all -= 1;
        if let Some(user) = &self.user
            && let Some(count) = taken.by_user.get_mut(user)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_user.remove(user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use livestore_sync_protocol::Generation;
    use uuid::Uuid;

    use super::*;
    use crate::hooks::{Identity, Transport};

    fn connection(user: Option<&str>) -> Connection {
        let connection = Connection::new(Uuid::nil(), "store".into(), Transport::Ws, Generation::V04, 0);
        connection.with_identity(user.map(Identity::new).unwrap_or_default())
    }

    #[test]
    fn a_store_and_each_user_have_so_many_seats() {
        let seats = Arc::new(Seats::new(4, 2));
        let (ada, bob, nobody) = (connection(Some("ada")), connection(Some("bob")), connection(None));
        let first = seats.take(&ada).expect("a seat");
        let second = seats.take(&ada).expect("a seat");
        assert_eq!(seats.take(&ada).err(), Some(Full::User(2)));
        let third = seats.take(&bob).expect("a seat");
        let fourth = seats.take(&nobody).expect("a seat");
        assert_eq!(seats.take(&bob).err(), Some(Full::Store(4)));
        assert_eq!(seats.take(&nobody).err(), Some(Full::Store(4)));
        // Those that were there before are there.
        let again = seats.take_again(&ada);
        drop((first, again, fourth));
        let fifth = seats.take(&ada).expect("a seat was given back");
        drop((second, third, fifth));
        let taken = seats.taken();
        assert_eq!((taken.all, taken.by_user.len()), (0, 0));
    }

    #[test]
    fn without_limits_nobody_is_counted_by_name() {
        let seats = Arc::new(Seats::default());
        let held: Vec<_> = (0..100).filter_map(|_| seats.take(&connection(Some("ada"))).ok()).collect();
        assert_eq!((held.len(), seats.taken().by_user.len()), (100, 0));
    }

    #[test]
    fn a_refusal_names_its_limit() {
        assert!(Full::Store(4).to_string().contains("4 (--max-connections-per-store)"));
        assert!(Full::User(2).to_string().contains("2 (--max-connections-per-user)"));
    }
}
