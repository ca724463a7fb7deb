//! How many connections there may be, in all and from one address. Shared by all workers; asked once for each connection, and
//! once for each further request of an HTTP/2 connection that is busy with a request: a further one takes as much memory as a
//! connection.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of all connections. Memory grows with open connections only.
pub(crate) struct Slots {
    places: Arc<Semaphore>,
    /// Places that requests have and not connections.
    requests: AtomicUsize,
    crowd: usize,
    per_address: u32,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

/// Connections by address.
type Shard = HashMap<IpAddr, u32, RandomState>;

/// Enough that workers rarely meet.
const SHARDS: usize = 32;

/// One connection of an address, until it is dropped.
pub(crate) struct Claim {
    slots: Arc<Slots>,
    address: IpAddr,
}

/// The place of a request, until it is dropped.
pub(super) struct RequestPlace {
    slots: Arc<Slots>,
    _among_all: OwnedSemaphorePermit,
    _of_address: Option<Claim>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Crowded {
    /// The address has as many as it may have.
    Address,
    /// All are taken.
    All,
}

impl Slots {
    /// Room for `total` connections, `per_address` of them from one address.
    pub(crate) fn new(total: usize, per_address: u32) -> Arc<Slots> {
        let hasher = RandomState::new();
        Arc::new(Slots {
            places: Arc::new(Semaphore::new(total)),
            requests: AtomicUsize::new(0),
            crowd: total / 8,
            per_address,
            shards: std::array::from_fn(|_| Mutex::new(HashMap::with_hasher(hasher.clone()))),
            hasher,
        })
    }

    /// A place among all, as soon as there is one.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        self.places.clone().acquire_owned().await.expect("the semaphore is never closed")
    }

    /// A place among all, if there is one now.
    pub(super) fn free_place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Whether connections leave less than an eighth of all places.
    pub(super) fn is_crowded(&self) -> bool {
        self.places.available_permits() + self.requests.load(Ordering::Relaxed) < self.crowd
    }

    /// A place for one more connection of an address; `None` when it has enough.
    pub(super) fn claim(self: &Arc<Slots>, address: IpAddr) -> Option<Claim> {
        let address = household(address);
        let mut shard = self.shard(address);
        let open = shard.entry(address).or_insert(0);
        if *open >= self.per_address {
            return None;
        }
        *open += 1;
        Some(Claim { slots: self.clone(), address })
    }

    /// A place for a request, if there is one now; `None` is an address without a limit.
    pub(super) fn request(self: &Arc<Slots>, address: Option<IpAddr>) -> Result<RequestPlace, Crowded> {
        let of_address = address.map(|address| self.claim(address).ok_or(Crowded::Address)).transpose()?;
        let among_all = self.free_place().ok_or(Crowded::All)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(RequestPlace { slots: self.clone(), _among_all: among_all, _of_address: of_address })
    }

    /// Places of an address.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn open_from(&self, address: IpAddr) -> u32 {
        self.shard(household(address)).get(&household(address)).copied().unwrap_or(0)
    }

    /// A count cannot be left half changed by a panic.
    fn shard(&self, address: IpAddr) -> MutexGuard<'_, Shard> {
        let index = self.hasher.hash_one(address) as usize >> 32;
        self.shards[index % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestPlace {
    fn drop(&mut self) {
        self.slots.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Entry::Occupied(mut open) = self.slots.shard(self.address).entry(self.address) {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }
}

/// With IPv6 a household has a whole /64, and each of its devices as many addresses in it as it likes.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(slots: &Arc<Slots>, address: &str) -> Option<Claim> {
        slots.claim(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let slots = Slots::new(100, 2);
        let first = claim(&slots, "203.0.113.7");
        let second = claim(&slots, "::ffff:203.0.113.7");
        assert!(first.is_some() && second.is_some());
        assert!(claim(&slots, "203.0.113.7").is_none());
        assert!(claim(&slots, "203.0.113.8").is_some());
        drop(first);
        assert!(claim(&slots, "203.0.113.7").is_some());
    }

    #[test]
    fn requests_take_places_and_make_no_crowd() {
        let slots = Slots::new(16, 20);
        let address = "203.0.113.7".parse().unwrap();
        let requests: Vec<_> = (0..16).filter_map(|_| slots.request(Some(address)).ok()).collect();
        assert!(requests.len() == 16 && !slots.is_crowded());
        assert_eq!(slots.request(Some(address)).err(), Some(Crowded::All));
        drop(requests);
        let connections: Vec<_> = (0..16).filter_map(|_| slots.free_place()).collect();
        assert!(connections.len() == 16 && slots.is_crowded());
        assert_eq!(Slots::new(16, 0).request(Some(address)).err(), Some(Crowded::Address));
        assert_eq!(slots.open_from(address), 0);
    }

    #[test]
    fn a_slash_64_counts_as_one() {
        let slots = Slots::new(100, 1);
        let _held = claim(&slots, "2001:db8:1:2::1");
        assert!(claim(&slots, "2001:db8:1:2:ffff::9").is_none());
        assert!(claim(&slots, "2001:db8:1:3::1").is_some());
    }

    #[test]
    fn nothing_is_kept_of_who_has_left() {
        let slots = Slots::new(100, 8);
        let claims: Vec<_> = (0..10_000_u32).map(|n| slots.claim(IpAddr::V4(n.into())).unwrap()).collect();
        drop(claims);
        assert_eq!(slots.shards.iter().map(|shard| shard.lock().unwrap().len()).sum::<usize>(), 0);
    }
}
