//! Accepting on one worker's socket of one listener.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clb_net::{Exhausted, exhausted};
use clb_snapshot::{Admission, Board, ConnectionPermit, Listener, Refusal, SourcePermit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};

use crate::worker::{ListenerCell, Running, Worker};

/// How long accepting rests when the machine has run out of descriptors or memory; meanwhile
/// clients wait in the kernel's queue.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are accepted before others have their turn: each costs as much as a request,
/// and a burst of a hundred must not keep those waiting that are established.
const ACCEPTS_PER_TURN: usize = 4;

/// The least time between two log lines about that, in milliseconds.
const LOG_EVERY_MS: u64 = 60_000;

/// A client connection that counts against the limits, at the board and at its listener.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: TcpStream,
    /// The client.
    pub peer: SocketAddr,
    /// The listener as it was when the connection was accepted.
    pub listener: Arc<Listener>,
    /// Its share of the limit on connections.
    pub permit: ConnectionPermit,
    /// Its place at the listener.
    pub admission: Admission,
    /// Its share of what its client may have, if that is limited.
    source: Option<SourcePermit>,
}

impl Accepted {
    /// Spawns the task that serves the connection; the listener's
    /// [`reset_all`](clb_snapshot::Live::reset_all) ends it.
    pub fn spawn<F>(mut self, serve: impl FnOnce(Self) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let (worker, key) = (self.admission.worker(), self.admission.key());
        let live = Arc::clone(&self.listener.live);
        let task = match self.source.take() {
            None => spawn_local(serve(self)),
            Some(source) => {
                let serving = serve(self);
                spawn_local(async move {
                    serving.await;
                    drop(source);
                })
            }
        };
        live.arm(worker, key, task.abort_handle());
    }
}

/// Takes the worker's socket of a listener and accepts on it until it is
/// [stopped](Running::stop), then closes it or [gives it back](Board::hand_over); then calls
/// `stopped`. Must be called within the worker's local
/// runtime.
///
/// # Errors
/// When the socket was taken before, or cannot be registered with the runtime.
pub fn accept(
    worker: &Worker,
    listener: Arc<Listener>,
    serve: impl Fn(Accepted, &ListenerCell) + 'static,
    stopped: impl FnOnce() + 'static,
) -> io::Result<Running> {
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
        serve,
    };
    Ok(Running::spawn(
        acceptor.listener.clone(),
        |stop| async move {
            acceptor.run(socket, stop).await;
            stopped();
        },
    ))
}

struct Acceptor<S> {
    worker: Worker,
    listener: ListenerCell,
    serve: S,
}

impl<S: Fn(Accepted, &ListenerCell)> Acceptor<S> {
    async fn run(&self, socket: TcpListener, mut stop: oneshot::Receiver<()>) {
        let mut in_turn = 0;
        loop {
            if in_turn == ACCEPTS_PER_TURN {
                in_turn = 0;
                yield_now().await;
            }
            let accepted = tokio::select! {
                biased;
                _ = &mut stop => break,
                accepted = socket.accept() => accepted,
            };
            in_turn += 1;
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
            Ok(socket) if self.worker.board().is_handing_over() => {
                // What waits in its queue is the next one's.
                let listener = self.listener.get();
                listener.sockets.put_tcp(self.worker.index(), socket);
            }
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
        let (permit, source) = match self.worker.board().permit(peer.ip()) {
            Ok(permits) => permits,
            Err(reason) => {
                self.worker.board().refused.count(reason);
                return reset(&stream);
            }
        };
        let listener = self.listener.get();
        // None is a listener whose drain is over already.
        let Some(admission) = listener.live.admit(self.worker.index()) else {
            return reset(&stream);
        };
        admission.count_opened();
        let accepted = Accepted {
            stream,
            peer,
            listener,
            permit,
            admission,
            source,
        };
        (self.serve)(accepted, &self.listener);
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

fn reset(stream: &TcpStream) {
    // It fails only for a connection that is gone anyway.
    let _ = clb_net::set_linger_zero(stream);
}

fn advice(what: Exhausted) -> &'static str {
    match what {
        Exhausted::Descriptors | Exhausted::Memory => {
            "connections wait or are refused: raise the limit of open files or lower limits.connections"
        }
        Exhausted::Ports => {
            "connections are refused, for no port is left towards a backend: add addresses to backends.source_addresses or widen net.ipv4.ip_local_port_range"
        }
    }
}

/// Counts and, now and then, logs that the machine has run out of something; the reason under
/// which it is counted.
pub fn count_exhausted(board: &Board, what: Exhausted, error: &io::Error) -> Refusal {
    let reason = match what {
        Exhausted::Descriptors => Refusal::Descriptors,
        Exhausted::Memory => Refusal::Memory,
        Exhausted::Ports => Refusal::Ports,
    };
    board.refused.count(reason);
    let now_ms = board.millis_at(Instant::now());
    if board.exhaustion_log.pass(now_ms, LOG_EVERY_MS) {
        tracing::error!(
            %error,
            reason = reason.name(),
            connections = board.connections(),
            "{}",
            advice(what)
        );
    }
    reason
}
