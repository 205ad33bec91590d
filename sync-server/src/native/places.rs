//! Who may be connected: a place for each connection from its first byte on, and not all of them for one address.
//! Called by `accept`, and by `http` for requests that somebody else has accepted. Pure but for its counters.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::request::Refused;

/// The places of a server.
#[derive(Clone)]
pub(super) struct Places(Arc<Inner>);

struct Inner {
    connections_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place. Dropped, it is free again.
pub(super) struct Place {
    places: Places,
    address: Option<IpAddr>,
}

impl Places {
    pub(super) fn new(connections_max: usize, per_address_max: usize) -> Self {
        Self(Arc::new(Inner { connections_max, per_address_max, taken: Mutex::default() }))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        // Two counters, so a panic elsewhere leaves them usable.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are taken.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.taken().all
    }

    /// Takes one, for a client of this address if that is known.
    pub(super) fn take(&self, address: Option<IpAddr>) -> Result<Place, Refused> {
        let address = address.map(client);
        let mut taken = self.taken();
        if taken.all >= self.0.connections_max {
            return Err(Refused::too_many_connections("This server"));
        }
        if let Some(address) = address {
            let count = taken.by_address.entry(address).or_default();
            if *count >= self.0.per_address_max {
                return Err(Refused::too_many_connections("This address"));
            }
            *count += 1;
        }
        taken.all += 1;
        Ok(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(address) = self.address
            && let Some(count) = taken.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: of IPv6, everybody has as many as they want below a /64.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn places_are_counted_for_all_and_for_each_address() {
        let places = Places::new(3, 2);
        let take = |text| places.take(address(text));
        let first = [take("10.0.0.1"), take("10.0.0.1")].map(|place| place.expect("a place"));
        let refused = take("10.0.0.1").err().expect("one too many of this address");
        assert!(refused.status == 503 && refused.text.starts_with("This address"), "{refused:?}");
        let other = take("10.0.0.2").expect("a place");
        for text in ["10.0.0.1", "10.0.0.3"] {
            let refused = take(text).err().expect("one too many");
            assert!(refused.status == 503 && refused.text.starts_with("This server"), "{refused:?}");
        }
        drop(first);
        let unknown = places.take(None).expect("a place");
        drop(take("10.0.0.1").expect("a place"));
        drop((other, unknown));
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0), "nothing stays");
    }

    #[test]
    fn addresses_that_are_one_client_count_as_one() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::2", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("::ffff:10.0.0.1", "::ffff:10.0.0.2", false),
            ("10.0.0.1", "10.0.0.2", false),
        ] {
            let places = Places::new(10, 1);
            let _place = places.take(address(one)).expect("a place");
            assert_eq!(places.take(address(other)).is_err(), same, "{one} {other}");
        }
    }
}
