//! What a member or a listener is doing right now: counts, totals, open connections.

use std::mem::offset_of;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slab::Slab;
use tokio::task::AbortHandle;

use crate::outcomes::{OutcomeTotals, Outcomes};
use crate::passive::Passive;
use crate::rule_live::FinishedRequest;

/// The live state of one binding. It belongs to the binding's id for as long as that exists: who
/// compiles a new [`PoolView`](crate::PoolView) puts the same `Arc` into it.
pub type MemberLive = Live;

/// The live state of one listener. It belongs to the listener's id for as long as that exists: who
/// compiles a new [`Listener`](crate::Listener) puts the same `Arc` into it.
pub type ListenerLive = Live;

/// Live state of a member or a listener.
///
/// Totals and the registry of open connections are kept by worker, each on cache lines of its own,
/// so that workers do not wait for each other; only the active count, which least_conn compares
/// over all workers, is one number.
///
/// With thousands of rules a request finds none of this in a cache, so what it touches is one piece
/// of memory of few lines (ADR 19): all but the parts shares the line with the `Arc`'s own counts,
/// which every request changes anyway, and the parts of two workers follow.
#[derive(Debug)]
#[repr(C)]
pub struct Live {
    active: AtomicU64,
    passive: Passive,
    workers: usize,
    /// Of the first workers; those that are not there are not used.
    near: [Apart<WorkerPart>; INLINE_WORKERS],
    /// Of the others.
    more: Box<[Apart<WorkerPart>]>,
}

/// Shares no cache line with what comes after it. It is not aligned to a line, as
/// `CachePadded` is: then the `Arc`'s counts would have a line of their own.
#[derive(Debug, Default)]
#[repr(C)]
struct Apart<T> {
    inner: T,
    _space: [u64; 8],
}

/// Workers whose parts are not elsewhere.
pub(crate) const INLINE_WORKERS: usize = 2;

/// Octets.
pub(crate) const CACHE_LINE: usize = 64;

/// What an HTTP request changes comes first.
#[derive(Debug, Default)]
#[repr(C)]
struct WorkerPart {
    open: Mutex<OpenConnections>,
    opened: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// HTTP.
    outcomes: Outcomes,
    failed: AtomicU64,
    /// UDP.
    datagrams_in: AtomicU64,
    datagrams_out: AtomicU64,
}

#[derive(Debug, Default)]
struct OpenConnections {
    tasks: Tasks,
    closed: bool,
}

/// The tasks of open connections by key; `None` between admission and the moment when the task's
/// handle is known. The first one is here, for most members of many have no more.
#[derive(Debug, Default)]
struct Tasks {
    first: Option<Option<AbortHandle>>,
    /// Their keys are one higher. Elsewhere in memory, so that a worker's part is short.
    more: Option<Box<Slab<Option<AbortHandle>>>>,
}

impl Tasks {
    fn insert(&mut self, task: Option<AbortHandle>) -> usize {
        if self.first.is_none() {
            self.first = Some(task);
            return 0;
        }
        let more = self.more.get_or_insert_default();
        more.insert(task).saturating_add(1)
    }

    fn get_mut(&mut self, key: usize) -> Option<&mut Option<AbortHandle>> {
        match key.checked_sub(1) {
            None => self.first.as_mut(),
            Some(key) => self.more.as_mut()?.get_mut(key),
        }
    }

    fn remove(&mut self, key: usize) {
        match key.checked_sub(1) {
            None => self.first = None,
            Some(key) => {
                if let Some(more) = &mut self.more {
                    drop(more.try_remove(key));
                }
            }
        }
    }

    /// The handles that are known.
    fn handles(&self) -> impl Iterator<Item = &AbortHandle> {
        let more = self.more.iter().flat_map(|more| more.iter());
        let more = more.filter_map(|(_, task)| task.as_ref());
        self.first.iter().flatten().chain(more)
    }
}

/// Adds to a counter of one worker, which is one thread: without the locked instruction of
/// `fetch_add`, where the processor waits until the line has come from memory.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(amount);
    counter.store(sum, Ordering::Relaxed);
}

/// Sums over all workers since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// A listener's accepted connections; a member's established ones.
    pub opened: u64,
    /// A listener's connections that no member took; a member's failed attempts to connect.
    pub failed: u64,
    /// Bytes from clients that were passed on towards members.
    pub bytes_in: u64,
    /// Bytes from members that were passed on towards clients.
    pub bytes_out: u64,
    /// UDP: datagrams from clients that were passed on towards members.
    pub datagrams_in: u64,
    /// UDP: datagrams from members that were passed on towards clients.
    pub datagrams_out: u64,
}

