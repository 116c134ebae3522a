//! The memory of requests that were seen (actions.md A.7).

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};

/// How far a request's Timestamp may lie from the gateway's clock, in seconds, either way.
pub const WINDOW_SECONDS: u64 = 7200;

/// After how long what was seen of one Timestamp is packed.
const PACKED_AFTER_SECONDS: u64 = 60;

/// What was seen of one Timestamp.
#[derive(Debug)]
enum Seen {
    Growing(HashSet<u64, AsItIs>),
    /// In order, without room for more.
    Packed(Box<[u64]>),
}

impl Default for Seen {
    fn default() -> Self {
        Self::Growing(HashSet::default())
    }
}

impl Seen {
    fn len(&self) -> usize {
        match self {
            Self::Growing(seen) => seen.len(),
            Self::Packed(seen) => seen.len(),
        }
    }

    fn contains(&self, hash: u64) -> bool {
        match self {
            Self::Growing(seen) => seen.contains(&hash),
            Self::Packed(seen) => seen.binary_search(&hash).is_ok(),
        }
    }

    /// Whether it is new.
    fn insert(&mut self, hash: u64) -> bool {
        if let Self::Packed(seen) = self {
            *self = Self::Growing(seen.iter().copied().collect());
        }
        match self {
            Self::Growing(seen) => seen.insert(hash),
            Self::Packed(_) => false,
        }
    }

    fn pack(&mut self) {
        if let Self::Growing(seen) = self {
            let mut seen: Vec<u64> = seen.drain().collect();
            seen.sort_unstable();
            *self = Self::Packed(seen.into());
        }
    }
}

/// For what is a hash already.
type AsItIs = BuildHasherDefault<Itself>;

#[derive(Debug, Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, octets: &[u8]) {
        // Never called for a u64; any hash will do.
        for octet in octets {
            self.0 = self.0.rotate_left(8) ^ u64::from(*octet);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// Whether `timestamp` lies inside the window around `now`, both in Unix seconds.
pub(crate) fn in_window(timestamp: u64, now: u64) -> bool {
    timestamp.abs_diff(now) <= WINDOW_SECONDS
}

/// The triples (SecretId, Timestamp, Nonce) that were seen, by Timestamp, so that those whose
/// Timestamp has left the window are dropped in one go.
///
/// A triple is remembered as a hash of 64 bits under a key of this process: of a million that are
/// remembered, one new request in 2^44 would be taken for a replay.
#[derive(Debug, Default)]
pub(crate) struct ReplayMemory {
    by_timestamp: BTreeMap<u64, Seen>,
    hasher: RandomState,
    count: usize,
    /// Those with a smaller Timestamp are packed.
    packed_before: u64,
    /// Triples with a smaller Timestamp have been dropped. Should the clock be set back, they
    /// would be inside the window again and nobody would know them.
    forgotten_before: u64,
}

impl ReplayMemory {
    /// Drops what has left the window at `now` (Unix seconds).
    pub(crate) fn forget_expired(&mut self, now: u64) {
        self.pack(now);
        let oldest = now.saturating_sub(WINDOW_SECONDS);
        while let Some(entry) = self.by_timestamp.first_entry() {
            if *entry.key() >= oldest {
                break;
            }
            self.count -= entry.remove().len();
        }
        self.forgotten_before = self.forgotten_before.max(oldest);
    }

    /// Whether a request of this Timestamp could have been seen and dropped since.
    pub(crate) fn has_forgotten(&self, timestamp: u64) -> bool {
        timestamp < self.forgotten_before
    }

    /// Packs what is some time old: hardly anything more comes with such a Timestamp.
    fn pack(&mut self, now: u64) {
        let before = now.saturating_sub(PACKED_AFTER_SECONDS);
        if before > self.packed_before {
            let old = self.by_timestamp.range_mut(self.packed_before..before);
            old.for_each(|(_, seen)| seen.pack());
            self.packed_before = before;
        }
    }

    pub(crate) fn contains(&self, secret_id: &str, timestamp: u64, nonce: u64) -> bool {
        let hash = self.hasher.hash_one((secret_id, timestamp, nonce));
        let seen = self.by_timestamp.get(&timestamp);
        seen.is_some_and(|seen| seen.contains(hash))
    }

    pub(crate) fn insert(&mut self, secret_id: &str, timestamp: u64, nonce: u64) {
        let hash = self.hasher.hash_one((secret_id, timestamp, nonce));
        let is_new = self.by_timestamp.entry(timestamp).or_default().insert(hash);
        self.count += usize::from(is_new);
    }

    /// How many triples are remembered.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_window_is_two_hours_either_way() {
        let now = 1_465_750_149;
        assert!(in_window(now, now));
        assert!(in_window(now - 7200, now));
        assert!(in_window(now + 7200, now));
        assert!(!in_window(now - 7201, now));
        assert!(!in_window(now + 7201, now));
        assert!(!in_window(0, now));
        assert!(!in_window(u64::MAX, now));
    }

    #[test]
    fn a_triple_is_remembered_exactly_while_its_timestamp_is_in_the_window() {
        let mut memory = ReplayMemory::default();
        let id = "AKID";
        memory.insert(id, 10_000, 1);
        memory.forget_expired(17_200);
        assert!(memory.contains(id, 10_000, 1));
        memory.forget_expired(17_201);
        assert!(!memory.contains(id, 10_000, 1));
        assert!(memory.has_forgotten(10_000));
        assert!(!memory.has_forgotten(10_001));
        assert_eq!(memory.len(), 0);
    }

    #[test]
    fn all_three_parts_make_the_triple() {
        let mut memory = ReplayMemory::default();
        let (one, other) = ("one", "other");
        memory.insert(one, 10, 1);
        assert!(memory.contains(one, 10, 1));
        assert!(memory.contains("one", 10, 1));
        assert!(!memory.contains(other, 10, 1));
        assert!(!memory.contains(one, 11, 1));
        assert!(!memory.contains(one, 10, 2));
    }

    proptest! {
        #[test]
        fn the_count_is_that_of_the_triples(
            steps in proptest::collection::vec((0u64..30_000, 0u64..4, 0u64..30_000), 1..200)
        ) {
            let mut memory = ReplayMemory::default();
            let id = "AKID";
            let mut all = HashSet::new();
            for (timestamp, nonce, now) in steps {
                memory.insert(id, timestamp, nonce);
                prop_assert!(memory.contains(id, timestamp, nonce));
                all.insert((timestamp, nonce));
                memory.forget_expired(now);
                all.retain(|(timestamp, _)| timestamp + WINDOW_SECONDS >= now);
                for (timestamp, nonce) in &all {
                    prop_assert!(memory.contains(id, *timestamp, *nonce));
                    // Packed or not, nothing else is taken for it.
                    prop_assert_eq!(memory.contains(id, *timestamp, nonce + 4), false);
                }
                prop_assert_eq!(memory.len(), all.len());
                let stored: usize = memory.by_timestamp.values().map(Seen::len).sum();
                prop_assert_eq!(memory.len(), stored);
                prop_assert!(memory.by_timestamp.keys().all(|kept| kept + WINDOW_SECONDS >= now));
            }
        }
    }
}
