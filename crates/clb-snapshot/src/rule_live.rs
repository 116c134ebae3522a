//! What became of the requests of a rule, or of a listener outside of its rules.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use crate::live::{CACHE_LINE, INLINE_WORKERS, add};
use crate::outcomes::{Longest, OutcomeTotals};

/// Upper ends of the histograms' buckets, in seconds; what is longer than the last one is counted
/// in none.
pub const DURATION_BOUNDS: [f64; BOUNDS] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];

const BOUNDS: usize = 16;

/// The same in microseconds, all of them whole.
const BOUNDS_MICROS: [u64; BOUNDS] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// Classes of status codes, as the `class` of `clb_requests_total`; the last one is for requests
/// whose client went away before an answer.
pub const REQUEST_CLASSES: [&str; CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];

pub(crate) const CLASSES: usize = 6;

/// The statuses of the gateway's own answers (semantics.md 6), in ascending order; others are
/// counted under 0.
pub const GATEWAY_STATUSES: [u16; GATEWAY] = [
    0, 302, 400, 404, 408, 413, 414, 417, 421, 431, 500, 501, 502, 503, 504, 505,
];

const GATEWAY: usize = 16;

/// Counters by worker, each worker's on cache lines of its own and taken from memory when the first
/// request comes: with ten thousand rules most workers never see most of them.
#[derive(Debug)]
pub struct RuleLive {
    /// Those of few workers are here and not one more place away.
    workers: SmallVec<[OnceLock<Box<CachePadded<Part>>>; INLINE_WORKERS]>,
}

/// In this order in memory: what a request that is quickly answered counts lies on two cache lines
/// side by side, for the counters of a rule that is seldom asked for are not in the cache.
#[derive(Debug, Default)]
#[repr(C)]
struct Part {
    classes: [AtomicU64; CLASSES],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    longest: Longest,
    requests: Histogram,
    connects: Histogram,
    gateway: [AtomicU64; GATEWAY],
    not_found: AtomicU64,
    bad_gateway: AtomicU64,
}

/// Counts by bucket, each without those below it, and the sum.
#[derive(Debug, Default)]
#[repr(C)]
struct Histogram {
    sum_micros: AtomicU64,
    /// Longer than the last bound.
    beyond: AtomicU64,
    buckets: [AtomicU64; BOUNDS],
}

/// A request that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FinishedRequest {
    /// The status that the client was sent; `None` if it went away before.
    pub status: Option<u16>,
    /// Whether the gateway itself gave the answer.
    pub is_gateways: bool,
    /// From the first octet of the request to the last of the answer.
    pub took: Duration,
}

/// Sums over all workers since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestTotals {
    /// By [class](REQUEST_CLASSES).
    pub classes: [u64; CLASSES],
    /// Answers that the gateway itself gave, by [status](GATEWAY_STATUSES); they are among the
    /// classes too.
    pub gateway: [u64; GATEWAY],
    /// Of all answers: 404.
    pub not_found: u64,
    /// Of all answers: 502.
    pub bad_gateway: u64,
    /// Bytes of requests and of tunnels that were passed on towards members.
    pub bytes_in: u64,
    /// Bytes of answers and of tunnels that went to clients, the gateway's own answers among them.
    pub bytes_out: u64,
    /// How long requests took.
    pub requests: HistogramTotals,
    /// How long it took to connect to backends, successful connects only.
    pub connects: HistogramTotals,
}

/// A histogram's sums over all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HistogramTotals {
    /// How many there were.
    pub count: u64,
    /// The sum.
    pub sum: Duration,
    /// Of each [bound](DURATION_BOUNDS): how many were not longer, but longer than the bound
    /// before. Those longer than the last one are in `count` only.
    pub buckets: [u64; BOUNDS],
}

pub(crate) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

pub(crate) fn add_each<const N: usize>(sums: &mut [u64; N], counters: &[AtomicU64; N]) {
    for (sum, counter) in sums.iter_mut().zip(counters) {
        *sum = sum.wrapping_add(read(counter));
    }
}

/// Up, so that what is a little longer than a bound is not counted as within it.
pub(crate) fn micros_up(took: Duration) -> u64 {
    // Not by way of 128 bits, whose division is a function of its own.
    let whole = took.as_secs().saturating_mul(1_000_000);
    whole.saturating_add(u64::from(took.subsec_nanos().div_ceil(1_000)))
}

/// The place of a status among the classes.
pub(crate) fn class_of(status: Option<u16>) -> usize {
    match status {
        Some(status @ 100..=599) => usize::from(status / 100 - 1),
        _ => CLASSES - 1,
    }
}

impl Histogram {
    fn record(&self, took: Duration) {
        let micros = micros_up(took);
        let place = BOUNDS_MICROS.partition_point(|&bound| bound < micros);
        let bucket = self.buckets.get(place).unwrap_or(&self.beyond);
        add(bucket, 1);
        add(&self.sum_micros, micros);
    }
}

