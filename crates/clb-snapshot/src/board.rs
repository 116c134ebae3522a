//! What the control plane and the workers share: the snapshot, the settings, the counters.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use clb_balance::{CookieKey, Persistence};
use clb_model::{BindingId, PoolKey};
use crossbeam_utils::CachePadded;
use tokio::sync::Notify;

use crate::http::HttpSettings;
use crate::passive::Suspects;
use crate::pool::Pool;
use crate::refusal::{Refusal, Refusals};
use crate::rule_name::RuleNames;
use crate::snapshot::Snapshot;
use crate::sources::{Source, Sources};
use crate::udp::{UdpSessionPermit, UdpSettings, UdpSocketPermit, UdpTotals};

/// Settings that apply to the next connection on every worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaneSettings {
    /// How long one attempt to connect to a backend may take (`timeouts.backend_connect`).
    pub backend_connect: Duration,
    /// How long a relayed TCP connection may carry nothing (`timeouts.tcp_idle`). A change
    /// applies to open connections too, once the time they were given has run out.
    pub tcp_idle: Duration,
    /// Client connections open at the same time, all listeners together
    /// (`limits.connections`); `u64::MAX` for no limit.
    pub max_connections: u64,
    /// Sockets that client connections (two each) and UDP sessions may have at the same time:
    /// what the process may open, less what it needs for other things. UDP takes half of them at
    /// most. `u64::MAX` for no limit.
    pub max_sockets: u64,
    /// Octets of memory of the process's own beyond which nothing new is taken
    /// (`limits.memory`); `u64::MAX` for no limit.
    pub max_memory: u64,
    /// Client connections and UDP sessions of one client at the same time
    /// (`limits.connections_per_source`); `u64::MAX` for no limit.
    pub max_per_source: u64,
    /// Where connections to a backend come from when all ports of the kernel's choice are taken
    /// (`backends.source_addresses`).
    pub source_addresses: Arc<[IpAddr]>,
    /// When the kernel asks silent peers of relayed TCP connections whether they are there
    /// (`timeouts.tcp_keepalive`); `None` for never.
    pub tcp_keepalive: Option<Duration>,
    /// What HTTP listeners go by.
    pub http: HttpSettings,
    /// What UDP listeners go by.
    pub udp: UdpSettings,
    /// Whether failures that traffic meets take a backend of an HTTP or HTTPS listener out
    /// (`[health] passive`). Turning it off leaves those that are out for the rest of their time,
    /// ten seconds at most.
    pub passive_health: bool,
}

/// What is the oldest that another process hands over.
const BEFORE_EPOCH: Duration = Duration::from_secs(24 * 3600);

/// Lets one log line through in a while, over all workers, for what can happen ten thousand times
/// a second.
#[derive(Debug, Default)]
pub struct LogGate {
    /// When the gate opens again.
    next_ms: AtomicU64,
}

impl LogGate {
    /// True if nothing passed for `every_ms` milliseconds before `now_ms`; then this one passes.
    pub fn pass(&self, now_ms: u64, every_ms: u64) -> bool {
        let next_ms = self.next_ms.load(Ordering::Relaxed);
        now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(
                    next_ms,
                    now_ms.saturating_add(every_ms),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                )
                .is_ok()
    }
}

/// One worker's side of the board.
#[derive(Debug, Default)]
pub struct WorkerSlot {
    acked: AtomicU64,
    /// Listeners that the worker could not start.
    start_failures: AtomicU64,
    /// How often it was started anew.
    restarts: AtomicU64,
    wake: Notify,
}

