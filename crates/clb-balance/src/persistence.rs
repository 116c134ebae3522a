//! Layer-4 session persistence: which member a client's address belongs to, for a while.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use slab::Slab;

/// Most shards of a table; a table for few entries has fewer, so that "oldest first" is exact.
const MAX_SHARDS: usize = 64;
/// Entries for which one more shard is worth having.
const ENTRIES_PER_SHARD: usize = 1024;
/// Expired entries that one update clears away at most, so that a table whose clients stay away
/// shrinks as fast as others fill it, and no update takes long.
const CLEARED_PER_UPDATE: usize = 2;

const NONE: usize = usize::MAX;

/// A table (pool, client address) → member with sliding expiry, shared by all workers and pools
/// and bounded by a total of entries (semantics.md 3, layer 4).
///
/// `P` names a pool. The hash is keyed anew in each process, because clients choose their
/// addresses (at least within IPv6) and must not be able to aim at one bucket.
#[derive(Debug)]
pub struct Persistence<P> {
    shards: Box<[Shard<P>]>,
    hasher: RandomState,
    entries: CachePadded<AtomicUsize>,
    limit: usize,
    evicted: AtomicU64,
}

#[derive(Debug)]
struct Shard<P> {
    table: Mutex<Table<P>>,
    /// When the shard's oldest entry was last used; `u64::MAX` when it is empty. A hint for
    /// choosing the shard to evict from.
    oldest_ms: AtomicU64,
}

/// An entry, as another process is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered<P> {
    /// The pool.
    pub pool: P,
    /// The client.
    pub client: IpAddr,
    /// The member that it belongs to.
    pub member: u64,
    /// How long it was not here, milliseconds.
    pub unused_ms: u64,
    /// After how much of that it is forgotten, milliseconds.
    pub expire_ms: u64,
}

type Key<P> = (P, IpAddr);

/// Entries by key and in order of last use.
#[derive(Debug)]
struct Table<P> {
    by_key: HashMap<Key<P>, usize>,
    entries: Slab<Entry<P>>,
    oldest: usize,
    newest: usize,
}

#[derive(Debug)]
struct Entry<P> {
    key: Key<P>,
    member: u64,
    used_ms: u64,
    expire_ms: u64,
    older: usize,
    newer: usize,
}

