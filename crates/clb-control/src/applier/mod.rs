//! Brings tasks into force: follows the store's change feed, compiles, binds, publishes, waits for
//! the workers, reports. Drives the health checks too, for both change the same pools.
//!
//! It is a thread of its own with one runtime, and the only one that touches what it compiles: no
//! lock is held anywhere on this road.

mod drain;
mod handover;
mod health;
mod plane;
mod probes;
mod report;
mod stats;
mod tasks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clb_health::Limit;
use clb_model::{Change, Object, PoolKey, ProbeMethod, State, Task, TaskId, TaskState};
use clb_snapshot::{Board, Listener};
use clb_store::{Committed, LiveStore, Watch};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::clock::Clock;
use crate::engine::EngineHandle;
use drain::Drains;
use health::{Health, ProbeResult};
use plane::{Plane, Removed};
use tasks::{TaskQueue, waits_for_workers};

pub use handover::{Promised, Succession};
pub use report::MemberReport;
pub use stats::{Stats, StatsView};

/// How often listeners whose port was taken at start are tried again.
const RETRY_UNBOUND: Duration = Duration::from_secs(5);
/// How often health is saved; a kill loses no more.
const SAVE_HEALTH: Duration = Duration::from_secs(1);
/// Probes that run at once; each holds a socket.
const PROBES_AT_ONCE: usize = 1024;
/// How often a drain looks whether the connections are gone.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long connections that were reset at the end of a drain may take to be gone.
const RESET_TIME: Duration = Duration::from_secs(2);

/// Settings that may change while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplierSettings {
    /// `timeouts.drain`
    pub drain: Duration,
    /// `timeouts.task`
    pub task: Duration,
    /// What probes do that are not told.
    pub probes: ProbeSettings,
}

/// `[health]`: what probes do that are not told by their listener or rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSettings {
    /// `http_method`
    pub http_method: ProbeMethod,
    /// `udp_payload`
    pub udp_payload: Arc<[u8]>,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            http_method: ProbeMethod::Get,
            udp_payload: Arc::default(),
        }
    }
}

/// What the applier is told beside the feed.
#[derive(Debug)]
pub enum Order {
    /// New settings.
    Settings(ApplierSettings),
    /// Tell what is known of the health of a pool's members.
    Health(PoolKey, oneshot::Sender<Vec<MemberReport>>),
    /// Tell when no task is under way, and save nothing from then on.
    Hold(oneshot::Sender<()>),
    /// Have the workers give their listening sockets back, and tell which listeners they are of.
    Release(oneshot::Sender<Vec<Arc<Listener>>>),
    /// Go on as before [`Hold`](Self::Hold).
    GoOn,
    /// Stop accepting, drain, then tell.
    Stop(oneshot::Sender<()>),
}

/// A task that is compiled and waits for the workers.
struct Applying {
    task: Arc<Task>,
    generation: u64,
    deadline: Instant,
}

/// See the module.
pub struct Applier {
    engine: EngineHandle,
    board: Arc<Board>,
    feed: Watch,
    orders: mpsc::UnboundedReceiver<Order>,
    clock: Arc<dyn Clock>,
    settings: ApplierSettings,
    plane: Plane,
    health: Health,
    tasks: TaskQueue,
    applying: BTreeMap<TaskId, Applying>,
    drains: Drains,
    /// Who waits for the end of all tasks.
    holding: Option<oneshot::Sender<()>>,
    /// Health is another process's to save.
    is_held: bool,
    succession: Option<Succession>,
    stats: Arc<Stats>,
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").finish_non_exhaustive()
    }
}

/// What an [`Applier`] is made of.
#[derive(Debug)]
pub struct ApplierParts {
    /// Where tasks' ends are reported.
    pub engine: EngineHandle,
    /// Where snapshots are published.
    pub board: Arc<Board>,
    /// The store's changes after `state`.
    pub feed: Watch,
    /// What it is told beside the feed.
    pub orders: mpsc::UnboundedReceiver<Order>,
    /// Time of day.
    pub clock: Arc<dyn Clock>,
    /// Where health is kept over a restart.
    pub live: LiveStore,
    /// As it was loaded, pending tasks' changes included.
    pub state: State,
    /// Settings.
    pub settings: ApplierSettings,
    /// What another process hands over.
    pub succession: Option<Succession>,
}

