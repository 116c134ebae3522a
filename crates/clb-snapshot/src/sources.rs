//! How much each client has: an address, or the /64 of IPv6.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, among which clients are spread.
const SHARDS: usize = 64;

/// A client that is counted, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source(u64);

impl Source {
    const UNCOUNTED: Self = Self(0);

    /// Whether it was counted.
    pub(crate) fn is_counted(self) -> bool {
        self != Self::UNCOUNTED
    }
}

/// Counts by client, as long as there is a limit. Hashed by a key of this process: a client that
/// chooses its addresses can not aim at another's count.
#[derive(Debug)]
pub(crate) struct Sources {
    hasher: RandomState,
    shards: Box<[Mutex<HashMap<u64, u64>>]>,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Sources {
    /// Counts one more of a client in; `None` if it has `limit`.
    pub(crate) fn enter(&self, client: IpAddr, limit: u64) -> Option<Source> {
        if limit == u64::MAX {
            return Some(Source::UNCOUNTED);
        }
        let source = self.source(client);
        let mut shard = self.shard(source)?;
        let count = shard.entry(source.0).or_default();
        if *count >= limit {
            if *count == 0 {
                shard.remove(&source.0);
            }
            return None;
        }
        *count += 1;
        Some(source)
    }

    /// One less; of one that was [counted](Self::enter).
    pub(crate) fn leave(&self, source: Source) {
        if !source.is_counted() {
            return;
        }
        let Some(mut shard) = self.shard(source) else {
            return;
        };
        if let Some(count) = shard.get_mut(&source.0) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                shard.remove(&source.0);
            }
        }
    }

    fn source(&self, client: IpAddr) -> Source {
        let hash = match client.to_canonical() {
            IpAddr::V4(address) => self.hasher.hash_one(address),
            // Who has one address of a network may use them all.
            IpAddr::V6(address) => self.hasher.hash_one(address.to_bits() >> 64),
        };
        Source(hash.max(1))
    }

    fn shard(&self, source: Source) -> Option<MutexGuard<'_, HashMap<u64, u64>>> {
        let place = usize::try_from(source.0 >> 32).ok()? % SHARDS;
        let shard = self.shards.get(place)?;
        Some(shard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_client_has_a_count_of_its_own_that_is_forgotten_at_zero() {
        let sources = Sources::default();
        let one = sources.enter(ip("192.0.2.1"), 2).unwrap();
        let two = sources.enter(ip("::ffff:192.0.2.1"), 2).unwrap();
        assert_eq!(sources.enter(ip("192.0.2.1"), 2), None);
        assert!(sources.enter(ip("192.0.2.2"), 1).is_some());
        sources.leave(one);
        assert_eq!(sources.enter(ip("192.0.2.1"), 2), Some(two));
        assert_eq!(sources.enter(ip("192.0.2.3"), 0), None);
        for _ in 0..2 {
            sources.leave(two);
        }
        let left: usize = sources
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().len())
            .sum();
        assert_eq!(left, 1);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let sources = Sources::default();
        assert!(sources.enter(ip("2001:db8::1"), 1).is_some());
        assert!(sources.enter(ip("2001:db8::2"), 1).is_none());
        assert!(sources.enter(ip("2001:db8:0:1::1"), 1).is_some());
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let sources = Sources::default();
        let source = sources.enter(ip("192.0.2.1"), u64::MAX).unwrap();
        sources.leave(source);
        // A limit that comes later counts from then on.
        assert!(sources.enter(ip("192.0.2.1"), 1).is_some());
        sources.leave(source);
        assert!(sources.enter(ip("192.0.2.1"), 1).is_none());
    }
}