impl RuleLive {
    /// Counters for a plane of `workers` workers (at least one), which are counted from 0; one that
    /// is not there is not counted.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
        }
    }

    /// The cache lines that a quick request of this worker is counted on, for the processor to fetch
    /// while something else is done (ADR 19). The addresses are for that only.
    #[inline]
    pub fn visit_counters(&self, worker: usize, mut visit: impl FnMut(*const u8)) {
        if let Some(part) = self.workers.get(worker).and_then(OnceLock::get) {
            let part = (&raw const **part).cast::<u8>();
            visit(part);
            visit(part.wrapping_add(CACHE_LINE));
        }
    }

    /// Counts a request that is over. To be called by the worker itself.
    pub fn record(&self, worker: usize, request: &FinishedRequest) {
        let Some(part) = self.part(worker) else {
            return;
        };
        if let Some(class) = part.classes.get(class_of(request.status)) {
            add(class, 1);
        }
        match request.status {
            Some(404) => add(&part.not_found, 1),
            Some(502) => add(&part.bad_gateway, 1),
            _ => {}
        }
        part.longest.record(micros_up(request.took));
        if request.is_gateways {
            let status = request.status.unwrap_or(0);
            let place = GATEWAY_STATUSES.binary_search(&status).unwrap_or(0);
            if let Some(counter) = part.gateway.get(place) {
                add(counter, 1);
            }
        }
        part.requests.record(request.took);
    }

    /// Adds bytes that came from clients and went to them, as they pass: a long answer or tunnel
    /// shows while it lasts. To be called by the worker itself.
    pub fn count_bytes(&self, worker: usize, bytes_in: u64, bytes_out: u64) {
        let Some(part) = self.part(worker) else {
            return;
        };
        if bytes_in > 0 {
            add(&part.bytes_in, bytes_in);
        }
        if bytes_out > 0 {
            add(&part.bytes_out, bytes_out);
        }
    }

    /// Counts a connection to a backend that was established for a request. To be called by the
    /// worker itself.
    pub fn record_connect(&self, worker: usize, took: Duration) {
        if let Some(part) = self.part(worker) {
            part.connects.record(took);
        }
    }

    /// Sums over all workers. Read while they count, so the sums of one scrape need not fit each
    /// other to the last request.
    #[must_use]
    pub fn totals(&self) -> RequestTotals {
        let mut totals = RequestTotals::default();
        for part in self.workers.iter().filter_map(OnceLock::get) {
            add_each(&mut totals.classes, &part.classes);
            add_each(&mut totals.gateway, &part.gateway);
            totals.not_found = totals.not_found.wrapping_add(read(&part.not_found));
            totals.bad_gateway = totals.bad_gateway.wrapping_add(read(&part.bad_gateway));
            totals.bytes_in = totals.bytes_in.wrapping_add(read(&part.bytes_in));
            totals.bytes_out = totals.bytes_out.wrapping_add(read(&part.bytes_out));
            totals.requests.add(&part.requests);
            totals.connects.add(&part.connects);
        }
        totals
    }

    /// The sums that monitoring wants: of less memory than [`totals`](Self::totals) reads.
    #[must_use]
    pub fn outcomes(&self) -> OutcomeTotals {
        let mut totals = OutcomeTotals::default();
        let timeout = GATEWAY_STATUSES.binary_search(&504);
        for part in self.workers.iter().filter_map(OnceLock::get) {
            add_each(&mut totals.classes, &part.classes);
            totals.not_found = totals.not_found.wrapping_add(read(&part.not_found));
            totals.bad_gateway = totals.bad_gateway.wrapping_add(read(&part.bad_gateway));
            let timeouts = timeout.ok().and_then(|place| part.gateway.get(place));
            totals.timeouts = totals.timeouts.wrapping_add(timeouts.map_or(0, read));
            let took = Duration::from_micros(read(&part.requests.sum_micros));
            totals.took = totals.took.saturating_add(took);
        }
        totals
    }

    /// Bytes from clients and to them, as in [`RequestTotals`].
    #[must_use]
    pub fn bytes(&self) -> (u64, u64) {
        let parts = self.workers.iter().filter_map(OnceLock::get);
        parts.fold((0, 0), |(bytes_in, bytes_out), part| {
            (
                bytes_in + read(&part.bytes_in),
                bytes_out + read(&part.bytes_out),
            )
        })
    }

    /// How long the longest request took since this was called last; for one caller.
    #[must_use]
    pub fn take_longest(&self) -> Duration {
        let parts = self.workers.iter().filter_map(OnceLock::get);
        let longest = parts.map(|part| part.longest.take()).max();
        Duration::from_micros(longest.unwrap_or(0))
    }

    fn part(&self, worker: usize) -> Option<&Part> {
        Some(self.workers.get(worker)?.get_or_init(Box::default))
    }
}