impl Applier {
    /// An applier and its figures.
    #[must_use]
    pub fn new(parts: ApplierParts) -> (Self, Arc<Stats>) {
        let mut state = parts.state;
        let mut tasks = TaskQueue::default();
        let pending: Vec<Arc<Task>> = state.pending_tasks().cloned().collect();
        // What was in progress is taken up again: from what was in force before it.
        for task in pending.iter().rev() {
            if let TaskState::Pending { changes, .. } = &task.state {
                for change in state.taken_back(changes) {
                    state.apply(&change);
                }
            }
        }
        pending.into_iter().for_each(|task| tasks.put(task));
        let stats = Arc::new(Stats::default());
        let applier = Self {
            plane: Plane::new(
                state,
                Arc::clone(&parts.board),
                parts.settings.probes.clone(),
            ),
            health: Health::new(parts.live),
            engine: parts.engine,
            board: parts.board,
            feed: parts.feed,
            orders: parts.orders,
            clock: parts.clock,
            settings: parts.settings,
            tasks,
            applying: BTreeMap::new(),
            drains: Drains::default(),
            holding: None,
            is_held: false,
            succession: parts.succession,
            stats: Arc::clone(&stats),
        };
        (applier, stats)
    }

    /// Runs until it is told to stop. `ready` turns true once every listener of the stored state
    /// is served or was reported.
    pub async fn run(mut self, ready: watch::Sender<bool>) {
        let (results_in, mut results) = mpsc::channel::<ProbeResult>(PROBES_AT_ONCE);
        let limit = Limit::new(PROBES_AT_ONCE);
        if !self.begin_serving().await {
            return;
        }
        let first = self.plane.publish().unwrap_or(0);
        self.board.wait_acked(first).await;
        self.advance();
        // Ready means: what was stored when it started is in force or has been reported.
        let last_stored = self.tasks.newest();
        let mut retry = tokio::time::interval(RETRY_UNBOUND);
        let mut save = tokio::time::interval(SAVE_HEALTH);
        loop {
            if !*ready.borrow()
                && (self.tasks.oldest().is_none() || self.tasks.oldest() > last_stored)
            {
                let _ = ready.send(true);
            }
            self.tell_held();
            self.update_stats();
            let waited = self
                .applying
                .values()
                .map(|applying| applying.generation)
                .min();
            let task_deadline = self
                .applying
                .values()
                .map(|applying| applying.deadline)
                .min();
            let drain_deadline = self.drains.next();
            let probe_due = self.health.next_due().map(Instant::from_std);
            tokio::select! {
                biased;
                order = self.orders.recv() => match order {
                    Some(Order::Settings(settings)) => {
                        self.plane.set_probes(&settings.probes, &mut self.health);
                        self.settings = settings;
                    }
                    Some(Order::Health(pool, reply)) => {
                        // Whoever asked may have gone away.
                        let _ = reply.send(self.health.report(pool, self.clock.unix()));
                    }
                    Some(Order::Hold(done)) => self.hold(done),
                    Some(Order::Release(given)) => self.release(given).await,
                    Some(Order::GoOn) => self.go_on(),
                    Some(Order::Stop(done)) => {
                        self.stop().await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
                committed = self.feed.recv() => match committed {
                    Some(committed) => {
                        self.follow(&committed);
                        self.advance();
                    }
                    None => return,
                },
                () = self.board.wait_acked(waited.unwrap_or(u64::MAX)), if waited.is_some() => {
                    self.finish_acked();
                    self.advance();
                }
                () = until(task_deadline), if task_deadline.is_some() => {
                    self.fail_late();
                    self.advance();
                }
                Some(result) = results.recv() => self.take_result(result),
                suspects = self.board.suspects.take() => self.suspect(suspects),
                () = until(probe_due), if probe_due.is_some() => {
                    for run in self.health.due() {
                        let (limit, results) = (limit.clone(), results_in.clone());
                        tokio::spawn(async move {
                            let result = limit.probe(&run).await;
                            let _ = results.send((run.ticket, result)).await;
                        });
                    }
                }
                () = until(drain_deadline), if drain_deadline.is_some() => self.drains.reset_due(),
                _ = retry.tick(), if self.plane.unbound() > 0 => {
                    self.plane.retry_unbound(&mut self.health);
                    self.plane.publish();
                }
                _ = save.tick() => self.save_health(),
            }
        }
    }

    /// Takes in what the feed tells of tasks; what they change is in the tasks themselves.
    fn follow(&mut self, committed: &Committed) {
        self.stats.set_revision(committed.revision.0);
        for change in committed.changes.iter() {
            self.plane.learn(change);
            if let Some(Object::Task(task)) = &change.after {
                match task.state {
                    TaskState::Pending { .. } => self.tasks.put(Arc::clone(task)),
                    TaskState::Succeeded | TaskState::Failed { .. } => self.tasks.remove(task.id),
                }
            }
        }
    }

    /// Begins every task that may begin, then publishes once for all of them.
    fn advance(&mut self) {
        loop {
            let mut begun: Vec<Arc<Task>> = Vec::new();
            while let Some(task) = self.tasks.next() {
                if self.begin(&task) {
                    begun.push(task);
                }
            }
            if begun.is_empty() {
                return;
            }
            let generation = self.plane.publish();
            let deadline = Instant::now() + self.settings.task;
            for task in begun {
                match generation.filter(|_| waits_for_workers(&task)) {
                    Some(generation) => {
                        self.applying.insert(
                            task.id,
                            Applying {
                                task,
                                generation,
                                deadline,
                            },
                        );
                    }
                    // Only views of pools have changed, and those hold from the next pick on; or what
                    // workers know nothing of.
                    None => self.succeeded(&task),
                }
            }
        }
    }

    fn begin(&mut self, task: &Task) -> bool {
        let started = std::time::Instant::now();
        match self.plane.apply(changes_of(task), &mut self.health) {
            Ok(removed) => {
                self.stats.applied(started.elapsed());
                self.drain(removed);
                true
            }
            Err(reason) => {
                self.failed(task, reason);
                false
            }
        }
    }

    fn drain(&mut self, removed: Removed) {
        self.drains.add(removed, self.settings.drain);
    }

    fn succeeded(&mut self, task: &Task) {
        self.stats.task_ended(true);
        self.engine.ended(task.id, Ok(()));
        // Its end becomes durable meanwhile; nothing that follows depends on that.
        self.tasks.remove(task.id);
    }

    /// Reports a failure. Later tasks of its instances wait until the feed tells how they look
    /// now that this one is taken back.
    fn failed(&mut self, task: &Task, reason: String) {
        tracing::warn!(task = %task.id, %reason, "a task failed and was taken back");
        self.stats.task_ended(false);
        self.engine.ended(task.id, Err(reason));
    }

    fn finish_acked(&mut self) {
        let acked = self.board.acked();
        let done: Vec<TaskId> = self
            .applying
            .iter()
            .filter(|(_, applying)| applying.generation <= acked)
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            if let Some(applying) = self.applying.remove(&id) {
                self.succeeded(&applying.task);
            }
        }
    }

    fn fail_late(&mut self) {
        let now = Instant::now();
        let late: Vec<TaskId> = self
            .applying
            .iter()
            .filter(|(_, applying)| applying.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            let Some(applying) = self.applying.remove(&id) else {
                continue;
            };
            let removed = self
                .plane
                .take_back(changes_of(&applying.task), &mut self.health);
            self.drain(removed);
            self.plane.publish();
            let seconds = self.settings.task.as_secs_f64();
            let reason = format!("not in force on every worker within timeouts.task = {seconds} s");
            self.failed(&applying.task, reason);
        }
    }

    fn save_health(&mut self) {
        if !self.is_held {
            self.health.save(self.clock.unix().0);
        }
    }

    fn update_stats(&self) {
        let (probes, members, counters) = self.health.figures();
        self.stats.update(StatsView {
            probes,
            members,
            health: counters,
            unbound: self.plane.unbound(),
            pending: self.tasks.len(),
        });
    }

    /// Stops accepting, lets connections end, resets what is left (semantics.md 7).
    async fn stop(&mut self) {
        self.save_health();
        let all = self.plane.clear();
        if let Some(generation) = self.plane.publish() {
            let _ = tokio::time::timeout(RESET_TIME, self.board.wait_acked(generation)).await;
        }
        self.wait_for_no_connection(self.settings.drain).await;
        let open = self.board.connections();
        if open > 0 {
            tracing::warn!(open, "connections are reset at the end of the drain");
            all.iter().for_each(|live| live.reset_all());
            self.drains.reset_all();
            self.wait_for_no_connection(RESET_TIME).await;
        }
        self.board.close();
    }

    async fn wait_for_no_connection(&self, at_most: Duration) {
        let end = Instant::now() + at_most;
        while self.board.connections() > 0 && Instant::now() < end {
            tokio::time::sleep(DRAIN_LOOK).await;
        }
    }
}

fn changes_of(task: &Task) -> &[Change] {
    match &task.state {
        TaskState::Pending { changes, .. } => changes,
        TaskState::Succeeded | TaskState::Failed { .. } => &[],
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