impl<P: Copy + Eq + Hash> Persistence<P> {
    /// A table for `limit` entries in all. With 0 nothing is ever kept.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let shards = (limit / ENTRIES_PER_SHARD).clamp(1, MAX_SHARDS);
        Self {
            shards: (0..shards).map(|_| Shard::default()).collect(),
            hasher: RandomState::new(),
            entries: CachePadded::default(),
            limit,
            evicted: AtomicU64::new(0),
        }
    }

    /// Entries held, expired ones that were not cleared yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    /// True if no entry is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Entries that had to go before their time because the table was full.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// A client opens a connection: `decide` is told the member that the client belongs to, if it
    /// does and was last here less than `expire_ms` before `now_ms`, and answers the member it
    /// belongs to from now on, `None` to forget it. The entry's time starts anew.
    ///
    /// `decide` runs under the entry's lock, so two connections that one new client opens at the
    /// same moment on two workers meet the same member. It must be short and not use this table.
    /// While several workers add entries at the same time the table may be over its limit by one
    /// entry each until they have evicted the oldest.
    pub fn update(
        &self,
        pool: P,
        client: IpAddr,
        expire_ms: u64,
        now_ms: u64,
        decide: impl FnOnce(Option<u64>) -> Option<u64>,
    ) {
        let key = (pool, client.to_canonical());
        let Some(shard) = self.shard(&key) else {
            decide(None);
            return;
        };
        let mut table = shard.lock();
        let before = table.entries.len();
        let known = table
            .get(&key)
            .filter(|entry| now_ms.saturating_sub(entry.used_ms) < expire_ms)
            .map(|entry| entry.member);
        match decide(known) {
            Some(member) if self.limit > 0 => table.put(key, member, now_ms, expire_ms),
            _ => table.remove_key(&key),
        }
        for _ in 0..CLEARED_PER_UPDATE {
            if !table.clear_oldest_if_expired(now_ms) {
                break;
            }
        }
        self.settle(shard, &table, before);
        drop(table);
        while self.len() > self.limit && self.evict_oldest() {}
    }

    /// Calls `tell` with every entry that was used at or after `since_ms` and is not over at
    /// `now_ms`; for another process that goes on with the table. Shards are told one after the
    /// other, each under its lock.
    pub fn tell(&self, since_ms: u64, now_ms: u64, mut tell: impl FnMut(Remembered<P>)) {
        for shard in &self.shards {
            let table = shard.lock();
            let mut next = table.newest;
            while let Some(entry) = table.entries.get(next)
                && entry.used_ms >= since_ms
            {
                next = entry.older;
                let unused_ms = now_ms.saturating_sub(entry.used_ms);
                if unused_ms < entry.expire_ms {
                    let (pool, client) = entry.key;
                    tell(Remembered {
                        pool,
                        client,
                        member: entry.member,
                        unused_ms,
                        expire_ms: entry.expire_ms,
                    });
                }
            }
        }
    }

    /// Takes in what another process has [told](Self::tell), unless the client was here since.
    pub fn remember(&self, told: Remembered<P>, now_ms: u64) {
        let used_ms = now_ms.saturating_sub(told.unused_ms);
        let key = (told.pool, told.client.to_canonical());
        let Some(shard) = self.shard(&key).filter(|_| self.limit > 0) else {
            return;
        };
        let mut table = shard.lock();
        if table.get(&key).is_some_and(|known| known.used_ms > used_ms) {
            return;
        }
        let before = table.entries.len();
        table.put_in_order(key, told.member, used_ms, told.expire_ms);
        self.settle(shard, &table, before);
        drop(table);
        while self.len() > self.limit && self.evict_oldest() {}
    }

    fn shard(&self, key: &Key<P>) -> Option<&Shard<P>> {
        let shards = u64::try_from(self.shards.len()).ok()?;
        // The table hashes the key with a state of its own, so the shard's choice leaves its
        // buckets evenly filled.
        let place = self.hasher.hash_one(key).checked_rem(shards)?;
        self.shards.get(usize::try_from(place).ok()?)
    }

    /// Evicts the entry that was used longest ago; false if there is none. The shard is chosen
    /// without locks: when another worker uses that very entry meanwhile, its shard's next oldest
    /// goes instead.
    fn evict_oldest(&self) -> bool {
        let oldest = self
            .shards
            .iter()
            .min_by_key(|shard| shard.oldest_ms.load(Ordering::Relaxed));
        let Some(shard) = oldest else {
            return false;
        };
        let mut table = shard.lock();
        let before = table.entries.len();
        // A rival may have made room since this worker looked.
        if before == 0 || self.len() <= self.limit {
            return false;
        }
        let oldest = table.oldest;
        table.remove(oldest);
        self.settle(shard, &table, before);
        self.evicted.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Brings the totals in line with a table that was changed under its lock.
    fn settle(&self, shard: &Shard<P>, table: &Table<P>, before: usize) {
        let after = table.entries.len();
        if after > before {
            self.entries.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.entries.fetch_sub(before - after, Ordering::Relaxed);
        }
        let oldest_ms = table
            .entries
            .get(table.oldest)
            .map_or(u64::MAX, |entry| entry.used_ms);
        shard.oldest_ms.store(oldest_ms, Ordering::Relaxed);
    }
}

impl<P> Default for Shard<P> {
    fn default() -> Self {
        Self {
            table: Mutex::new(Table {
                by_key: HashMap::new(),
                entries: Slab::new(),
                oldest: NONE,
                newest: NONE,
            }),
            oldest_ms: AtomicU64::new(u64::MAX),
        }
    }
}

impl<P> Shard<P> {
    fn lock(&self) -> MutexGuard<'_, Table<P>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Copy + Eq + Hash> Table<P> {
    fn get(&self, key: &Key<P>) -> Option<&Entry<P>> {
        self.entries.get(*self.by_key.get(key)?)
    }

