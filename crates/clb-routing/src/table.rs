//! Names to values, in shards that versions of the table share: a change copies one shard.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;

const SHARDS: usize = 256;

/// A value that knows its own name.
pub(crate) trait Named {
    fn name(&self) -> &[u8];

    /// The cache lines that a request will look at, if it is this one.
    fn visit_lines(&self, _visit: impl FnMut(*const u8)) {}
}

struct Slot<V> {
    hash: u64,
    value: V,
}

impl<V: Clone> Clone for Slot<V> {
    fn clone(&self) -> Self {
        Self {
            hash: self.hash,
            value: self.value.clone(),
        }
    }
}

/// By hash, ascending.
type Shard<V> = Arc<[Slot<V>]>;

pub(crate) struct Table<V> {
    /// Empty, or [`SHARDS`] of them.
    shards: Arc<[Option<Shard<V>>]>,
}

impl<V> Clone for Table<V> {
    fn clone(&self) -> Self {
        Self {
            shards: Arc::clone(&self.shards),
        }
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            shards: Arc::new([]),
        }
    }
}

/// The names are the operator's, so that nobody gains by choosing them for their hashes.
fn hash(name: &[u8]) -> u64 {
    FixedState::default().hash_one(name)
}

const fn shard_of(hash: u64) -> usize {
    (hash >> 56) as usize
}

fn in_shard<'s, V: Named>(
    shard: &'s [Slot<V>],
    hash: u64,
    name: &[u8],
    visit: impl Fn(*const u8),
) -> (usize, Option<&'s V>) {
    let from = shard.partition_point(|slot| slot.hash < hash);
    let same = shard.iter().enumerate().skip(from);
    for (at, slot) in same.take_while(|(_, slot)| slot.hash == hash) {
        slot.value.visit_lines(&visit);
        if slot.value.name() == name {
            return (at, Some(&slot.value));
        }
    }
    (from, None)
}

impl<V: Named + Clone> Table<V> {
    pub(crate) fn get(&self, name: &[u8]) -> Option<&V> {
        self.get_visiting(name, |_| {})
    }

    /// The same, with what will be looked at next; see
    /// [`Router::route_visiting`](crate::Router::route_visiting).
    pub(crate) fn get_visiting(&self, name: &[u8], visit: impl Fn(*const u8)) -> Option<&V> {
        if self.shards.is_empty() {
            return None;
        }
        let hash = hash(name);
        let shard = self.shards.get(shard_of(hash))?.as_ref()?;
        in_shard(shard, hash, name, visit).1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &V> {
        let shards = self.shards.iter().flatten();
        shards.flat_map(|shard| shard.iter().map(|slot| &slot.value))
    }

    /// Adds a value, or replaces the one of the same name, or (`None`) takes it away.
    pub(crate) fn with(&self, name: &[u8], value: Option<V>) -> Self {
        let hash = hash(name);
        let mut shards = match self.shards.is_empty() {
            true => vec![None; SHARDS],
            false => self.shards.to_vec(),
        };
        if let Some(shard) = shards.get_mut(shard_of(hash)) {
            let mut slots = shard.as_deref().map(<[_]>::to_vec).unwrap_or_default();
            let (at, there) = in_shard(&slots, hash, name, |_| {});
            let there = there.is_some();
            match (value, slots.get_mut(at)) {
                (Some(value), Some(slot)) if there => slot.value = value,
                (Some(value), _) => slots.insert(at, Slot { hash, value }),
                (None, _) if there => {
                    slots.remove(at);
                }
                (None, _) => {}
            }
            *shard = (!slots.is_empty()).then(|| slots.into());
        }
        if shards.iter().all(Option::is_none) {
            return Self::default();
        }
        Self {
            shards: shards.into(),
        }
    }
}
