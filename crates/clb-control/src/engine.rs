//! The one writer: executes commands against the state, makes them durable in groups, answers.
//!
//! It is a thread of its own, because the store blocks. What waits in its queue when it comes back
//! from the disk becomes one transaction group with one flush.

mod handle;

use std::collections::VecDeque;
use std::sync::{Arc, RwLock, mpsc};
use std::time::Duration;

use arc_swap::ArcSwap;
use clb_model::{
    Change, Command, Counters, Env, Key, Kind, LbId, ModelError, Nonce, Object, SessionKey, State,
    Task, TaskId, TaskState, UnixMillis, apply, fail, succeed,
};
use clb_store::{AuditEntry, Store, StoreError, Transaction};
use tokio::sync::{oneshot, watch};

use crate::clock::Clock;
use handle::{Reply, Request};

pub use handle::{AfterRest, EngineHandle, ExecuteError, Executed, Shared, WaitError};

/// Requests that one group commit takes at most.
const GROUP: usize = 256;
/// A stored nonce is of no use once its timestamp has left the window of A.7.
const NONCE_LIFE_SECONDS: u64 = 7200;
/// Ended tasks are kept this long at least, and the newest so many for ever (actions.md C.8).
const ENDED_TASKS_STORED: u64 = 100_000;
const TASK_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How often old tasks and nonces are looked for, and how many of each go at once.
const PRUNE_EVERY: Duration = Duration::from_secs(60);
const PRUNED: usize = 2_000;
/// How soon there is another look when there were as many.
const PRUNE_AGAIN: Duration = Duration::from_secs(1);

/// What a start found in the store.
#[derive(Debug)]
pub struct Loaded {
    /// Everything but nonces, pending tasks' changes included.
    pub state: State,
    /// Requests that must not come again.
    pub nonces: Vec<Nonce>,
    /// What session cookies are sealed with.
    pub session_key: SessionKey,
}

/// Reads the whole state; a new store gets its counters and its key.
///
/// # Errors
/// [`StoreError`]
pub fn load(store: &mut dyn Store) -> Result<Loaded, StoreError> {
    let counters = match store.get(&Key::Counters)? {
        Some(Object::Counters(counters)) => counters,
        _ => {
            let counters = Counters::new(rand::random());
            let changes = vec![Change::made(Object::Counters(counters))];
            store.commit(vec![changes.into()])?;
            counters
        }
    };
    let session_key = match store.get(&Key::SessionKey)? {
        Some(Object::SessionKey(key)) => key,
        _ => {
            let key = SessionKey(rand::random());
            let changes = vec![Change::made(Object::SessionKey(key.clone()))];
            store.commit(vec![changes.into()])?;
            key
        }
    };
    let mut state = State::new(counters);
    let mut nonces = Vec::new();
    for kind in Kind::ALL {
        for object in store.load(kind)? {
            match object {
                Object::Nonce(nonce) => nonces.push(nonce),
                other => state.insert(&other),
            }
        }
    }
    Ok(Loaded {
        state,
        nonces,
        session_key,
    })
}