impl WorkerSlot {
    /// The generation that the worker serves.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Acquire)
    }

    /// Listeners that the worker could not start although their sockets were bound, for lack of
    /// memory or descriptors.
    #[must_use]
    pub fn start_failures(&self) -> u64 {
        self.start_failures.load(Ordering::Relaxed)
    }

    /// How often the worker was started anew because it had panicked.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Counts that the worker is started anew.
    pub fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a listener that the worker could not start.
    pub fn count_start_failure(&self) {
        self.start_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until something was published since the last call returned. For the worker itself;
    /// a publication between two calls is not lost.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// What the control plane and the workers share. There is one for the life of the process.
#[derive(Debug)]
pub struct Board {
    snapshot: ArcSwap<Snapshot>,
    publishing: Mutex<()>,
    workers: Box<[CachePadded<WorkerSlot>]>,
    ack: Notify,
    settings: ArcSwap<PlaneSettings>,
    settings_version: AtomicU64,
    connections: CachePadded<AtomicU64>,
    closing: AtomicBool,
    handing_over: AtomicBool,
    memory: AtomicU64,
    is_over_memory: AtomicBool,
    sources: Sources,
    epoch: Instant,
    cookie_key: OnceLock<CookieKey>,
    /// Clients that were turned away, by reason.
    pub refused: Refusals,
    /// For the log line that says that descriptors or memory are used up.
    pub exhaustion_log: LogGate,
    /// For the log line that says that a backend's answer is none.
    pub bad_answer_log: LogGate,
    /// For the log line that says that routing gave up.
    pub routing_log: LogGate,
    panics: AtomicU64,
    /// For the log line that says that memory is used up.
    pub memory_log: LogGate,
    /// The layer-4 session persistence of all pools.
    pub persistence: Persistence<PoolKey>,
    /// Backends that traffic has taken out and that are to be probed at once.
    pub suspects: Suspects,
    /// What UDP listeners hold and dropped.
    pub udp: UdpTotals,
    /// The domains of rules, for the access log.
    pub rule_names: Arc<RuleNames>,
}

impl Board {
    /// A board for `workers` workers (at least one) with the empty snapshot;
    /// `persistence_entries` bounds the table of layer-4 sessions.
    #[must_use]
    pub fn new(workers: usize, settings: PlaneSettings, persistence_entries: usize) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(Snapshot::new()),
            publishing: Mutex::new(()),
            workers: (0..workers.max(1))
                .map(|_| CachePadded::default())
                .collect(),
            ack: Notify::new(),
            settings: ArcSwap::from_pointee(settings),
            settings_version: AtomicU64::new(0),
            connections: CachePadded::default(),
            closing: AtomicBool::new(false),
            handing_over: AtomicBool::new(false),
            memory: AtomicU64::new(0),
            is_over_memory: AtomicBool::new(false),
            sources: Sources::default(),
            epoch: epoch(),
            cookie_key: OnceLock::new(),
            refused: Refusals::default(),
            exhaustion_log: LogGate::default(),
            bad_answer_log: LogGate::default(),
            routing_log: LogGate::default(),
            panics: AtomicU64::new(0),
            memory_log: LogGate::default(),
            persistence: Persistence::new(persistence_entries),
            suspects: Suspects::default(),
            udp: UdpTotals::default(),
            rule_names: Arc::default(),
        }
    }

    /// The latest snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts a snapshot that was made from the [latest](Self::snapshot) in its place, wakes the
    /// workers and gives the generation to [wait](Self::wait_acked) for. One publisher only: of
    /// two that started from the same snapshot the later one would undo the other.
    pub fn publish(&self, mut snapshot: Snapshot) -> u64 {
        let publishing = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let generation = self.snapshot.load().generation + 1;
        snapshot.generation = generation;
        self.snapshot.store(Arc::new(snapshot));
        drop(publishing);
        self.wake_workers();
        generation
    }

    /// The newest generation that every worker serves.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.acked())
            .min()
            .unwrap_or(0)
    }

    /// Waits until every worker serves this generation or a later one: what it removed is no
    /// longer accepted anywhere and its sockets are closed. Cancelling the wait is safe.
    pub async fn wait_acked(&self, generation: u64) {
        loop {
            let notified = self.ack.notified();
            tokio::pin!(notified);
            // Before the look, so that an acknowledgement right after it is not missed.
            notified.as_mut().enable();
            if self.acked() >= generation {
                return;
            }
            notified.await;
        }
    }

    /// A worker tells that it serves this generation.
    pub fn ack(&self, worker: usize, generation: u64) {
        if let Some(slot) = self.workers.get(worker) {
            slot.acked.store(generation, Ordering::Release);
            self.ack.notify_waiters();
        }
    }

    /// All workers' sides, in order.
    #[must_use]
    pub fn workers(&self) -> &[CachePadded<WorkerSlot>] {
        &self.workers
    }

    /// The settings that hold now.
    #[must_use]
    pub fn settings(&self) -> Guard<Arc<PlaneSettings>> {
        self.settings.load()
    }

    /// Replaces the settings.
    pub fn set_settings(&self, settings: PlaneSettings) {
        self.settings.store(Arc::new(settings));
        self.settings_version.fetch_add(1, Ordering::Release);
    }

    /// Another number after each [`set_settings`](Self::set_settings): who has read it before
    /// [`settings`](Self::settings) and reads it again knows whether they still hold, for less than
    /// it costs to get them.
    #[must_use]
    pub fn settings_version(&self) -> u64 {
        self.settings_version.load(Ordering::Acquire)
    }

    /// Client connections open now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a connection of a client in; what there is for the client is counted while the second
    /// one lives, if it is counted at all.
    ///
    /// # Errors
    /// When there is no memory for it, when
    /// [`max_connections`](PlaneSettings::max_connections) are open or their sockets with those of
    /// UDP are as many as there [may be](PlaneSettings::max_sockets), or when the client has as many
    /// as [it may](PlaneSettings::max_per_source).
    pub fn permit(
        self: &Arc<Self>,
        client: IpAddr,
    ) -> Result<(ConnectionPermit, Option<SourcePermit>), Refusal> {
        if self.is_over_memory() {
            return Err(Refusal::MemoryLimit);
        }
        let settings = self.settings.load();
        let sockets = settings.max_sockets.saturating_sub(self.udp.sockets());
        let limit = settings.max_connections.min(sockets / 2);
        let source = self.sources.enter(client, settings.max_per_source);
        let source = source.ok_or(Refusal::Source)?;
        if count_below(&self.connections, limit) {
            let source = source.is_counted().then(|| SourcePermit {
                board: Arc::clone(self),
                source,
            });
            return Ok((ConnectionPermit(Arc::clone(self)), source));
        }
        self.sources.leave(source);
        Err(Refusal::Connections)
    }

    /// Counts a UDP session of a client in.
    ///
    /// # Errors
    /// When there is no memory for it, when [`max_sessions`](UdpSettings::max_sessions) are there,
    /// or when the client has as many as [it may](PlaneSettings::max_per_source).
    pub fn udp_session(self: &Arc<Self>, client: IpAddr) -> Result<UdpSessionPermit, Refusal> {
        if self.is_over_memory() {
            return Err(Refusal::MemoryLimit);
        }
        let settings = self.settings.load();
        let source = self.sources.enter(client, settings.max_per_source);
        let source = source.ok_or(Refusal::Source)?;
        if count_below(&self.udp.sessions, settings.udp.max_sessions) {
            return Ok(UdpSessionPermit::new(Arc::clone(self), source));
        }
        self.sources.leave(source);
        Err(Refusal::UdpSessions)
    }

    /// Counts a panic of a thread or a task, whichever.
    pub fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Panics since the start.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    /// Takes in how many octets of memory the process has of its own; whoever measures calls it
    /// many times a second.
    pub fn note_memory(&self, octets: u64) {
        self.memory.store(octets, Ordering::Relaxed);
        let is_over = octets > self.settings.load().max_memory;
        self.is_over_memory.store(is_over, Ordering::Relaxed);
    }

    /// Octets of memory as they were [noted](Self::note_memory).
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Whether there is no memory for anything new; what is under way goes on.
    #[must_use]
    pub fn is_over_memory(&self) -> bool {
        self.is_over_memory.load(Ordering::Relaxed)
    }

    pub(crate) fn leave(&self, source: Source) {
        self.sources.leave(source);
    }

    /// Counts a socket towards UDP backends in; `None` when UDP has half of all
    /// [sockets](PlaneSettings::max_sockets), or connections and UDP have all of them.
    #[must_use]
    pub fn udp_socket(self: &Arc<Self>) -> Option<UdpSocketPermit> {
        let sockets = self.settings.load().max_sockets;
        let left = sockets.saturating_sub(self.connections().saturating_mul(2));
        let limit = left.min(sockets / 2);
        count_below(&self.udp.sockets, limit).then(|| UdpSocketPermit::new(Arc::clone(self)))
    }

    /// A connect to a backend of an HTTP or HTTPS listener failed, or the backend reset the
    /// connection before the first octet of an answer (semantics.md 4, "Passive"). True if that
    /// took the backend out; then it is among the [`suspects`](Self::suspects). `now_ms` is of
    /// [`millis_at`](Self::millis_at).
    ///
    /// The other half is [`Passive::answered`], which every answer calls.
    ///
    /// [`Passive::answered`]: crate::Passive::answered
    pub fn backend_failed(&self, pool: &Pool, binding: BindingId, now_ms: u64) -> bool {
        let is_out = self.settings.load().passive_health && pool.failed(binding, now_ms);
        if is_out {
            self.suspects.add((pool.key(), binding));
        }
        is_out
    }

    /// Whether UDP has less than an eighth of the [sockets](Self::udp_socket) that it may have.
    #[must_use]
    pub fn udp_sockets_are_plenty(&self) -> bool {
        self.udp.sockets() < self.settings.load().max_sockets / 16
    }

    /// The key of the session cookies; none before it was [set](Self::set_cookie_key), and
    /// clients are not remembered then.
    #[must_use]
    pub fn cookie_key(&self) -> Option<&CookieKey> {
        self.cookie_key.get()
    }

    /// Sets the key of the session cookies, for the life of the process: the first one stays.
    pub fn set_cookie_key(&self, key: CookieKey) {
        let _ = self.cookie_key.set(key);
    }

    /// Milliseconds since a day before the board was made, for everything that counts in monotonic
    /// time.
    #[must_use]
    pub fn millis_at(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.epoch);
        // Not by way of 128 bits, whose division is a function of its own.
        let whole = passed.as_secs().saturating_mul(1_000);
        whole.saturating_add(u64::from(passed.subsec_millis()))
    }

    /// From now on, workers give the sockets of listeners that leave the snapshot back to
    /// [`Listener::sockets`](crate::Listener::sockets), with the UDP sessions, instead of closing
    /// them; until this is called with false.
    pub fn hand_over(&self, hands_over: bool) {
        self.handing_over.store(hands_over, Ordering::Release);
    }

    /// Whether sockets are to be [given back](Self::hand_over).
    #[must_use]
    pub fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Acquire)
    }

    /// Tells the workers to return: they stop accepting and, with their runtimes, reset what is
    /// open. To stop gently, publish the empty snapshot and wait for
    /// [`connections`](Self::connections) to fall to 0 first.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake_workers();
    }

    /// Whether [`close`](Self::close) was called.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn wake_workers(&self) {
        for worker in &self.workers {
            worker.wake.notify_one();
        }
    }
}