    /// Inserts or renews an entry and makes it the newest.
    fn put(&mut self, key: Key<P>, member: u64, used_ms: u64, expire_ms: u64) {
        if let Some(&slot) = self.by_key.get(&key) {
            self.unlink(slot);
            if let Some(entry) = self.entries.get_mut(slot) {
                entry.member = member;
                entry.used_ms = used_ms;
                entry.expire_ms = expire_ms;
            }
            self.link_newest(slot);
        } else {
            let slot = self.entries.insert(Entry {
                key,
                member,
                used_ms,
                expire_ms,
                older: NONE,
                newer: NONE,
            });
            self.by_key.insert(key, slot);
            self.link_newest(slot);
        }
    }

    /// As [`put`](Self::put), at its place in the order of last use. Quick for one that is among
    /// the oldest or the newest.
    fn put_in_order(&mut self, key: Key<P>, member: u64, used_ms: u64, expire_ms: u64) {
        self.put(key, member, used_ms, expire_ms);
        let slot = self.newest;
        let older_than_it = |entry: Option<&Entry<P>>| entry.is_none_or(|e| e.used_ms <= used_ms);
        let before = self.entries.get(slot).map_or(NONE, |entry| entry.older);
        if older_than_it(self.entries.get(before)) {
            return;
        }
        self.unlink(slot);
        // What is told comes with the newest first, so its place is at the old end.
        let mut newer = self.oldest;
        while let Some(entry) = self.entries.get(newer)
            && entry.used_ms <= used_ms
        {
            newer = entry.newer;
        }
        self.link_before(slot, newer);
    }