/// The engine's own side.
pub struct Engine {
    requests: mpsc::Receiver<Request>,
    shared: Arc<Shared>,
    /// Ahead of what readers see by the group that is being executed.
    state: State,
    store: Box<dyn Store>,
    clock: Arc<dyn Clock>,
    /// Another process has changed the store: what is known here is no longer true.
    is_outdated: bool,
    /// Ends that the store did not take yet.
    ends: VecDeque<(TaskId, Result<(), String>)>,
    next_prune: UnixMillis,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// The changes of a group, and what to answer when they are durable.
#[derive(Default)]
struct Group {
    transactions: Vec<Transaction>,
    replies: Vec<(Reply, Executed)>,
    told: Vec<oneshot::Sender<()>>,
    ends: Vec<(TaskId, Result<(), String>)>,
}

/// What to do after a request.
enum Then {
    Next,
    Stop,
    Rest {
        rests: oneshot::Sender<()>,
        wake: mpsc::Receiver<AfterRest>,
    },
}

impl Engine {
    /// An engine over a loaded store, and the way to it.
    #[must_use]
    pub fn new(
        loaded: Loaded,
        env: Env,
        store: Box<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> (Self, EngineHandle) {
        let (sender, requests) = mpsc::channel();
        let shared = Arc::new(Shared {
            state: RwLock::new(loaded.state.clone()),
            ended: watch::Sender::new(false),
            env: ArcSwap::from_pointee(env),
        });
        let engine = Self {
            requests,
            shared: Arc::clone(&shared),
            state: loaded.state,
            store,
            next_prune: UnixMillis(0),
            clock,
            is_outdated: false,
            ends: VecDeque::new(),
        };
        (
            engine,
            EngineHandle {
                requests: sender,
                shared,
            },
        )
    }

    /// Serves until it is stopped or every handle is gone.
    pub fn run(mut self) {
        loop {
            let first = if self.ends.is_empty() {
                match self.requests.recv_timeout(PRUNE_EVERY) {
                    Ok(request) => Some(request),
                    Err(mpsc::RecvTimeoutError::Timeout) => None,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                }
            } else {
                // The store refused the last group: try the ends of tasks again after a while.
                self.requests.recv_timeout(Duration::from_secs(1)).ok()
            };
            let mut group = Group::default();
            let mut then = Then::Next;
            while let Some((task, result)) = self.ends.pop_front() {
                self.end(&mut group, task, result);
            }
            let mut next = first;
            while let Some(request) = next {
                then = self.take(&mut group, request);
                next = if !matches!(then, Then::Next) || group.transactions.len() >= GROUP {
                    None
                } else {
                    self.requests.try_recv().ok()
                };
            }
            self.commit(group);
            let ends = match then {
                Then::Next => {
                    self.prune();
                    false
                }
                Then::Stop => true,
                Then::Rest { rests, wake } => {
                    // Whoever asked has gone if nobody wakes it.
                    let _ = rests.send(());
                    let goes_on = wake.recv() == Ok(AfterRest::GoOn);
                    if goes_on {
                        self.look_at_store();
                    }
                    !goes_on
                }
            };
            if ends {
                self.shared.ended.send_replace(true);
                return;
            }
        }
    }

    /// After a rest: another process may have written meanwhile.
    fn look_at_store(&mut self) {
        self.is_outdated |= self.store.is_outdated().unwrap_or_else(|error| {
            tracing::error!(%error, "the store can not be read");
            true
        });
        if self.is_outdated {
            tracing::error!(
                "another process has changed the state: no change is accepted until clbd is started anew"
            );
        }
    }

    /// Takes one request; what to do after it.
    fn take(&mut self, group: &mut Group, request: Request) -> Then {
        match request {
            Request::Execute { reply, .. } if self.is_outdated => {
                let message = "another process has changed the state; clbd must be started anew";
                let error = ExecuteError::Unavailable(message.to_owned());
                drop(reply.send(Err(error)));
            }
            Request::Execute {
                command,
                nonce,
                audit,
                reply,
            } => match self.execute(*command, nonce) {
                Ok((executed, changes)) => {
                    let task = Some(executed.task);
                    group.transactions.push(Transaction {
                        changes,
                        audit: audit.map(|audit| AuditEntry { task, ..audit }),
                    });
                    group.replies.push((reply, executed));
                }
                Err(error) => drop(reply.send(Err(error.into()))),
            },
            Request::Refused { audit, reply } => {
                group.transactions.push(Transaction {
                    changes: Vec::new(),
                    audit: Some(audit),
                });
                group.told.push(reply);
            }
            Request::Ended { task, result } => self.end(group, task, result),
            Request::Task { id, reply } => {
                let found = self.store.get(&Key::Task(id)).map(|object| match object {
                    Some(Object::Task(task)) => Some(task),
                    _ => None,
                });
                drop(reply.send(found));
            }
            Request::Stop => return Then::Stop,
            Request::Rest { rests, wake } => return Then::Rest { rests, wake },
        }
        Then::Next
    }

    fn execute(
        &mut self,
        mut command: Command,
        nonce: Option<Nonce>,
    ) -> Result<(Executed, Vec<Change>), ModelError> {
        command.assign_ids(self.state.counters_mut());
        let applied = apply(&self.state, &self.shared.env.load(), &command)?;
        let now = self.clock.unix();
        for change in &applied.changes {
            self.state.apply(change);
        }
        let task = TaskId(
            self.state
                .counters_mut()
                .take(|counters| &mut counters.next_task),
        );
        let mut changes = applied.changes.clone();
        changes.push(Change::made(Object::Task(Arc::new(Task {
            id: task,
            load_balancers: deduplicated(applied.load_balancers),
            created: now,
            ended: None,
            state: TaskState::Pending {
                command: Box::new(command.clone()),
                changes: applied.changes.into(),
            },
        }))));
        changes.push(Change::made(Object::Counters(*self.state.counters())));
        changes.extend(nonce.map(|nonce| Change::made(Object::Nonce(nonce))));
        // The instance's own changes are applied already; the rest is the task and the counters.
        let own = changes
            .iter()
            .filter(|change| matches!(change.key(), Some(Key::Task(_) | Key::Counters)));
        own.for_each(|change| self.state.apply(change));
        Ok((Executed { task, command }, changes))
    }

    fn end(&mut self, group: &mut Group, id: TaskId, result: Result<(), String>) {
        let now = self.clock.unix();
        let Some(task) = self.state.task(id).cloned() else {
            return;
        };
        if !matches!(task.state, TaskState::Pending { .. }) {
            return;
        }
        let changes = match &result {
            Ok(()) => {
                let changes = succeed(&self.state, &task, now);
                changes.iter().for_each(|change| self.state.apply(change));
                changes
            }
            Err(reason) => fail(&mut self.state, &self.shared.env.load(), id, reason, now),
        };
        group.transactions.push(changes.into());
        group.ends.push((id, result));
    }

    fn commit(&mut self, group: Group) {
        if group.transactions.is_empty() {
            return;
        }
        let durable = self.store.commit(group.transactions.clone());
        match durable {
            Ok(_) => {
                self.shared.advance(
                    group
                        .transactions
                        .iter()
                        .flat_map(|transaction| &transaction.changes),
                );
                if !group.ends.is_empty() {
                    self.shared.ended.send_modify(|_| {});
                }
                for told in group.told {
                    let _ = told.send(());
                }
                for (reply, executed) in group.replies {
                    // A client that has gone away asks again with DescribeLoadBalancers.
                    drop(reply.send(Ok(executed)));
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store could not be written");
                let taken = *self.state.counters();
                self.state = self.shared.read(State::clone);
                // Numbers that were drawn stay drawn: they may be in a log or in an answer.
                *self.state.counters_mut() = taken;
                self.ends.extend(group.ends);
                for (reply, _) in group.replies {
                    let message = format!("the store could not be written: {error}");
                    drop(reply.send(Err(ExecuteError::Unavailable(message))));
                }
            }
        }
    }

    /// Removes the results of old tasks, and nonces that are of no use any more, from the store, a
    /// few at a time.
    fn prune(&mut self) {
        let now = self.clock.unix();
        if now < self.next_prune || self.is_outdated {
            return;
        }
        let mut changes = self.oldest(Kind::Task, |engine, object| engine.is_old_task(object, now));
        changes.extend(self.oldest(Kind::Nonce, |_, object| is_old_nonce(object, now)));
        let pause = match changes.len() < PRUNED {
            true => PRUNE_EVERY,
            false => PRUNE_AGAIN,
        };
        self.next_prune = UnixMillis(now.0 + i64::try_from(pause.as_millis()).unwrap_or(0));
        if changes.is_empty() {
            return;
        }
        changes.iter().for_each(|change| self.state.apply(change));
        self.commit(Group {
            transactions: vec![changes.into()],
            ..Group::default()
        });
    }

    /// The removal of the oldest objects of a kind that are old.
    fn oldest(&mut self, kind: Kind, is_old: impl Fn(&Self, &Object) -> bool) -> Vec<Change> {
        // A store that can not be read has said so elsewhere.
        let oldest = self.store.first(kind, PRUNED).unwrap_or_default();
        let old = oldest.into_iter().take_while(|object| is_old(self, object));
        old.map(Change::removed).collect()
    }

    fn is_old_task(&self, object: &Object, now: UnixMillis) -> bool {
        let life = i64::try_from(TASK_LIFE.as_millis()).unwrap_or(i64::MAX);
        let newest = self.state.counters().next_task;
        match object {
            Object::Task(task) => {
                let ended = task.ended.map(|ended| ended.0.saturating_add(life));
                task.id.0.saturating_add(ENDED_TASKS_STORED) < newest
                    && ended.is_some_and(|end| end < now.0)
            }
            _ => false,
        }
    }
}

fn is_old_nonce(object: &Object, now: UnixMillis) -> bool {
    let seconds = u64::try_from(now.0 / 1000).unwrap_or(0);
    match object {
        Object::Nonce(nonce) => nonce.timestamp.saturating_add(NONCE_LIFE_SECONDS) < seconds,
        _ => false,
    }
}

fn deduplicated(mut ids: Vec<LbId>) -> Vec<LbId> {
    ids.sort_unstable();
    ids.dedup();
    ids
}