/// Some hours before now: what another process hands over is older than this one, and nothing that
/// is timed lives longer.
fn epoch() -> Instant {
    let now = Instant::now();
    now.checked_sub(BEFORE_EPOCH).unwrap_or(now)
}

/// Counts one more if there are fewer than `limit`.
fn count_below(counter: &AtomicU64, limit: u64) -> bool {
    // Adding first keeps this one step; a rival may see the sum one too high for a moment, but
    // never are more than the limit permitted.
    let is_below = counter.fetch_add(1, Ordering::Relaxed) < limit;
    if !is_below {
        counter.fetch_sub(1, Ordering::Relaxed);
    }
    is_below
}

/// A client connection that counts against the limits until this is dropped.
#[derive(Debug)]
pub struct ConnectionPermit(Arc<Board>);

/// A connection that counts against its client's share until this is dropped. Apart from the
/// permit, for few have such a limit, and each connection would be a size larger for it.
#[derive(Debug)]
pub struct SourcePermit {
    board: Arc<Board>,
    source: Source,
}

impl Drop for SourcePermit {
    fn drop(&mut self) {
        self.board.leave(self.source);
    }
}

impl ConnectionPermit {
    /// The board that gave the permit.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.0
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(max_connections: u64) -> PlaneSettings {
        PlaneSettings {
            backend_connect: Duration::from_secs(3),
            tcp_idle: Duration::from_secs(900),
            max_connections,
            max_sockets: u64::MAX,
            max_memory: u64::MAX,
            max_per_source: u64::MAX,
            source_addresses: std::sync::Arc::new([]),
            tcp_keepalive: None,
            http: HttpSettings::default(),
            udp: UdpSettings::default(),
            passive_health: true,
        }
    }

