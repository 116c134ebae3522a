//! Listeners, and how their clients' connections begin.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use clb_access_log::AccessLog;
use clb_l4::worker::{ListenerCell, Running, Worker};
use clb_l4::{Accepted, accept};
use clb_model::Protocol;
use clb_snapshot::{Admission, ConnectionPermit, Listener, ServerTls};
use tokio::net::TcpStream;

use crate::client::Client;
use crate::connection::{Connection, reset, serve};
use crate::local::Local;
use crate::service::{Seat, Service};
use crate::tls::{Shaken, shake_hands};

/// [`start_logging`] without an access log.
///
/// # Errors
/// As there.
pub fn start(worker: &Worker, listener: Arc<Listener>) -> io::Result<Running> {
    start_logging(worker, listener, None)
}

/// Takes the worker's socket of an HTTP listener and serves it until it is
/// [stopped](Running::stop). Must be called within the worker's local runtime. `log` must be the
/// same for all listeners of a worker.
///
/// # Errors
/// When the socket was taken before, or cannot be registered with the runtime.
pub fn start_logging(
    worker: &Worker,
    listener: Arc<Listener>,
    log: Option<&AccessLog>,
) -> io::Result<Running> {
    let service = Service::new(Local::of(worker, log));
    let stopped = Rc::clone(&service);
    let serve_one = move |accepted: Accepted, cell: &ListenerCell| {
        let (seat, cell) = (service.seat(), cell.clone());
        match (accepted.listener.tls.clone(), accepted.listener.protocol) {
            (Some(tls), _) => accepted.spawn(|accepted| serve_tls(accepted, tls, cell, seat)),
            (None, Protocol::Https) => {
                // What is meant for TLS must not be spoken without it.
                tracing::debug!(listener = %accepted.listener.id, "no certificate yet");
                reset(&accepted.stream);
            }
            (None, _) => accepted.spawn(|accepted| {
                let (client, rest) = Arrival::new(accepted, cell, seat);
                serve(Connection::new(Client::Plain(client), rest))
            }),
        }
    };
    accept(worker, listener, serve_one, move || stopped.drain())
}

/// What comes with a client's connection.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    pub(crate) cell: ListenerCell,
    pub(crate) seat: Seat,
    pub(crate) admission: Admission,
    pub(crate) permit: ConnectionPermit,
}

impl Arrival {
    fn new(accepted: Accepted, cell: ListenerCell, seat: Seat) -> (TcpStream, Self) {
        let arrival = Self {
            peer: accepted.peer,
            cell,
            seat,
            admission: accepted.admission,
            permit: accepted.permit,
        };
        (accepted.stream, arrival)
    }
}

/// Shakes hands with a client and serves it.
async fn serve_tls(accepted: Accepted, tls: Arc<ServerTls>, cell: ListenerCell, seat: Seat) {
    let (stream, arrival) = Arrival::new(accepted, cell, seat);
    let Some(task) = arrival.admission.task() else {
        return;
    };
    let local = Rc::clone(&arrival.seat.service().local);
    match Box::pin(shake_hands(stream, Arc::clone(&tls), local, task)).await {
        Shaken::Done(stream) if stream.speaks_h2() => {
            Box::pin(crate::h2::serve(Client::Tls(stream), arrival, tls)).await;
        }
        Shaken::Done(stream) => serve(Connection::new(Client::Tls(stream), arrival)).await,
        Shaken::PlainHttp(stream) => {
            let mut connection = Connection::new(Client::Plain(stream), arrival);
            Box::pin(connection.speak_tls()).await;
        }
        Shaken::Failed => {}
    }
}