impl RequestTotals {
    /// Adds what was counted elsewhere.
    pub fn add(&mut self, other: &Self) {
        let sums = self.classes.iter_mut().chain(&mut self.gateway);
        for (sum, count) in sums.zip(other.classes.iter().chain(&other.gateway)) {
            *sum = sum.wrapping_add(*count);
        }
        self.not_found = self.not_found.wrapping_add(other.not_found);
        self.bad_gateway = self.bad_gateway.wrapping_add(other.bad_gateway);
        self.bytes_in = self.bytes_in.wrapping_add(other.bytes_in);
        self.bytes_out = self.bytes_out.wrapping_add(other.bytes_out);
        self.add_durations(other);
    }

    /// Adds only how long it took there.
    pub fn add_durations(&mut self, other: &Self) {
        self.requests.join(&other.requests);
        self.connects.join(&other.connects);
    }

    /// All requests, whatever became of them.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

impl HistogramTotals {
    fn join(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum = sum.wrapping_add(count);
        }
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.saturating_add(other.sum);
    }

    fn add(&mut self, part: &Histogram) {
        let before: u64 = self.buckets.iter().sum();
        add_each(&mut self.buckets, &part.buckets);
        let after: u64 = self.buckets.iter().sum();
        // Of the same reading as the buckets, so that they add up to it.
        self.count += after - before + read(&part.beyond);
        self.sum = self
            .sum
            .saturating_add(Duration::from_micros(read(&part.sum_micros)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn finished(status: Option<u16>, is_gateways: bool, micros: u64) -> FinishedRequest {
        FinishedRequest {
            status,
            is_gateways,
            took: Duration::from_micros(micros),
        }
    }

    #[test]
    fn each_class_and_gateway_answer_has_its_own_count() {
        let live = RuleLive::new(2);
        for (worker, status) in [(0, 101), (0, 200), (1, 200), (0, 304), (1, 404), (0, 599)] {
            live.record(worker, &finished(Some(status), false, 1));
        }
        live.record(1, &finished(Some(503), true, 1));
        live.record(0, &finished(Some(418), true, 1));
        live.record(0, &finished(None, false, 1));
        live.record(0, &finished(Some(600), false, 1));
        let totals = live.totals();
        assert_eq!(totals.classes, [1, 2, 1, 2, 2, 2]);
        assert_eq!(totals.count(), 10);
        let gateway: Vec<_> = GATEWAY_STATUSES
            .into_iter()
            .zip(totals.gateway)
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(gateway, [(0, 1), (503, 1)]);
        assert!(GATEWAY_STATUSES.is_sorted());
    }

    #[test]
    fn bytes_add_up_over_the_workers() {
        let live = RuleLive::new(2);
        live.count_bytes(0, 1, 0);
        live.count_bytes(1, 2, 3);
        live.count_bytes(2, 10, 20);
        let totals = live.totals();
        assert_eq!((totals.bytes_in, totals.bytes_out), (3, 3));
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let live = RuleLive::new(1);
        for nanos in [0, 500_000, 500_001, 60_000_000_000, 60_000_000_001] {
            live.record_connect(0, Duration::from_nanos(nanos));
        }
        let connects = live.totals().connects;
        assert_eq!(connects.count, 5);
        let buckets = connects.buckets;
        assert_eq!((buckets[0], buckets[1], buckets[15]), (2, 1, 1));
        assert_eq!(live.totals().requests, HistogramTotals::default());
    }

    #[test]
    fn the_two_tables_of_bounds_agree() {
        for (seconds, micros) in DURATION_BOUNDS.into_iter().zip(BOUNDS_MICROS) {
            assert_eq!(
                Duration::from_secs_f64(seconds),
                Duration::from_micros(micros)
            );
        }
        assert!(BOUNDS_MICROS.is_sorted());
    }

    #[test]
    fn workers_that_count_at_once_lose_nothing() {
        let live = Arc::new(RuleLive::new(4));
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let live = &live;
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        live.record(worker, &finished(Some(200), false, 2));
                    }
                });
            }
        });
        let totals = live.totals();
        assert_eq!((totals.classes[1], totals.requests.count), (4_000, 4_000));
        assert_eq!(totals.requests.sum, Duration::from_micros(8_000));
    }

    proptest! {
        #[test]
        fn buckets_hold_what_counting_gives(
            micros in prop::collection::vec(0u64..100_000_000, 0..50),
        ) {
            let live = RuleLive::new(3);
            for (worker, micros) in [0, 1, 2].into_iter().cycle().zip(&micros) {
                live.record(worker, &finished(None, false, *micros));
            }
            let totals = live.totals().requests;
            prop_assert_eq!(totals.count, micros.len() as u64);
            prop_assert_eq!(totals.sum, Duration::from_micros(micros.iter().sum()));
            let mut sum = 0;
            for (bound, count) in BOUNDS_MICROS.into_iter().zip(totals.buckets) {
                sum += count;
                let within = micros.iter().filter(|micros| **micros <= bound).count();
                prop_assert_eq!(sum, within as u64);
            }
        }
    }
}
