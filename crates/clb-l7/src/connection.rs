//! A client's connection: one request after the other.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clb_l4::io::{poll_recv, poll_send, with_scratch};
use clb_l4::worker::{ListenerCell, Running, Worker};
use clb_l4::{Accepted, Ahead, Session, accept, relay};
use clb_snapshot::{Admission, ConnectionPermit, FinishedRequest, Listener};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::answer::GatewayAnswer;
use crate::exchange::{Outcome, Tunnel, exchange};
use crate::http1::{HeadScanner, leading_crlf};
use crate::local::Local;
use crate::order::{Order, RequestId};
use crate::service::{Seat, Service};
use crate::timers::{Timers, Wait};

/// How long a connection that is to be closed is still read, so that what the client sends does
/// not destroy the answer on its way (RFC 9112 9.6).
const LINGER: Duration = Duration::from_secs(5);
/// How long it may be silent meanwhile.
const LINGER_SILENCE: Duration = Duration::from_secs(2);

/// Takes the worker's socket of an HTTP listener and serves it until it is
/// [stopped](Running::stop). Must be called within the worker's local runtime.
///
/// # Errors
/// When the socket was taken before, or cannot be registered with the runtime.
pub fn start(worker: &Worker, listener: Arc<Listener>) -> io::Result<Running> {
    let service = Service::new(Local::of(worker));
    let stopped = Rc::clone(&service);
    let serve_one = move |accepted: Accepted, cell: &ListenerCell| {
        let (seat, cell) = (service.seat(), cell.clone());
        accepted.spawn(|accepted| serve(Connection::new(accepted, cell, seat)));
    };
    accept(worker, listener, serve_one, move || stopped.drain())
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) cell: ListenerCell,
    seat: Seat,
    /// Octets that were received and not used yet.
    pub(crate) received: Vec<u8>,
    /// `received` has octets that were not looked at.
    is_fresh: bool,
    pub(crate) scanner: HeadScanner,
    pub(crate) timers: Timers,
    pub(crate) admission: Admission,
    permit: ConnectionPermit,
}

/// What a client wants next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing more.
    End,
    /// To be reset.
    Gone,
    /// A request that is carried out.
    Order(Box<Order>),
    /// A request that the gateway answers.
    Answer(Box<GatewayAnswer>),
}

impl Connection {
    fn new(accepted: Accepted, cell: ListenerCell, seat: Seat) -> Self {
        Self {
            client: accepted.stream,
            peer: accepted.peer,
            cell,
            seat,
            received: Vec::new(),
            is_fresh: false,
            scanner: HeadScanner::default(),
            timers: Timers::default(),
            admission: accepted.admission,
            permit: accepted.permit,
        }
    }

    pub(crate) fn service(&self) -> &Rc<Service> {
        self.seat.service()
    }

    pub(crate) fn local(&self) -> &Rc<Local> {
        &self.service().local
    }

