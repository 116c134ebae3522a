//! The listeners that the workers serve, as an immutable map that shares its unchanged parts with
//! the map it was made from.

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::sync::Arc;

use clb_model::ListenerId;
use foldhash::fast::FixedState;

use crate::listener::Listener;

/// A change copies one shard: with 10,000 listeners about 40 pointers, and the table of shards.
const SHARDS: usize = 256;

/// Sorted by id.
type Shard = Arc<[Arc<Listener>]>;

/// One generation of the data plane's configuration.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Rises by one with each [publication](crate::Board::publish), which sets it; 0 is the empty
    /// snapshot at the start.
    pub generation: u64,
    shards: Arc<[Shard]>,
}

/// How a listener differs between two snapshots.
#[derive(Debug, Clone)]
pub enum Change {
    /// The new snapshot only has it.
    Added(Arc<Listener>),
    /// Both have it, as different values.
    Changed {
        /// The earlier value.
        old: Arc<Listener>,
        /// The later value.
        new: Arc<Listener>,
    },
    /// The old snapshot only has it.
    Removed(Arc<Listener>),
}

impl Default for Snapshot {
    fn default() -> Self {
        let empty: Shard = Arc::from([]);
        Self {
            generation: 0,
            shards: (0..SHARDS).map(|_| Arc::clone(&empty)).collect(),
        }
    }
}

impl Snapshot {
    /// A snapshot without listeners.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The listener of this id.
    #[must_use]
    pub fn get(&self, id: ListenerId) -> Option<&Arc<Listener>> {
        let shard = self.shards.get(shard_of(id))?;
        let place = shard
            .binary_search_by_key(&id, |listener| listener.id)
            .ok()?;
        shard.get(place)
    }

    /// This snapshot with a listener added, or replaced if its id is there.
    #[must_use]
    pub fn insert(&self, listener: Arc<Listener>) -> Self {
        let id = listener.id;
        self.with_shard(id, |listeners| {
            match listeners.binary_search_by_key(&id, |listener| listener.id) {
                Ok(place) => {
                    if let Some(slot) = listeners.get_mut(place) {
                        *slot = listener;
                    }
                }
                Err(place) => listeners.insert(place, listener),
            }
        })
    }

    /// This snapshot without the listener of this id.
    #[must_use]
    pub fn remove(&self, id: ListenerId) -> Self {
        self.with_shard(id, |listeners| {
            listeners.retain(|listener| listener.id != id)
        })
    }

    /// All listeners, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Listener>> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// How many listeners there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len()).sum()
    }

    /// True without listeners.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.is_empty())
    }

    /// What must change to come from `old` to this snapshot. Shared parts cost one comparison.
    #[must_use]
    pub fn changes_since(&self, old: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (old, new) in old.shards.iter().zip(self.shards.iter()) {
            if !Arc::ptr_eq(old, new) {
                merge(old, new, &mut changes);
            }
        }
        changes
    }

    fn with_shard(&self, id: ListenerId, edit: impl FnOnce(&mut Vec<Arc<Listener>>)) -> Self {
        let mut shards = self.shards.to_vec();
        if let Some(shard) = shards.get_mut(shard_of(id)) {
            let mut listeners = shard.to_vec();
            edit(&mut listeners);
            *shard = listeners.into();
        }
        Self {
            generation: self.generation,
            shards: shards.into(),
        }
    }
}

fn shard_of(id: ListenerId) -> usize {
    // Ids are ours, nobody can aim them at a shard.
    let shards = SHARDS as u64;
    usize::try_from(FixedState::with_seed(0).hash_one(id) % shards).unwrap_or(0)
}

fn merge(old: &[Arc<Listener>], new: &[Arc<Listener>], changes: &mut Vec<Change>) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(before), Some(after)) => before.id.cmp(&after.id),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        changes.extend(match (before, after) {
            (Some(before), None) => Some(Change::Removed(Arc::clone(before))),
            (None, Some(after)) => Some(Change::Added(Arc::clone(after))),
            (Some(before), Some(after)) if !Arc::ptr_eq(before, after) => Some(Change::Changed {
                old: Arc::clone(before),
                new: Arc::clone(after),
            }),
            _ => None,
        });
    }
}

#[cfg(test)]
mod tests;