impl WorkerPart {
    /// Octets at the beginning that most HTTP requests change.
    const OFTEN: usize = offset_of!(Self, outcomes) + Outcomes::OFTEN;

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// Live state for a plane of `workers` workers (at least one), which are counted from 0. Each
    /// is one thread; it must not count for another, and one that is not there is not counted.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = workers.max(1);
        Self {
            active: AtomicU64::default(),
            passive: Passive::default(),
            workers,
            near: Default::default(),
            more: (INLINE_WORKERS..workers)
                .map(|_| Apart::default())
                .collect(),
        }
    }

    /// The cache lines that admitting a request of this worker changes, by an address that need not be
    /// that of a live state any more. Of a worker whose part is elsewhere only the first.
    #[inline]
    pub(crate) fn visit_admission(
        at: *const Self,
        worker: usize,
        mut visit: impl FnMut(*const u8),
    ) {
        visit(at.cast());
        if let Some(part) = Self::near(at, worker) {
            visit(part);
        }
    }

    /// Where the part of a worker is, if it is not elsewhere.
    fn near(at: *const Self, worker: usize) -> Option<*const u8> {
        let offset = offset_of!(Self, near) + worker * size_of::<Apart<WorkerPart>>();
        (worker < INLINE_WORKERS).then(|| at.cast::<u8>().wrapping_add(offset))
    }

    /// What traffic says of this member's health.
    #[must_use]
    pub fn passive(&self) -> &Passive {
        &self.passive
    }

    /// Connections open now, over all workers; for a member those being opened are among them.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// The count itself, for choosing by it.
    pub(crate) fn active_counter(&self) -> &AtomicU64 {
        &self.active
    }

    /// Sums over all workers. Bytes are added when they have been passed on, so a long connection
    /// shows while it lasts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let parts = self.parts();
        parts.fold(Totals::default(), |sum, part| {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            Totals {
                opened: sum.opened.wrapping_add(read(&part.opened)),
                failed: sum.failed.wrapping_add(read(&part.failed)),
                bytes_in: sum.bytes_in.wrapping_add(read(&part.bytes_in)),
                bytes_out: sum.bytes_out.wrapping_add(read(&part.bytes_out)),
                datagrams_in: sum.datagrams_in.wrapping_add(read(&part.datagrams_in)),
                datagrams_out: sum.datagrams_out.wrapping_add(read(&part.datagrams_out)),
            }
        })
    }

    /// HTTP: sums over all workers of what became of a member's requests.
    #[must_use]
    pub fn outcomes(&self) -> OutcomeTotals {
        let mut totals = OutcomeTotals::default();
        self.parts().for_each(|part| totals.add(&part.outcomes));
        totals
    }

    /// HTTP: how long the longest request took since this was called last; for one caller.
    #[must_use]
    pub fn take_longest(&self) -> Duration {
        let longest = self.parts().map(|part| part.outcomes.take_longest()).max();
        Duration::from_micros(longest.unwrap_or(0))
    }

    /// Resets every connection that is open here and admits none from now on: for the end of the
    /// drain of a binding or listener that was removed. Their ids never come back, so neither does
    /// this state. The connections' tasks are cancelled on their own workers, soon after.
    pub fn reset_all(&self) {
        for part in self.parts() {
            let tasks: Vec<AbortHandle> = {
                let mut open = part.open();
                open.closed = true;
                open.tasks.handles().cloned().collect()
            };
            // Outside the lock: cancelling may end in a task's own entry being removed.
            tasks.iter().for_each(AbortHandle::abort);
        }
    }

    /// Counts a connection in and keeps a place for its task's handle; `None` after
    /// [`reset_all`](Self::reset_all).
    #[must_use]
    pub fn admit(self: &Arc<Self>, worker: usize) -> Option<Admission> {
        let (worker, key) = self.register(worker, None)?;
        Some(Admission {
            counted: Counted::new(Arc::clone(self)),
            worker,
            key,
        })
    }

    /// Counts a session in that no task serves: [`reset_all`](Self::reset_all) does not end it.
    #[must_use]
    pub fn count(self: &Arc<Self>, worker: usize) -> Admission {
        Counted::new(Arc::clone(self)).count(worker)
    }

    /// Hands in the handle of the task that holds the admission with this key; aborts the task if
    /// [`reset_all`](Self::reset_all) came in between.
    pub fn arm(&self, worker: usize, key: usize, task: AbortHandle) {
        let Some(part) = self.part(worker) else {
            return;
        };
        let mut open = part.open();
        if open.closed {
            drop(open);
            task.abort();
        } else if let Some(entry) = open.tasks.get_mut(key) {
            *entry = Some(task);
        }
    }

    fn register(&self, worker: usize, task: Option<AbortHandle>) -> Option<(u32, u32)> {
        let mut open = self.part(worker)?.open();
        if open.closed {
            return None;
        }
        let worker = u32::try_from(worker).ok()?;
        let key = open.tasks.insert(task);
        // So many connections as would not fit there can not be.
        Some((worker, u32::try_from(key).ok()?))
    }

    fn part(&self, worker: usize) -> Option<&WorkerPart> {
        let part = match worker.checked_sub(INLINE_WORKERS) {
            None if worker < self.workers => self.near.get(worker),
            None => None,
            Some(more) => self.more.get(more),
        };
        part.map(|part| &part.inner)
    }

    fn parts(&self) -> impl Iterator<Item = &WorkerPart> {
        let parts = self.near.iter().take(self.workers).chain(&self.more);
        parts.map(|part| &part.inner)
    }
}

