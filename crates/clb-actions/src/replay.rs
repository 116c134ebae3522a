//! The memory of requests that were seen (actions.md A.7).

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};

/// How far a request's Timestamp may lie from the gateway's clock, in seconds, either way.
pub const WINDOW_SECONDS: u64 = 7200;

/// After how long what was seen of one minute of Timestamps is packed.
const PACKED_AFTER_SECONDS: u64 = 60;

/// Seconds whose Timestamps are packed together.
const MINUTE: u64 = 60;

/// What is left of a packed triple: the second of its minute, and 34 bits of its hash. A busy gateway
/// remembers two hours of them, and shall not grow for two hours.
type Short = [u8; 5];

fn short(timestamp: u64, hash: u64) -> Short {
    let value = (timestamp % MINUTE) << 34 | hash >> 30;
    let [_, _, _, short @ ..] = value.to_be_bytes();
    short
}

/// The triples of a minute.
#[derive(Debug, Default)]
struct Packed {
    /// In order, so those of one second are together.
    seen: Box<[Short]>,
    /// So many of them, the first ones, have left the window.
    gone: usize,
}

impl Packed {
    /// Those that are remembered.
    fn rest(&self) -> &[Short] {
        self.seen.get(self.gone..).unwrap_or_default()
    }

    /// Forgets those before this second of the minute; how many.
    fn forget_before(&mut self, second: u64) -> usize {
        let first = short(second, 0);
        let gone = self.seen.partition_point(|seen| *seen < first);
        let more = gone.saturating_sub(self.gone);
        self.gone += more;
        more
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
/// A triple is remembered as a hash of 64 bits under a key of this process, and of 34 bits from a
/// minute or two after its Timestamp on. So a request that is not older than that is taken for a
/// replay by mistake once in 2^57 times, with a hundred others in its second; an older one once in
/// 2^27 times.
#[derive(Debug, Default)]
pub(crate) struct ReplayMemory {
    /// By Timestamp.
    recent: BTreeMap<u64, HashSet<u64, AsItIs>>,
    /// By minute.
    packed: BTreeMap<u64, Packed>,
    hasher: RandomState,
    count: usize,
    /// Those with a smaller Timestamp are packed, but for some that came late.
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
        while let Some(entry) = self.recent.first_entry() {
            if *entry.key() >= oldest {
                break;
            }
            self.count -= entry.remove().len();
        }
        let minute = oldest / MINUTE;
        while let Some(entry) = self.packed.first_entry() {
            if *entry.key() >= minute {
                break;
            }
            self.count -= entry.remove().rest().len();
        }
        if let Some(packed) = self.packed.get_mut(&minute) {
            self.count -= packed.forget_before(oldest % MINUTE);
        }
        self.forgotten_before = self.forgotten_before.max(oldest);
    }

    /// Whether a request of this Timestamp could have been seen and dropped since.
    pub(crate) fn has_forgotten(&self, timestamp: u64) -> bool {
        timestamp < self.forgotten_before
    }

    /// Packs what is some time old: hardly anything more comes with such a Timestamp.
    fn pack(&mut self, now: u64) {
        let before = now.saturating_sub(PACKED_AFTER_SECONDS) / MINUTE * MINUTE;
        if before <= self.packed_before {
            return;
        }
        self.packed_before = before;
        let newer = self.recent.split_off(&before);
        let mut minutes: BTreeMap<u64, Vec<Short>> = BTreeMap::new();
        for (timestamp, seen) in std::mem::replace(&mut self.recent, newer) {
            self.count -= seen.len();
            let minute = minutes.entry(timestamp / MINUTE).or_default();
            minute.extend(seen.into_iter().map(|hash| short(timestamp, hash)));
        }
        for (minute, mut seen) in minutes {
            let earlier = self.packed.remove(&minute).unwrap_or_default();
            self.count -= earlier.rest().len();
            seen.extend(earlier.rest());
            seen.sort_unstable();
            seen.dedup();
            self.count += seen.len();
            let seen = seen.into();
            self.packed.insert(minute, Packed { seen, gone: 0 });
        }
    }

    pub(crate) fn contains(&self, secret_id: &str, timestamp: u64, nonce: u64) -> bool {
        let hash = self.hasher.hash_one((secret_id, timestamp, nonce));
        let recent = self.recent.get(&timestamp);
        recent.is_some_and(|seen| seen.contains(&hash)) || self.is_packed(timestamp, hash)
    }

    fn is_packed(&self, timestamp: u64, hash: u64) -> bool {
        let packed = self.packed.get(&(timestamp / MINUTE));
        packed.is_some_and(|packed| {
            let short = short(timestamp, hash);
            packed.rest().binary_search(&short).is_ok()
        })
    }

    pub(crate) fn insert(&mut self, secret_id: &str, timestamp: u64, nonce: u64) {
        let hash = self.hasher.hash_one((secret_id, timestamp, nonce));
        if !self.is_packed(timestamp, hash) {
            let is_new = self.recent.entry(timestamp).or_default().insert(hash);
            self.count += usize::from(is_new);
        }
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
    fn what_comes_late_is_packed_with_its_minute() {
        let mut memory = ReplayMemory::default();
        memory.insert("AKID", 10_000, 1);
        memory.forget_expired(10_200);
        for (nonce, now) in [(2, 10_200), (3, 10_260)] {
            assert!(!memory.contains("AKID", 10_000, nonce));
            memory.insert("AKID", 10_000, nonce);
            assert!(memory.contains("AKID", 10_000, nonce));
            memory.forget_expired(now);
        }
        memory.forget_expired(10_400);
        assert!((1..=3).all(|nonce| memory.contains("AKID", 10_000, nonce)));
        assert!(memory.recent.is_empty());
        assert_eq!((memory.len(), memory.packed.len()), (3, 1));
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
                let stored = memory.recent.values().map(HashSet::len).sum::<usize>()
                    + memory.packed.values().map(|packed| packed.rest().len()).sum::<usize>();
                prop_assert_eq!(memory.len(), stored);
                let oldest = now.saturating_sub(WINDOW_SECONDS);
                prop_assert!(memory.recent.keys().all(|kept| *kept >= oldest));
                prop_assert!(memory.packed.keys().all(|minute| (minute + 1) * MINUTE > oldest));
            }
        }
    }
}
