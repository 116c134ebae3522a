//! The control plane's figures, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use clb_health::Counters;

/// Counted since the start.
#[derive(Debug, Default)]
pub struct Stats {
    revision: AtomicU64,
    tasks_succeeded: AtomicU64,
    tasks_failed: AtomicU64,
    applies: AtomicU64,
    apply_nanos: AtomicU64,
    view: ArcSwap<StatsView>,
}

/// As it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsView {
    /// Distinct probes under way each interval.
    pub probes: usize,
    /// Members under check.
    pub members: usize,
    /// Probes by result.
    pub health: Counters,
    /// Listeners of the stored state that are not served.
    pub unbound: usize,
    /// Tasks that have not ended.
    pub pending: usize,
}

impl Stats {
    pub(super) fn set_revision(&self, revision: u64) {
        self.revision.store(revision, Ordering::Relaxed);
    }

    pub(super) fn task_ended(&self, well: bool) {
        let counter = if well {
            &self.tasks_succeeded
        } else {
            &self.tasks_failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn applied(&self, took: Duration) {
        self.applies.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.apply_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn update(&self, view: StatsView) {
        if **self.view.load() != view {
            self.view.store(std::sync::Arc::new(view));
        }
    }

    /// Newest revision of the store that was taken in.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Relaxed)
    }

    /// Tasks that ended: succeeded, failed.
    #[must_use]
    pub fn tasks(&self) -> (u64, u64) {
        (
            self.tasks_succeeded.load(Ordering::Relaxed),
            self.tasks_failed.load(Ordering::Relaxed),
        )
    }

    /// How many tasks were compiled, and the time that took in all.
    #[must_use]
    pub fn applies(&self) -> (u64, Duration) {
        let nanos = self.apply_nanos.load(Ordering::Relaxed);
        (
            self.applies.load(Ordering::Relaxed),
            Duration::from_nanos(nanos),
        )
    }

    /// As it is now.
    #[must_use]
    pub fn view(&self) -> std::sync::Arc<StatsView> {
        self.view.load_full()
    }
}
