//! TCP listeners: accept, choose, connect, relay (semantics.md 5).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use clb_model::ClientIp;
use clb_net::exhausted;
use clb_snapshot::{
    Admission, Board, ConnectionPermit, Listener, MAX_ATTEMPTS, Pool, Refusal, TriedSet,
};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::accept::{Accepted, accept, count_exhausted};
use crate::connect::{Source, connect};
use crate::leg::Leg;
use crate::proxy_header;
use crate::relay::{Session, relay};
use crate::worker::{ListenerCell, Running, Worker};

/// Takes the worker's socket of a TCP listener and accepts on it until it is
/// [stopped](Running::stop). Must be called within the worker's local runtime.
///
/// # Errors
/// When the listener has no pool of its own, the socket was taken before, or cannot be registered
/// with the runtime.
pub fn start(worker: &Worker, listener: Arc<Listener>) -> io::Result<Running> {
    if listener.service.pool().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a TCP listener has one pool, this one has none",
        ));
    }
    let serve_one = |accepted: Accepted, _: &ListenerCell| {
        let Some(pool) = accepted.listener.service.pool().map(Arc::clone) else {
            return;
        };
        let peer = accepted.peer;
        accepted.spawn(|accepted| {
            let worker = accepted.admission.worker();
            let listener = accepted.listener;
            let arrival = Box::new(Arrival {
                worker,
                pool,
                peer,
                client_ip: listener.client_ip,
                own: listener.addr,
            });
            let client = Leg::new(accepted.stream);
            serve(client, arrival, accepted.permit, accepted.admission)
        });
    };
    accept(worker, listener, serve_one, || {})
}

/// What is known of a client when it is accepted, and needed until its backend is connected.
#[derive(Debug)]
struct Arrival {
    worker: usize,
    pool: Arc<Pool>,
    peer: SocketAddr,
    /// Whom the backend is to see.
    client_ip: ClientIp,
    /// Where the client came.
    own: SocketAddr,
}

/// Serves a client: finds it a backend and relays. Dropping the future resets both sides.
///
/// This future is most of what an idle connection costs, so it is one block that uses its
/// parameters where they are, and everything that is over once the backend is connected is boxed.
#[expect(
    clippy::manual_async_fn,
    reason = "an async fn keeps its parameters twice"
)]
fn serve(
    mut client: Leg,
    arrival: Box<Arrival>,
    permit: ConnectionPermit,
    admission: Admission,
) -> impl Future<Output = ()> {
    async move {
        let opening = Box::pin(open_backend(arrival, permit.board(), &admission));
        let Ok((mut backend, member)) = opening.await else {
            admission.count_failed();
            return;
        };
        let (Some(to_client), Some(to_backend)) = (client.stream(), backend.stream()) else {
            return;
        };
        let session = Session {
            client: to_client,
            backend: to_backend,
            board: permit.board(),
            listener: &admission,
            member: &member,
            idle: |settings| settings.tcp_idle,
            moved: None,
        };
        let end = relay(&session, None).await;
        match end {
            Ok(()) => {
                client.finish();
                backend.finish();
            }
            Err(broken) => tracing::debug!(%broken, "both sides reset"),
        }
    }
}

impl Arrival {
    /// Connects to a backend and tells it who the client is, if it is to be told.
    async fn connect(&self, board: &Board, addr: SocketAddr) -> io::Result<TcpStream> {
        if self.client_ip == ClientIp::Transparent {
            return connect(addr, Source::Client(self.peer.ip())).await;
        }
        let more = Arc::clone(&board.settings().source_addresses);
        let stream = connect(addr, Source::Gateway(&more)).await?;
        if let Some(header) = proxy_header::header(self.client_ip, self.peer, self.own) {
            // A new connection's buffer has room for all of it.
            let sent = clb_net::send(&stream, &header)?;
            if sent < header.len() {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        Ok(stream)
    }
}

/// Chooses a backend and connects, at most [`MAX_ATTEMPTS`] times, to each once.
///
/// # Errors
/// The reason, counted, why the client is to be reset.
async fn open_backend(
    arrival: Box<Arrival>,
    board: &Board,
    admission: &Admission,
) -> Result<(Leg, Admission), Refusal> {
    let peer = arrival.peer;
    let mut tried = TriedSet::new();
    let mut reached = false;
    while tried.len() < MAX_ATTEMPTS {
        let now_ms = board.millis_at(Instant::now());
        let Some(pick) = arrival
            .pool
            .pick(peer.ip(), now_ms, &board.persistence, &tried)
        else {
            break;
        };
        tried.record(&pick);
        let addr = pick.addr();
        // Nothing to abort by: the listener's drain ended before this task first ran.
        let Some(task) = admission.task() else {
            break;
        };
        // None is a member whose drain is over: it was picked from a view just replaced.
        let Some(member) = pick.admit(arrival.worker, task) else {
            continue;
        };
        reached = true;
        let limit = board.settings().backend_connect;
        let error = match timeout(limit, arrival.connect(board, addr)).await {
            Ok(Ok(stream)) => {
                member.count_opened();
                return Ok((Leg::new(stream), member));
            }
            Ok(Err(error)) => error,
            Err(elapsed) => elapsed.into(),
        };
        if let Some(what) = exhausted(&error) {
            // Ours to blame, and no other backend would fare better.
            return Err(count_exhausted(board, what, &error));
        }
        member.count_failed();
        tracing::debug!(%peer, backend = %addr, %error, "connect failed");
    }
    let reason = match reached {
        true => Refusal::BackendsFailed,
        false => Refusal::NoBackend,
    };
    board.refused.count(reason);
    tracing::debug!(%peer, reason = reason.name(), "client reset");
    Err(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function's future is, without making one.
    fn size_of_future<F>(_: fn(Leg, Box<Arrival>, ConnectionPermit, Admission) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_task_stays_within_512_bytes() {
        // The runtime's own part of a task takes the other 128. Without optimisation the compiler
        // keeps some more words.
        let limit = if cfg!(debug_assertions) { 448 } else { 384 };
        let size = size_of_future(serve);
        assert!(size <= limit, "{size}");
    }
}
