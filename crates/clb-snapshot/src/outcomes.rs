//! What monitoring wants to know of the requests that a member got.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::live::add;
use crate::rule_live::{CLASSES, FinishedRequest, add_each, class_of, micros_up, read};

/// Counters of one worker; those that most requests change come first and lie together.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Outcomes {
    classes: [AtomicU64; CLASSES],
    sum_micros: AtomicU64,
    longest: Longest,
    not_found: AtomicU64,
    bad_gateway: AtomicU64,
    timeouts: AtomicU64,
}

/// The longest time since it was asked for last, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Longest(AtomicU64);

/// Sums over all workers since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutcomeTotals {
    /// By [class](crate::REQUEST_CLASSES) of the status: the member's, or 502 and 504 where it gave
    /// no valid answer or none in time.
    pub classes: [u64; CLASSES],
    /// 404 among them.
    pub not_found: u64,
    /// 502 among them.
    pub bad_gateway: u64,
    /// Requests that the member did not answer in time.
    pub timeouts: u64,
    /// How long they took together.
    pub took: Duration,
}

impl Longest {
    pub(crate) fn record(&self, micros: u64) {
        // Rarely more than a look, which costs nothing beside the counters around it.
        if micros > read(&self.0) {
            self.0.fetch_max(micros, Ordering::Relaxed);
        }
    }

    pub(crate) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl Outcomes {
    /// Octets at the beginning that most requests change.
    pub(crate) const OFTEN: usize = std::mem::offset_of!(Self, not_found);

    /// To be called by the worker itself.
    pub(crate) fn record(&self, request: &FinishedRequest) {
        if let Some(class) = self.classes.get(class_of(request.status)) {
            add(class, 1);
        }
        let micros = micros_up(request.took);
        add(&self.sum_micros, micros);
        self.longest.record(micros);
        match (request.status, request.is_gateways) {
            (Some(404), _) => add(&self.not_found, 1),
            (Some(502), _) => add(&self.bad_gateway, 1),
            (Some(504), true) => add(&self.timeouts, 1),
            _ => {}
        }
    }

    pub(crate) fn take_longest(&self) -> u64 {
        self.longest.take()
    }
}

impl OutcomeTotals {
    pub(crate) fn add(&mut self, part: &Outcomes) {
        add_each(&mut self.classes, &part.classes);
        self.not_found = self.not_found.wrapping_add(read(&part.not_found));
        self.bad_gateway = self.bad_gateway.wrapping_add(read(&part.bad_gateway));
        self.timeouts = self.timeouts.wrapping_add(read(&part.timeouts));
        let took = Duration::from_micros(read(&part.sum_micros));
        self.took = self.took.saturating_add(took);
    }
}