/// One active connection's share of the count, until this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<Live>);

impl Counted {
    /// Counts a connection in.
    pub(crate) fn new(live: Arc<Live>) -> Self {
        live.active.fetch_add(1, Ordering::Relaxed);
        Self(live)
    }

    /// For a connection that the choice has counted in.
    pub(crate) fn already(live: Arc<Live>) -> Self {
        Self(live)
    }

    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.0
    }

    /// As [`Live::count`] for this session.
    pub(crate) fn count(self, worker: usize) -> Admission {
        Admission {
            counted: self,
            worker: u32::try_from(worker).unwrap_or(u32::MAX),
            key: NO_KEY,
        }
    }

    /// As [`Live::admit`] for this connection.
    pub(crate) fn admit(self, worker: usize, task: AbortHandle) -> Option<Admission> {
        let (worker, key) = self.0.register(worker, Some(task))?;
        Some(Admission {
            counted: self,
            worker,
            key,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The key of an admission without a place for a task.
const NO_KEY: u32 = u32::MAX;

fn widen(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// A connection that is counted as active at a member or listener and can be reset from there,
/// until this is dropped.
#[derive(Debug)]
pub struct Admission {
    counted: Counted,
    // Narrow, because every open connection holds two of these.
    worker: u32,
    key: u32,
}

impl Admission {
    /// Names the place for the task's handle, see [`Live::arm`].
    #[must_use]
    pub fn key(&self) -> usize {
        widen(self.key)
    }

    /// The worker that holds it.
    #[must_use]
    pub fn worker(&self) -> usize {
        widen(self.worker)
    }

    /// The handle that was handed in by [`Live::arm`].
    #[must_use]
    pub fn task(&self) -> Option<AbortHandle> {
        let mut open = self.counted.live().part(widen(self.worker))?.open();
        open.tasks.get_mut(widen(self.key))?.clone()
    }

    /// The cache lines that [`count_bytes`](Self::count_bytes), [`count_request`](Self::count_request)
    /// and the end of this change, for the processor to fetch side by side while something else is
    /// done (ADR 19). The addresses are for that only.
    #[inline]
    pub fn visit_counters(&self, mut visit: impl FnMut(*const u8)) {
        let live = Arc::as_ptr(self.counted.live());
        visit(live.cast());
        if let Some(part) = Live::near(live, self.worker()) {
            for offset in (0..WorkerPart::OFTEN).step_by(CACHE_LINE) {
                visit(part.wrapping_add(offset));
            }
            // A part seldom begins where a line does.
            visit(part.wrapping_add(WorkerPart::OFTEN - 1));
        }
    }

    /// Adds to [`Totals::opened`].
    pub fn count_opened(&self) {
        self.add(|part| &part.opened, 1);
    }

    /// Counts a request that is over, as far as this member is concerned.
    pub fn count_request(&self, request: &FinishedRequest) {
        if let Some(part) = self.counted.live().part(widen(self.worker)) {
            part.outcomes.record(request);
        }
    }

    /// Adds to [`Totals::failed`].
    pub fn count_failed(&self) {
        self.add(|part| &part.failed, 1);
    }

    /// Adds bytes that were passed on towards the member and towards the client.
    pub fn count_bytes(&self, bytes_in: u64, bytes_out: u64) {
        if bytes_in > 0 {
            self.add(|part| &part.bytes_in, bytes_in);
        }
        if bytes_out > 0 {
            self.add(|part| &part.bytes_out, bytes_out);
        }
    }

    /// Adds one datagram of `bytes` bytes that was passed on towards the member.
    pub fn count_datagram_in(&self, bytes: u64) {
        self.add(|part| &part.datagrams_in, 1);
        self.add(|part| &part.bytes_in, bytes);
    }

    /// Adds one datagram of `bytes` bytes that was passed on towards the client.
    pub fn count_datagram_out(&self, bytes: u64) {
        self.add(|part| &part.datagrams_out, 1);
        self.add(|part| &part.bytes_out, bytes);
    }

    fn add(&self, counter: impl Fn(&WorkerPart) -> &AtomicU64, amount: u64) {
        if let Some(part) = self.counted.live().part(widen(self.worker)) {
            add(counter(part), amount);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if self.key == NO_KEY {
            return;
        }
        if let Some(part) = self.counted.live().part(widen(self.worker)) {
            part.open().tasks.remove(widen(self.key));
        }
    }
}

#[cfg(test)]
mod tests;
