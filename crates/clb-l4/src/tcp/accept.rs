//! Accepting on one worker's socket of one listener.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clb_net::{Exhausted, exhausted};
use clb_snapshot::{Board, Listener, Refusal};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::connection::{self, Arrival};
use crate::leg::Leg;
use crate::worker::{ListenerCell, Running, Worker};

/// How long accepting rests when the machine has run out of descriptors or memory; meanwhile
/// clients wait in the kernel's queue.
const PAUSE: Duration = Duration::from_millis(50);

/// The least time between two log lines about that, in milliseconds.
const LOG_EVERY_MS: u64 = 60_000;

/// Takes the worker's socket of a TCP listener and accepts on it until it is
/// [stopped](Running::stop). Must be called within the worker's local runtime.
///
/// # Errors
/// When the socket was taken before, or cannot be registered with the runtime.
pub fn start(worker: &Worker, listener: Arc<Listener>) -> io::Result<Running> {
    let socket = listener.sockets.take_tcp(worker.index()).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "no socket is left for this worker: listening sockets can be served only once",
        )
    })?;
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    let acceptor = Acceptor {
        worker: worker.clone(),
        listener: ListenerCell::new(listener),
    };
    Ok(Running::spawn(acceptor.listener.clone(), |stop| {
        acceptor.run(socket, stop)
    }))
}

struct Acceptor {
    worker: Worker,
    listener: ListenerCell,
}

impl Acceptor {
    async fn run(self, socket: TcpListener, mut stop: oneshot::Receiver<()>) {
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut stop => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if self.must_pause(&error) => {
                    tokio::select! {
                        biased;
                        _ = &mut stop => break,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
                // The connection was gone before it was accepted; the next may be fine.
                Err(error) => tracing::debug!(%error, "accept failed"),
            }
        }
        match socket.into_std() {
            Ok(socket) => self.drain(&socket),
            Err(error) => tracing::warn!(%error, "a listening socket could not be drained"),
        }
    }

    /// Closing the socket would reset the connections that the kernel has already established, so
    /// they are accepted first.
    fn drain(&self, socket: &StdTcpListener) {
        loop {
            let accepted = socket.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if self.must_pause(&error) => return,
                Err(error) => tracing::debug!(%error, "accept failed"),
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: SocketAddr) {
        let client = Leg::new(stream);
        let board = self.worker.board();
        let Some(permit) = board.permit() else {
            board.refused.count(Refusal::Connections);
            return;
        };
        let listener = self.listener.get();
        // Layer-4 listeners have one pool; what had none would have nobody to pick.
        let Some(pool) = listener.service.pool() else {
            board.refused.count(Refusal::NoBackend);
            return;
        };
        let worker = self.worker.index();
        // None is a listener whose drain is over already: the client is reset.
        let Some(admission) = listener.live.admit(worker) else {
            return;
        };
        admission.count_opened();
        let key = admission.key();
        let live = Arc::clone(&listener.live);
        let arrival = Box::new(Arrival {
            worker,
            pool: Arc::clone(pool),
            peer,
        });
        let task = spawn_local(connection::serve(client, arrival, permit, admission));
        live.arm(worker, key, task.abort_handle());
    }

    /// Whether an error of accept(2) tells of something that the next call would meet again at
    /// once. Errors of the connection that was to be accepted are passed over (accept(2), "Error
    /// handling").
    fn must_pause(&self, error: &io::Error) -> bool {
        if let Some(what) = exhausted(error) {
            count_exhausted(self.worker.board(), what, error);
            return true;
        }
        !matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkDown
                | io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::PermissionDenied
        )
    }
}

/// Counts and, now and then, logs that the machine has run out of something.
pub(super) fn count_exhausted(board: &Board, what: Exhausted, error: &io::Error) -> Refusal {
    let reason = match what {
        Exhausted::Descriptors => Refusal::Descriptors,
        Exhausted::Memory => Refusal::Memory,
    };
    board.refused.count(reason);
    let now_ms = board.millis_at(Instant::now());
    if board.exhaustion_log.pass(now_ms, LOG_EVERY_MS) {
        tracing::error!(
            %error,
            reason = reason.name(),
            connections = board.connections(),
            "connections wait or are refused: raise the limit of open files or lower limits.connections"
        );
    }
    reason
}