    #[test]
    fn the_least_acknowledgement_counts() {
        let board = Board::new(2, settings(1), 0);
        assert_eq!(board.publish(Snapshot::new()), 1);
        assert_eq!(board.publish(Snapshot::new()), 2);
        board.ack(0, 2);
        assert_eq!(board.acked(), 0);
        board.ack(1, 1);
        assert_eq!(board.acked(), 1);
        assert_eq!(board.snapshot().generation, 2);
    }

    #[tokio::test]
    async fn a_publisher_waits_for_the_last_worker() {
        let board = Arc::new(Board::new(2, settings(1), 0));
        let generation = board.publish(Snapshot::new());
        let worker = |index: usize| {
            let board = Arc::clone(&board);
            tokio::spawn(async move {
                if let Some(slot) = board.workers().get(index) {
                    slot.woken().await;
                }
                board.ack(index, board.snapshot().generation);
            })
        };
        let workers = [worker(0), worker(1)];
        board.wait_acked(generation).await;
        assert_eq!(board.acked(), generation);
        for worker in workers {
            worker.await.unwrap();
        }
    }

    #[test]
    fn permits_end_at_the_limit_and_come_back() {
        let board = Arc::new(Board::new(1, settings(2), 0));
        let client = IpAddr::from([192, 0, 2, 1]);
        let permits: Vec<_> = (0..2).map(|_| board.permit(client).unwrap()).collect();
        assert_eq!(board.permit(client).unwrap_err(), Refusal::Connections);
        assert_eq!(board.connections(), 2);
        drop(permits);
        assert_eq!(board.connections(), 0);
        assert!(board.permit(client).is_ok());
    }

