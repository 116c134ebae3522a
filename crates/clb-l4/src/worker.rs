//! The loop of a worker: it follows the snapshots and serves their listeners.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clb_model::ListenerId;
use clb_snapshot::{Board, Change, Listener, Snapshot};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_local};

/// How long a worker runs at least before it is started anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// One worker.
#[derive(Debug, Clone)]
pub struct Worker {
    index: usize,
    board: Arc<Board>,
}

impl Worker {
    /// Its place among the board's workers, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// The board that it works by.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }
}

/// The current value of a listener that is being served. A changed listener that keeps its
/// sockets only gets a new value here; nothing is stopped.
#[derive(Debug, Clone)]
pub struct ListenerCell(Rc<RefCell<Arc<Listener>>>);

impl ListenerCell {
    /// A cell with its first value.
    #[must_use]
    pub fn new(listener: Arc<Listener>) -> Self {
        Self(Rc::new(RefCell::new(listener)))
    }

    /// The value for the next connection.
    #[must_use]
    pub fn get(&self) -> Arc<Listener> {
        Arc::clone(&self.0.borrow())
    }

    /// Lends the value for the next request.
    pub fn with<T>(&self, within: impl FnOnce(&Listener) -> T) -> T {
        within(&self.0.borrow())
    }

    fn set(&self, listener: Arc<Listener>) {
        *self.0.borrow_mut() = listener;
    }
}

/// A listener that is being served on one worker.
#[derive(Debug)]
pub struct Running {
    listener: ListenerCell,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Spawns what serves the listener. `serve` must end, its socket closed, soon after the
    /// receiver fires or is abandoned; connections that it opened live on.
    pub fn spawn<F>(listener: ListenerCell, serve: impl FnOnce(oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Self {
            listener,
            stop,
            task: spawn_local(serve(stopped)),
        }
    }

    /// Asks it to stop; the task that is returned ends when the socket is closed.
    #[must_use]
    pub fn stop(self) -> JoinHandle<()> {
        // An error means that it has ended already.
        let _ = self.stop.send(());
        self.task
    }
}

/// Starts a thread with worker `index` of the board; `start` starts what serves a listener. It
/// ends after [`Board::close`]. A worker that panics takes its own connections and sessions with it
/// and is started anew, with new sockets; the thread that is given is one that sees to it.
///
/// # Errors
/// When a thread or its runtime cannot be made.
pub fn spawn_worker<S>(
    index: usize,
    board: Arc<Board>,
    start: S,
) -> io::Result<thread::JoinHandle<()>>
where
    S: Fn(&Worker, Arc<Listener>) -> io::Result<Running> + Send + Sync + 'static,
{
    let start = Arc::new(start);
    let worker = spawn_once(index, &board, &start)?;
    thread::Builder::new()
        .name(format!("keeper-{index}"))
        .spawn(move || keep(index, &board, &start, worker))
}

/// Starts the worker again whenever it has panicked.
fn keep<S>(index: usize, board: &Arc<Board>, start: &Arc<S>, mut worker: thread::JoinHandle<()>)
where
    S: Fn(&Worker, Arc<Listener>) -> io::Result<Running> + Send + Sync + 'static,
{
    let mut started = Instant::now();
    while worker.join().is_err() && !board.is_closing() {
        if let Some(slot) = board.workers().get(index) {
            slot.count_restart();
        }
        tracing::error!(
            worker = index,
            "the worker has panicked: its connections are lost, it is started anew"
        );
        // One that panics again at once must not take the processor from the others.
        thread::sleep(RESTART_PAUSE.saturating_sub(started.elapsed()));
        reopen(index, board);
        started = Instant::now();
        worker = match spawn_once(index, board, start) {
            Ok(worker) => worker,
            Err(error) => {
                return tracing::error!(worker = index, %error, "the worker can not be started anew");
            }
        };
    }
}

/// Puts a new socket in the place of each that the worker had.
fn reopen(index: usize, board: &Board) {
    for listener in board.snapshot().iter() {
        let (sockets, addr) = (&listener.sockets, listener.addr);
        let opened = match listener.protocol.is_udp() {
            true => clb_net::udp::join_group(addr).map(|socket| sockets.put_udp(index, socket)),
            false => clb_net::join_listeners(addr).map(|socket| sockets.put_tcp(index, socket)),
        };
        if let Err(error) = opened {
            tracing::error!(worker = index, listener = %listener.id, %addr, %error, "the worker has no socket");
        }
    }
}

fn spawn_once<S>(
    index: usize,
    board: &Arc<Board>,
    start: &Arc<S>,
) -> io::Result<thread::JoinHandle<()>>
where
    S: Fn(&Worker, Arc<Listener>) -> io::Result<Running> + Send + Sync + 'static,
{
    // Built here, so that a failure is the caller's to handle; a local runtime stays on the thread
    // that built it, therefore the answer comes back through a channel.
    let (report, reported) = std::sync::mpsc::sync_channel(1);
    let (board, start) = (Arc::clone(board), Arc::clone(start));
    let thread = thread::Builder::new()
        .name(format!("worker-{index}"))
        .spawn(move || {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = report.send(Ok(()));
                    runtime.block_on(run_worker(index, board, &*start));
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            }
        })?;
    match reported.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the worker's thread ended at once")),
    }
}

