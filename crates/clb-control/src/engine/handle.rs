//! The way to the engine: what is asked of it, and what it answers.

use std::sync::{Arc, PoisonError, RwLock, mpsc};

use arc_swap::ArcSwap;
use clb_model::{Change, Command, Env, ModelError, Nonce, State, Task, TaskId, TaskState};
use clb_store::{AuditEntry, StoreError};
use tokio::sync::{oneshot, watch};

/// What readers see: all that was answered.
#[derive(Debug)]
pub struct Shared {
    pub(super) state: RwLock<State>,
    /// Told with every end of a task; true once the engine has stopped.
    pub(super) ended: watch::Sender<bool>,
    /// The parts of clb.toml that commands are checked against.
    pub env: ArcSwap<Env>,
}

impl Shared {
    /// Reads the state; the writer waits meanwhile, so be brief.
    pub fn read<R>(&self, read: impl FnOnce(&State) -> R) -> R {
        // A reader that panicked has changed nothing: the state is as good as before.
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn advance<'a>(&self, changes: impl Iterator<Item = &'a Change>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        changes.for_each(|change| state.apply(change));
    }
}

/// A command that is durable.
#[derive(Debug)]
pub struct Executed {
    /// Its task.
    pub task: TaskId,
    /// The command with the ids that it was given.
    pub command: Command,
}

/// Why a command was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// It is not allowed in this state.
    #[error(transparent)]
    Refused(#[from] ModelError),
    /// The store could not be written, or the gateway stops. Nothing has changed.
    #[error("{0}")]
    Unavailable(String),
}

/// Why a change that was accepted is not in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// It was taken back whole.
    #[error("{0}")]
    Failed(String),
    /// The gateway stops; the task is taken up again at the next start.
    #[error("the gateway is stopping; task {0} is taken up again at the next start")]
    Stopped(TaskId),
}

pub(super) type Reply = oneshot::Sender<Result<Executed, ExecuteError>>;

pub(super) enum Request {
    Execute {
        command: Box<Command>,
        nonce: Option<Nonce>,
        audit: Option<AuditEntry>,
        reply: Reply,
    },
    Refused {
        audit: AuditEntry,
        reply: oneshot::Sender<()>,
    },
    Ended {
        task: TaskId,
        result: Result<(), String>,
    },
    Task {
        id: TaskId,
        reply: oneshot::Sender<Result<Option<Arc<Task>>, StoreError>>,
    },
    Stop,
    /// To rest until it is told how to go on.
    Rest {
        rests: oneshot::Sender<()>,
        wake: mpsc::Receiver<AfterRest>,
    },
}

/// What comes after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterRest {
    /// As before.
    GoOn,
    /// Another process goes on with the store: nothing more is written.
    End,
}

/// The way to the engine.
#[derive(Clone)]
pub struct EngineHandle {
    pub(super) requests: mpsc::Sender<Request>,
    /// What readers see.
    pub shared: Arc<Shared>,
}

impl std::fmt::Debug for EngineHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineHandle").finish_non_exhaustive()
    }
}

impl EngineHandle {
    /// Executes a command and waits until it is durable, and what the audit log is to tell of it.
    ///
    /// # Errors
    /// [`ExecuteError`]; nothing has changed then, and nothing is told.
    pub async fn execute(
        &self,
        command: Command,
        nonce: Option<Nonce>,
        audit: Option<AuditEntry>,
    ) -> Result<Executed, ExecuteError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Execute {
            command: Box::new(command),
            nonce,
            audit,
            reply,
        };
        let gone = || ExecuteError::Unavailable("the gateway is stopping".to_owned());
        self.requests.send(request).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits until the audit log tells of a refusal; one that can not be told is lost, and logged.
    pub async fn refused(&self, audit: AuditEntry) {
        let (reply, told) = oneshot::channel();
        // An engine that has stopped has nothing to tell any more.
        if self
            .requests
            .send(Request::Refused { audit, reply })
            .is_ok()
        {
            let _ = told.await;
        }
    }

    /// A task that is no longer in memory.
    ///
    /// # Errors
    /// A sentence when the store can not be read.
    pub async fn stored_task(&self, id: TaskId) -> Result<Option<Arc<Task>>, String> {
        let (reply, answer) = oneshot::channel();
        let gone = "the gateway is stopping";
        self.requests
            .send(Request::Task { id, reply })
            .map_err(|_| gone)?;
        answer
            .await
            .map_err(|_| gone)?
            .map_err(|error| error.to_string())
    }

    /// Waits until a task has ended, and tells how.
    ///
    /// # Errors
    /// [`WaitError`]
    pub async fn wait_ended(&self, id: TaskId) -> Result<(), WaitError> {
        let mut ended = self.shared.ended.subscribe();
        loop {
            let has_stopped = *ended.borrow_and_update();
            let state = self
                .shared
                .read(|state| state.task(id).map(|task| task.state.clone()));
            match state {
                Some(TaskState::Pending { .. }) if has_stopped => {
                    return Err(WaitError::Stopped(id));
                }
                Some(TaskState::Pending { .. }) => {}
                Some(TaskState::Failed { message }) => return Err(WaitError::Failed(message)),
                Some(TaskState::Succeeded) | None => return Ok(()),
            }
            if ended.changed().await.is_err() {
                return Err(WaitError::Stopped(id));
            }
        }
    }

    /// Tells how a task ended: in force, or not and why. It becomes durable, then visible.
    pub fn ended(&self, task: TaskId, result: Result<(), String>) {
        // An engine that has stopped takes the task up again at the next start.
        let _ = self.requests.send(Request::Ended { task, result });
    }

    /// Has the engine rest after what is in its queue: the store is not written until it is told
    /// how to go on. None: it has stopped.
    pub async fn rest(&self) -> Option<mpsc::Sender<AfterRest>> {
        let (rests, is_resting) = oneshot::channel();
        let (waker, wake) = mpsc::channel();
        self.requests.send(Request::Rest { rests, wake }).ok()?;
        is_resting.await.ok()?;
        Some(waker)
    }

    /// Stops the engine after what is in its queue.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }
}