    #[test]
    fn one_client_has_no_more_than_its_share_over_both_kinds() {
        let board = Arc::new(Board::new(1, settings(100), 0));
        let mut changed = settings(100);
        changed.max_per_source = 2;
        board.set_settings(changed);
        let clients = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let connection = board.permit(clients[0]).unwrap();
        let _session = board.udp_session(clients[0]).unwrap();
        assert_eq!(board.permit(clients[0]).unwrap_err(), Refusal::Source);
        assert_eq!(board.udp_session(clients[0]).unwrap_err(), Refusal::Source);
        // What was refused is not counted anywhere.
        assert_eq!((board.connections(), board.udp.sessions()), (1, 1));
        assert!(board.permit(clients[1]).is_ok());
        drop(connection);
        assert!(board.permit(clients[0]).is_ok());
    }

    #[test]
    fn beyond_its_memory_it_takes_nothing_new() {
        let board = Arc::new(Board::new(1, settings(100), 0));
        let mut changed = settings(100);
        changed.max_memory = 1_000;
        board.set_settings(changed);
        let client = IpAddr::from([192, 0, 2, 1]);
        board.note_memory(1_000);
        let kept = board.permit(client).unwrap();
        board.note_memory(1_001);
        assert_eq!(board.permit(client).unwrap_err(), Refusal::MemoryLimit);
        assert_eq!(board.udp_session(client).unwrap_err(), Refusal::MemoryLimit);
        assert_eq!(board.connections(), 1);
        board.note_memory(999);
        assert!(board.permit(client).is_ok());
        drop(kept);
    }

    #[test]
    fn one_line_a_minute_passes() {
        let gate = LogGate::default();
        let passed = [0, 1, 59_999, 60_000, 60_001, 300_000].map(|now| gate.pass(now, 60_000));
        assert_eq!(passed, [true, false, false, true, false, true]);
    }
}