/// Runs worker `index` of the board until [`Board::close`], within a local runtime
/// ([`tokio::runtime::LocalRuntime`] or a `LocalSet`); `start` starts what serves a listener, by
/// its protocol. Connections run as tasks of that runtime and end with it.
pub async fn run_worker(
    index: usize,
    board: Arc<Board>,
    start: impl Fn(&Worker, Arc<Listener>) -> io::Result<Running>,
) {
    let Some(slot) = board.workers().get(index) else {
        tracing::error!(worker = index, "the board has no such worker");
        return;
    };
    let worker = Worker {
        index,
        board: Arc::clone(&board),
    };
    let mut served = Arc::new(Snapshot::new());
    let mut running = HashMap::new();
    while !board.is_closing() {
        let snapshot = board.snapshot();
        if snapshot.generation != served.generation {
            follow(&worker, &served, &snapshot, &mut running, &start).await;
            board.ack(index, snapshot.generation);
            served = snapshot;
        }
        slot.woken().await;
    }
    let stopping: Vec<_> = running.into_values().map(Running::stop).collect();
    join_all(stopping).await;
}

/// Brings what runs from one snapshot to the next; returns when removed listeners' sockets are
/// closed.
async fn follow(
    worker: &Worker,
    old: &Snapshot,
    new: &Snapshot,
    running: &mut HashMap<ListenerId, Running>,
    start: &impl Fn(&Worker, Arc<Listener>) -> io::Result<Running>,
) {
    let mut stopping = Vec::new();
    let mut starting = Vec::new();
    for change in new.changes_since(old) {
        match change {
            Change::Added(listener) => starting.push(listener),
            Change::Changed { old, new } if keeps_socket(&old, &new) => {
                if let Some(running) = running.get(&new.id) {
                    running.listener.set(new);
                }
            }
            Change::Changed { new, .. } => {
                stopping.extend(running.remove(&new.id).map(Running::stop));
                starting.push(new);
            }
            Change::Removed(listener) => {
                stopping.extend(running.remove(&listener.id).map(Running::stop));
            }
        }
    }
    for listener in starting {
        let (id, addr) = (listener.id, listener.addr);
        match start(worker, listener) {
            Ok(started) => {
                running.insert(id, started);
            }
            Err(error) => {
                if let Some(slot) = worker.board.workers().get(worker.index) {
                    slot.count_start_failure();
                }
                tracing::error!(
                    worker = worker.index, listener = %id, %addr, %error,
                    "the listener could not be started on this worker"
                );
            }
        }
    }
    join_all(stopping).await;
}

fn keeps_socket(old: &Listener, new: &Listener) -> bool {
    Arc::ptr_eq(&old.sockets, &new.sockets) && old.protocol == new.protocol
}

async fn join_all(tasks: Vec<JoinHandle<()>>) {
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(%error, "serving a listener ended wrongly");
        }
    }
}
