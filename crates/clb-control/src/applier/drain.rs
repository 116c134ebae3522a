//! Connections of removed members and listeners: they get `timeouts.drain`, then are reset.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clb_snapshot::Live;
use tokio::time::Instant;

use super::plane::Removed;

/// What is being drained, by the end of its time.
#[derive(Default)]
pub(super) struct Drains {
    ends: BTreeMap<Instant, Vec<Arc<Live>>>,
}

impl Drains {
    /// Gives connections this much time; none at all resets them at once.
    pub(super) fn add(&mut self, removed: Removed, time: Duration) {
        if removed.is_empty() {
            return;
        }
        if time.is_zero() {
            removed.iter().for_each(|live| live.reset_all());
        } else {
            self.ends
                .entry(Instant::now() + time)
                .or_default()
                .extend(removed);
        }
    }

    /// When the next time is up.
    pub(super) fn next(&self) -> Option<Instant> {
        self.ends.keys().next().copied()
    }

    /// Resets those whose time is up.
    pub(super) fn reset_due(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.ends.first_entry() {
            if *first.key() > now {
                return;
            }
            first.remove().iter().for_each(|live| live.reset_all());
        }
    }

    /// Resets all of them.
    pub(super) fn reset_all(&mut self) {
        std::mem::take(&mut self.ends)
            .values()
            .flatten()
            .for_each(|live| live.reset_all());
    }
}