    /// Puts an entry right before a newer one.
    fn link_before(&mut self, slot: usize, newer: usize) {
        let older = self.entries.get(newer).map_or(NONE, |entry| entry.older);
        if let Some(entry) = self.entries.get_mut(slot) {
            (entry.older, entry.newer) = (older, newer);
        }
        if let Some(entry) = self.entries.get_mut(newer) {
            entry.older = slot;
        }
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = slot,
            None => self.oldest = slot,
        }
    }

    fn remove_key(&mut self, key: &Key<P>) {
        if let Some(&slot) = self.by_key.get(key) {
            self.remove(slot);
        }
    }

    fn remove(&mut self, slot: usize) {
        self.unlink(slot);
        if let Some(entry) = self.entries.try_remove(slot) {
            self.by_key.remove(&entry.key);
        }
    }

    fn clear_oldest_if_expired(&mut self, now_ms: u64) -> bool {
        let slot = self.oldest;
        let expired = self
            .entries
            .get(slot)
            .is_some_and(|entry| now_ms.saturating_sub(entry.used_ms) >= entry.expire_ms);
        if expired {
            self.remove(slot);
        }
        expired
    }

    fn unlink(&mut self, slot: usize) {
        let Some((older, newer)) = self.entries.get(slot).map(|e| (e.older, e.newer)) else {
            return;
        };
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }

    fn link_newest(&mut self, slot: usize) {
        let older = self.newest;
        if let Some(entry) = self.entries.get_mut(slot) {
            entry.older = older;
            entry.newer = NONE;
        }
        match self.entries.get_mut(older) {
            Some(entry) => entry.newer = slot,
            None => self.oldest = slot,
        }
        self.newest = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const POOL: u8 = 1;

    fn client(number: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    /// What the table knows, without renewing anything but this entry.
    fn known(table: &Persistence<u8>, number: u32, expire: u64, now: u64) -> Option<u64> {
        let mut known = None;
        table.update(POOL, client(number), expire, now, |member| {
            known = member;
            member
        });
        known
    }

    fn bind(table: &Persistence<u8>, number: u32, member: u64, expire: u64, now: u64) {
        table.update(POOL, client(number), expire, now, |_| Some(member));
    }

    #[test]
    fn a_client_stays_as_long_as_it_keeps_coming_back_in_time() {
        let table = Persistence::new(10);
        bind(&table, 1, 7, 30_000, 0);
        assert_eq!(known(&table, 1, 30_000, 29_999), Some(7));
        // The second visit renewed the entry.
        assert_eq!(known(&table, 1, 30_000, 59_998), Some(7));
        assert_eq!(known(&table, 1, 30_000, 89_998), None);
        assert!(table.is_empty());
    }

    proptest! {
        /// Another process knows what this one knew, in the same order, whatever it knew before.
        #[test]
        fn what_is_told_is_remembered_with_its_age(
            uses in prop::collection::vec((0u32..30, 0u64..3, 0u64..1000), 1..80),
            newer in prop::collection::vec((0u32..30, 0u64..1000), 0..10),
            since in 0u64..1200,
        ) {
            let mut uses = uses;
            uses.sort_by_key(|(_, _, at)| *at);
            let (one, other) = (Persistence::new(20), Persistence::new(20));
            for (number, member, at) in &uses {
                bind(&one, *number, *member, 600, *at);
            }
            // Another epoch: this one's 1000 is the other's 5000.
            let mut newer = newer;
            newer.sort_by_key(|(_, at)| *at);
            for (number, at) in &newer {
                bind(&other, *number, 9, 10_000, 5_000 + at);
            }
            let mut told = Vec::new();
            one.tell(since, 1_000, |entry| told.push(entry));
            for entry in &told {
                other.remember(*entry, 5_000);
            }
            prop_assert!(other.len() <= 20);
            // Most recently used, of both.
            let mut last: HashMap<u32, (u64, u64, u64)> = HashMap::new();
            let table = one.shards[0].lock();
            for (_, entry) in &table.entries {
                if entry.used_ms >= since && entry.used_ms + 600 > 1_000 {
                    let IpAddr::V4(address) = entry.key.1 else { continue };
                    let number = u32::from(address) - 0x0a00_0000;
                    last.insert(number, (4_000 + entry.used_ms, entry.member, 600));
                }
            }
            prop_assert_eq!(told.len(), last.len());
            for (number, at) in newer {
                last.insert(number, (5_000 + at, 9, 10_000));
            }
            let mut expected: Vec<_> = last.into_iter().map(|(number, (at, ..))| (at, number)).collect();
            expected.sort_unstable();
            let kept = expected.len().saturating_sub(20);
            let table = other.shards[0].lock();
            let (mut next, mut order) = (table.oldest, Vec::new());
            while let Some(entry) = table.entries.get(next) {
                order.push(entry.used_ms);
                next = entry.newer;
            }
            let ages: Vec<u64> = expected.iter().skip(kept).map(|(at, _)| *at).collect();
            prop_assert_eq!(order, ages);
        }
    }

    #[test]
    fn a_shorter_expiry_applies_at_the_next_connection() {
        let table = Persistence::new(10);
        bind(&table, 1, 7, 3_600_000, 0);
        assert_eq!(known(&table, 1, 30_000, 30_000), None);
    }

    #[test]
    fn pools_do_not_share_entries_and_a_mapped_address_is_the_same_client() {
        let table = Persistence::new(10);
        bind(&table, 1, 7, 30_000, 0);
        table.update(POOL + 1, client(1), 30_000, 1, |member| {
            assert_eq!(member, None);
            Some(8)
        });
        let mapped = Ipv4Addr::from(0x0a00_0001).to_ipv6_mapped();
        table.update(POOL, mapped.into(), 30_000, 2, |member| {
            assert_eq!(member, Some(7));
            None
        });
        assert_eq!(known(&table, 1, 30_000, 3), None);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn over_the_limit_the_one_that_was_used_longest_ago_goes_first() {
        let table = Persistence::new(3);
        for number in 1..=3 {
            bind(&table, number, u64::from(number), 30_000, u64::from(number));
        }
        assert_eq!(known(&table, 1, 30_000, 4), Some(1));
        bind(&table, 4, 4, 30_000, 5);
        assert_eq!((table.len(), table.evicted()), (3, 1));
        assert_eq!(known(&table, 2, 30_000, 6), None);
        for number in [1, 3, 4] {
            assert_eq!(known(&table, number, 30_000, 7), Some(u64::from(number)));
        }
    }

    #[test]
    fn a_limit_of_zero_keeps_nothing() {
        let table = Persistence::new(0);
        bind(&table, 1, 1, 30_000, 0);
        assert_eq!((known(&table, 1, 30_000, 0), table.len()), (None, 0));
    }

    #[test]
    fn expired_entries_make_room_before_anyone_is_evicted() {
        let table = Persistence::new(100);
        for number in 0..100 {
            bind(&table, number, 1, 30_000, 0);
        }
        for number in 100..200 {
            bind(&table, number, 1, 30_000, 30_000);
        }
        assert_eq!((table.len(), table.evicted()), (100, 0));
    }

    #[test]
    fn a_large_table_evicts_across_its_shards() {
        let limit = 8 * ENTRIES_PER_SHARD;
        let table = Persistence::new(limit);
        assert_eq!(table.shards.len(), 8);
        let over = 1_000;
        let total = u32::try_from(limit + over).unwrap();
        for number in 0..total {
            bind(&table, number, 1, 3_600_000, u64::from(number));
        }
        assert_eq!((table.len(), table.evicted()), (limit, over as u64));
        let now = u64::from(total);
        let mut gone = Vec::new();
        for number in 0..total {
            table.update(POOL, client(number), 3_600_000, now, |member| {
                if member.is_none() {
                    gone.push(number);
                }
                member
            });
        }
        let oldest: Vec<_> = (0..u32::try_from(over).unwrap()).collect();
        assert_eq!(gone, oldest);
    }

    #[test]
    fn connections_that_race_for_a_new_client_agree_on_one_member() {
        let table = Persistence::new(100_000);
        let next = AtomicU64::new(0);
        for number in 0..200 {
            let members: Vec<u64> = std::thread::scope(|scope| {
                let racers: Vec<_> = (0..3)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut chosen = 0;
                            table.update(POOL, client(number), 30_000, 0, |member| {
                                chosen =
                                    member.unwrap_or_else(|| next.fetch_add(1, Ordering::Relaxed));
                                Some(chosen)
                            });
                            chosen
                        })
                    })
                    .collect();
                racers.into_iter().map(|r| r.join().unwrap()).collect()
            });
            assert!(members.iter().all(|member| *member == members[0]));
        }
        assert_eq!(next.into_inner(), 200);
    }

    #[test]
    fn the_limit_holds_under_concurrent_inserts() {
        let table = Persistence::new(2_000);
        std::thread::scope(|scope| {
            for worker in 0..4u32 {
                let table = &table;
                scope.spawn(move || {
                    for number in 0..5_000u32 {
                        let low = u128::from(worker * 5_000 + number);
                        let address = Ipv6Addr::from(0x2001_0db8_u128 << 96 | low).into();
                        table.update(POOL, address, 30_000, u64::from(number), |_| Some(1));
                        assert!(table.len() <= 2_000 + 4);
                    }
                });
            }
        });
        assert_eq!(table.len(), 2_000);
        assert_eq!(table.evicted(), 18_000);
    }

    proptest! {
        /// Against a plain list with the same rules.
        #[test]
        fn it_behaves_like_a_list_in_order_of_use(
            limit in 1usize..6,
            steps in prop::collection::vec((0u32..8, prop::option::of(0u64..3), 0u64..20_000), 1..80),
        ) {
            let table = Persistence::new(limit);
            let mut list: Vec<(u32, u64, u64)> = Vec::new();
            let mut now = 0;
            for (number, decision, passed) in steps {
                now += passed;
                let known = list
                    .iter()
                    .find(|(client, _, used)| *client == number && now - used < 30_000)
                    .map(|(_, member, _)| *member);
                table.update(POOL, client(number), 30_000, now, |member| {
                    assert_eq!(member, known);
                    decision
                });
                list.retain(|(client, _, used)| *client != number && now - used < 30_000);
                if let Some(member) = decision {
                    list.push((number, member, now));
                }
                if list.len() > limit {
                    list.remove(0);
                }
                prop_assert!(table.len() <= limit);
            }
        }
    }
}