    /// Waits for the next request and reads its head.
    async fn next(&mut self, patience: Duration) -> Next {
        self.is_fresh = !self.received.is_empty();
        self.timers.clear_all();
        let patience = match self.is_fresh {
            true => self.local().settings().client_header,
            false => patience,
        };
        let due = self.local().now().checked_add(patience);
        self.timers.set(Wait::ClientRead, due);
        // Nobody has waited before the first turn.
        let mut has_waited = false;
        let next = poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                self.local().tick();
            }
            self.poll_next(cx)
        })
        .await;
        self.timers.clear(Wait::ClientRead);
        next
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if std::mem::take(&mut self.is_fresh)
            && let Some(next) = self.look_again()
        {
            return Poll::Ready(next);
        }
        loop {
            let next = with_scratch(|scratch| {
                let length = match poll_recv(&self.client, cx, scratch) {
                    Ok(Poll::Ready(length)) => length,
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(_) => return Poll::Ready(Some(Next::Gone)),
                };
                Poll::Ready(match scratch.get(..length) {
                    None | Some([]) => Some(self.ended()),
                    Some(data) => self.take_in(data),
                })
            });
            match next {
                Poll::Ready(Some(next)) => return Poll::Ready(next),
                Poll::Ready(None) => {}
                Poll::Pending => break,
            }
        }
        if self.service().is_draining() && self.received.is_empty() {
            return Poll::Ready(Next::End);
        }
        self.seat.note(cx);
        self.timers.poll_overdue(cx).map(|_| self.too_late())
    }

    /// Whether the client has sent what nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.received.is_empty()
            || self.client.poll_read_ready(&mut cx).is_ready()
                && clb_net::peek(&self.client).is_ok_and(|length| length > 0)
    }

    /// Reads a head from what was received before.
    fn look_again(&mut self) -> Option<Next> {
        let mut data = std::mem::take(&mut self.received);
        let (next, used) = self.read_head(&data);
        data.drain(..used);
        match data.is_empty() {
            true => self.local().give_back(data),
            false => self.received = data,
        }
        next
    }

    /// Takes octets in that were just received.
    fn take_in(&mut self, data: &[u8]) -> Option<Next> {
        if !self.received.is_empty() {
            self.received.extend_from_slice(data);
            return self.look_again();
        }
        let (next, used) = self.read_head(data);
        if let Some(rest @ [_, ..]) = data.get(used..) {
            self.received = self.local().buffer();
            self.received.extend_from_slice(rest);
            if next.is_none() {
                // The head has begun, and this is the time it gets.
                let patience = self.local().settings().client_header;
                let due = self.local().now().checked_add(patience);
                self.timers.set(Wait::ClientRead, due);
            }
        }
        next
    }

    /// The client has ended its direction.
    fn ended(&self) -> Next {
        match self.received.len() == leading_crlf(&self.received) {
            true => Next::End,
            // A part of a request (RFC 9112 8).
            false => self.refuse(400, "the request was cut", false),
        }
    }

    /// A request that is answered with an error, after which nothing more is read.
    pub(crate) fn refuse(&self, status: u16, why: &'static str, is_head: bool) -> Next {
        let id = RequestId::from_slice(&self.local().request_id());
        Next::Answer(Box::new(GatewayAnswer::refusal(status, why, id, is_head)))
    }

    fn too_late(&self) -> Next {
        match self.received.is_empty() {
            true => Next::End,
            false => self.refuse(408, "the head did not come in time", false),
        }
    }

    /// Sends all of this; an error if the client does not take it in time.
    async fn send(&mut self, data: &[u8]) -> io::Result<()> {
        let patience = self.local().settings().client_body;
        let mut rest = data;
        self.timers.clear_all();
        poll_fn(|cx| {
            let due = self.local().tick().checked_add(patience);
            if !self.timers.is_set(Wait::ClientWrite) {
                self.timers.set(Wait::ClientWrite, due);
            }
            while !rest.is_empty() {
                match poll_send(&self.client, cx, rest)? {
                    Poll::Ready(length) => {
                        rest = rest.get(length..).unwrap_or_default();
                        self.timers.set(Wait::ClientWrite, due);
                    }
                    Poll::Pending => {
                        return self
                            .timers
                            .poll_overdue(cx)
                            .map(|_| Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
            Poll::Ready(Ok::<_, io::Error>(()))
        })
        .await?;
        self.admission.count_bytes(0, data.len() as u64);
        self.timers.clear_all();
        Ok(())
    }

    /// Answers in the gateway's own name; what becomes of the connection.
    async fn answer(&mut self, answer: GatewayAnswer) -> Outcome {
        let mut out = self.local().buffer();
        let keeps = answer.keeps_connection && !self.service().is_draining();
        answer.write(!keeps, &self.local().date(), &mut out);
        let sent = self.send(&out).await;
        self.local().give_back(out);
        match (sent, keeps) {
            (Err(_), _) => Outcome::Reset,
            (Ok(()), true) => Outcome::Keep,
            (Ok(()), false) => Outcome::Linger,
        }
    }

    /// Counts a request that the gateway answers without asking anybody.
    fn count(&self, status: u16) {
        let finished = FinishedRequest {
            status: Some(status),
            is_gateways: true,
            took: Duration::ZERO,
        };
        let worker = self.local().worker();
        self.cell
            .with(|listener| listener.requests.record(worker, &finished));
    }

    /// Closes so that the client can read what it was sent.
    async fn linger(&mut self) {
        if clb_net::shutdown_write(&self.client).is_err() {
            return;
        }
        let end = Instant::now().checked_add(LINGER);
        let (client, timers) = (&self.client, &mut self.timers);
        timers.clear_all();
        timers.set(Wait::ClientWrite, end);
        timers.set(Wait::ClientRead, Instant::now().checked_add(LINGER_SILENCE));
        poll_fn(|cx| {
            loop {
                match with_scratch(|scratch| poll_recv(client, cx, scratch)) {
                    Ok(Poll::Ready(0)) | Err(_) => return Poll::Ready(()),
                    Ok(Poll::Ready(_)) => {
                        timers.set(Wait::ClientRead, Instant::now().checked_add(LINGER_SILENCE))
                    }
                    Ok(Poll::Pending) => return timers.poll_overdue(cx).map(|_| ()),
                }
                if timers.poll_overdue(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    /// Relays both directions until the end.
    async fn tunnel(mut self, tunnel: Tunnel) {
        let ahead = Ahead {
            to_backend: std::mem::take(&mut self.received),
            to_client: tunnel.to_client,
        };
        let session = Session {
            client: &self.client,
            backend: &tunnel.backend,
            board: self.permit.board(),
            listener: &self.admission,
            member: &tunnel.member,
            idle: |settings| settings.http.tunnel_idle,
        };
        if let Err(broken) = relay(&session, Some(Box::new(ahead))).await {
            tracing::debug!(%broken, "both sides of a tunnel reset");
            reset(&self.client);
            reset(&tunnel.backend);
        }
    }
}

fn reset(stream: &TcpStream) {
    // It fails only for a connection that is gone anyway.
    let _ = clb_net::set_linger_zero(stream);
}

/// Serves a client. Dropping the future closes both sides.
async fn serve(mut connection: Connection) {
    connection.local().tick();
    if let Err(error) = clb_net::set_nodelay(&connection.client) {
        // The client is gone; the first read will find that out.
        tracing::trace!(%error, "TCP_NODELAY");
    }
    let mut patience = connection.local().settings().client_header;
    loop {
        let outcome = match connection.next(patience).await {
            Next::End => return,
            Next::Gone => Outcome::Reset,
            Next::Answer(answer) => {
                connection.count(answer.status);
                Box::pin(connection.answer(*answer)).await
            }
            Next::Order(order) => Box::pin(carry_out(&mut connection, order)).await,
        };
        match outcome {
            Outcome::Keep => patience = connection.local().settings().client_keepalive,
            Outcome::Close => return,
            Outcome::Linger => return Box::pin(connection.linger()).await,
            Outcome::Reset => return reset(&connection.client),
            Outcome::Cut(rest) => {
                if Box::pin(connection.send(&rest)).await.is_err() {
                    reset(&connection.client);
                }
                return;
            }
            Outcome::Tunnel(tunnel) => return Box::pin(connection.tunnel(*tunnel)).await,
        }
    }
}

/// Carries a request out, to the client's answer.
async fn carry_out(connection: &mut Connection, mut order: Box<Order>) -> Outcome {
    let outcome = exchange(connection, &mut order).await;
    let local = Rc::clone(connection.local());
    local.give_back(std::mem::take(&mut order.out));
    let mut finished = FinishedRequest {
        status: order.status,
        is_gateways: false,
        took: local.now().saturating_duration_since(order.started),
    };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(status) => {
            finished.status = Some(status);
            finished.is_gateways = true;
            Box::pin(connection.answer(GatewayAnswer::to_order(status, &order))).await
        }
    };
    order.requests.record(local.worker(), &finished);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of what a function's future is, without making one.
    fn size_of_future<'a, F>(_: fn(&'a mut Connection, Box<Order>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_in_flight_stays_small() {
        // Up to here the allocator keeps freed memory at hand for the next request; without
        // optimisation the compiler keeps more.
        let limit = if cfg!(debug_assertions) { 2_048 } else { 1_024 };
        let size = size_of_future(carry_out);
        assert!(size <= limit, "{size}");
    }
}
