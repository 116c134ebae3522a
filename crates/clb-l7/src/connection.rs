//! A client's connection: one request after the other.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clb_access_log::{AccessLog, Protocol as Spoken, Reason};
use clb_l4::io::{Stream as _, poll_recv, with_scratch};
use clb_l4::worker::{ListenerCell, Running, Worker};
use clb_l4::{Accepted, Ahead, Session, accept, relay};
use clb_model::Protocol;
use clb_snapshot::{Admission, ConnectionPermit, FinishedRequest, Listener, ServerTls};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::answer::GatewayAnswer;
use crate::client::Client;
use crate::exchange::{Asker, Outcome, Tunnel, exchange};
use crate::forward::{End, Forward};
use crate::http1::{HeadScanner, leading_crlf};
use crate::local::Local;
use crate::log::{Entry, Facts, Seen};
use crate::order::{Order, RequestId};
use crate::service::{Seat, Service};
use crate::timers::{Timers, Wait};
use crate::tls::{Shaken, shake_hands};

/// How long a connection that is to be closed is still read, so that what the client sends does
/// not destroy the answer on its way (RFC 9112 9.6).
const LINGER: Duration = Duration::from_secs(5);
/// How long it may be silent meanwhile.
const LINGER_SILENCE: Duration = Duration::from_secs(2);

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

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) peer: SocketAddr,
    pub(crate) cell: ListenerCell,
    seat: Seat,
    /// Octets that were received and not used yet.
    pub(crate) received: Vec<u8>,
    /// `received` has octets that were not looked at.
    is_fresh: bool,
    /// It waits for a request although its listener has gone.
    is_leaving: bool,
    pub(crate) scanner: HeadScanner,
    pub(crate) timers: Timers,
    pub(crate) admission: Admission,
    permit: ConnectionPermit,
    /// For the access log, from the first request on.
    facts: Option<Rc<Facts>>,
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
    fn new(client: Client, arrival: Arrival) -> Self {
        Self {
            client,
            peer: arrival.peer,
            cell: arrival.cell,
            seat: arrival.seat,
            received: Vec::new(),
            is_fresh: false,
            is_leaving: false,
            scanner: HeadScanner::default(),
            timers: Timers::default(),
            admission: arrival.admission,
            permit: arrival.permit,
            facts: None,
        }
    }

    /// Begins an entry of the access log, if there is one: for a request whose head has `received`
    /// octets.
    pub(crate) fn log<'s>(
        &mut self,
        seen: impl FnOnce() -> Seen<'s>,
        id: &[u8],
        received: usize,
    ) -> Option<Box<Entry>> {
        if !self.local().is_logging() {
            return None;
        }
        let (local, seen) = (Rc::clone(self.local()), seen());
        let (client, peer) = (&self.client, self.peer);
        let facts = self.facts.get_or_insert_with(|| {
            let spoken = match client.is_tls() {
                true => Spoken::Https,
                false => Spoken::Http,
            };
            Facts::new(peer, spoken, client.tls_facts())
        });
        let socket = client.socket();
        Some(
            self.cell
                .with(|listener| Entry::new(&local, facts, socket, listener, &seen, id, received)),
        )
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
        self.is_leaving = false;
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
                let length = match self.client.poll_recv(cx, scratch) {
                    Ok(Poll::Ready(length)) => length,
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(error) => return Poll::Ready(Some(self.gone(&error))),
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
        if self.service().is_draining() && self.received.is_empty() && !self.is_leaving {
            self.is_leaving = true;
            let due = self
                .local()
                .now()
                .checked_add(self.local().settings().drain_idle);
            self.timers.advance(Wait::ClientRead, due);
        }
        self.seat.note(cx);
        self.timers.poll_overdue(cx).map(|_| self.too_late())
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

    /// The client's connection has failed. Many end TLS with that of the connection and say no
    /// more (RFC 9112 9.8); between two requests nothing is lost by it.
    fn gone(&self, error: &io::Error) -> Next {
        match error.kind() {
            io::ErrorKind::UnexpectedEof if self.received.is_empty() => Next::End,
            _ => Next::Gone,
        }
    }

    /// The client has ended its direction.
    fn ended(&mut self) -> Next {
        match self.received.len() == leading_crlf(&self.received) {
            true => Next::End,
            // A part of a request (RFC 9112 8).
            false => self.refuse_received(400, "the request was cut", Reason::BadRequest),
        }
    }

    /// [`refuse`](Self::refuse) for what was received and is no request yet.
    fn refuse_received(&mut self, status: u16, why: &'static str, reason: Reason) -> Next {
        let data = std::mem::take(&mut self.received);
        let next = self.refuse(status, why, false, &data, reason);
        self.received = data;
        next
    }

    /// A request that is answered with an error, after which nothing more is read.
    /// `data` is what came of it.
    pub(crate) fn refuse(
        &mut self,
        status: u16,
        why: &'static str,
        is_head: bool,
        data: &[u8],
        reason: Reason,
    ) -> Next {
        let id = RequestId::from_slice(&self.local().request_id());
        let log = self.log(|| Seen::octets(data), &id, data.len());
        let mut answer = GatewayAnswer::refusal(status, why, id, is_head).logged(log);
        answer.reason = reason;
        Next::Answer(Box::new(answer))
    }

    fn too_late(&mut self) -> Next {
        let why = "the head did not come in time";
        match self.received.is_empty() {
            true => Next::End,
            false => self.refuse_received(408, why, Reason::ClientTimeout),
        }
    }

    /// Sends all of this; an error if the client does not take it in time.
    async fn send(&mut self, data: &[u8]) -> io::Result<()> {
        let patience = self.local().settings().client_body;
        let mut rest = data;
        self.timers.clear_all();
        poll_fn(|cx| {
            let due = self.local().tick().checked_add(patience);
            let before = rest.len();
            let mut sent = Poll::Ready(0);
            while !rest.is_empty() && sent.is_ready() {
                sent = self.client.poll_send(cx, rest)?;
                if let Poll::Ready(length) = sent {
                    rest = rest.get(length..).unwrap_or_default();
                }
            }
            if sent.is_ready() && self.client.poll_flush(cx)?.is_ready() {
                return Poll::Ready(Ok::<_, io::Error>(()));
            }
            let has_moved = self.client.take_moved() || rest.len() < before;
            if has_moved || !self.timers.is_set(Wait::ClientWrite) {
                self.timers.set(Wait::ClientWrite, due);
            }
            self.timers
                .poll_overdue(cx)
                .map(|_| Err(io::ErrorKind::TimedOut.into()))
        })
        .await?;
        self.admission.count_bytes(0, data.len() as u64);
        self.timers.clear_all();
        Ok(())
    }

    /// Answers in the gateway's own name; what becomes of the connection.
    async fn answer(&mut self, mut answer: GatewayAnswer) -> Outcome {
        let mut out = self.local().buffer();
        let keeps = answer.keeps_connection && !self.service().is_draining();
        answer.write(!keeps, &self.local().date(), &mut out);
        let sent = self.send(&out).await;
        let head = GatewayAnswer::head_length(&out);
        let lengths = (head as u64, (out.len() - head) as u64);
        answer.sent(self.local().worker(), &self.cell, lengths, sent.is_ok());
        self.local().give_back(out);
        match (sent, keeps) {
            (Err(_), _) => Outcome::Reset,
            (Ok(()), true) => Outcome::Keep,
            (Ok(()), false) => Outcome::Linger,
        }
    }

    /// Tells a client that it has to speak TLS here.
    async fn speak_tls(&mut self) {
        let why = "this port speaks HTTPS";
        if let Next::Answer(answer) = self.refuse(400, why, false, b"", Reason::BadRequest) {
            self.count(&answer);
            match self.answer(*answer).await {
                Outcome::Linger => self.linger().await,
                _ => reset(self.client.socket()),
            }
        }
    }

    /// Counts a request that the gateway answers without asking anybody.
    fn count(&self, answer: &GatewayAnswer) {
        answer.count(self.local().worker(), &self.cell);
    }

    /// Closes so that the client can read what it was sent.
    async fn linger(&mut self) {
        self.client.close();
        if clb_net::shutdown_write(self.client.socket()).is_err() {
            return;
        }
        let end = Instant::now().checked_add(LINGER);
        let (client, timers) = (self.client.socket(), &mut self.timers);
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
        let mut order = tunnel.order;
        let (total, worker) = (Cell::new((0, 0)), self.local().worker());
        let pool = order.as_ref().map(|order| Arc::clone(&order.pool));
        let moved = |bytes_in, bytes_out| {
            let (before_in, before_out) = total.get();
            total.set((before_in + bytes_in, before_out + bytes_out));
            if let Some(pool) = &pool {
                pool.requests().count_bytes(worker, bytes_in, bytes_out);
            }
        };
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
            moved: Some(&(&moved as &dyn Fn(u64, u64))),
        };
        let relayed = relay(&session, Some(Box::new(ahead))).await;
        self.local().tick();
        if let Some(order) = &mut order {
            let (bytes_in, bytes_out) = total.get();
            order.end_tunnel(bytes_in, bytes_out);
        }
        if let Err(broken) = relayed {
            tracing::debug!(%broken, "both sides of a tunnel reset");
            reset(self.client.socket());
            reset(&tunnel.backend);
        }
    }
}

impl Asker for Connection {
    fn peer(&self) -> SocketAddr {
        self.peer
    }

    fn is_tls(&self) -> bool {
        self.client.is_tls()
    }

    fn local(&self) -> &Rc<Local> {
        Connection::local(self)
    }

    fn task(&self) -> Option<AbortHandle> {
        self.admission.task()
    }

    async fn forward(
        &mut self,
        order: &mut Order,
        local: &Rc<Local>,
        backend: &TcpStream,
        member: &Admission,
    ) -> (End, Vec<u8>) {
        let settings = local.settings();
        let service = Rc::clone(self.service());
        let is_last = || service.is_draining();
        let Self {
            client,
            received,
            timers,
            admission,
            ..
        } = self;
        let mut forward = Forward::new(
            client,
            backend,
            order,
            received,
            timers,
            local,
            &settings,
            (admission, member),
            &is_last,
        );
        // Nobody has waited before the first turn.
        let mut has_waited = false;
        let end = poll_fn(|cx| {
            if std::mem::replace(&mut has_waited, true) {
                local.tick();
            }
            forward.poll(cx)
        })
        .await;
        (end, forward.finish())
    }

    fn has_unread(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.received.is_empty()
            || self.client.socket().poll_read_ready(&mut cx).is_ready()
                && clb_net::peek(self.client.socket()).is_ok_and(|length| length > 0)
    }
}

fn reset(stream: &TcpStream) {
    // It fails only for a connection that is gone anyway.
    let _ = clb_net::set_linger_zero(stream);
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

/// Serves a client. Dropping the future closes both sides.
async fn serve(mut connection: Connection) {
    connection.local().tick();
    let mut patience = connection.local().settings().client_header;
    loop {
        let outcome = match connection.next(patience).await {
            Next::End => return connection.client.close(),
            Next::Gone => Outcome::Reset,
            Next::Answer(answer) => {
                connection.count(&answer);
                Box::pin(connection.answer(*answer)).await
            }
            Next::Order(order) => {
                // The place first: else the future is made elsewhere and copied, a KiB each time.
                let place = Box::new_uninit();
                Box::into_pin(Box::write(place, carry_out(&mut connection, order))).await
            }
        };
        match outcome {
            Outcome::Keep => patience = connection.local().settings().client_keepalive,
            Outcome::Close => return connection.client.close(),
            Outcome::Linger => return Box::pin(connection.linger()).await,
            Outcome::Reset => return reset(connection.client.socket()),
            Outcome::Cut(rest) => {
                return match Box::pin(connection.send(&rest)).await {
                    Ok(()) => connection.client.close(),
                    Err(_) => reset(connection.client.socket()),
                };
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
    let mut outcome = match outcome {
        Ok(outcome) => outcome,
        Err(status) => {
            finished.status = Some(status);
            finished.is_gateways = true;
            let answer = GatewayAnswer::to_order(status, &mut order);
            Box::pin(connection.answer(answer)).await
        }
    };
    order.pool.requests().record(local.worker(), &finished);
    order.end(matches!(outcome, Outcome::Tunnel(_)));
    if let Outcome::Tunnel(tunnel) = &mut outcome {
        tunnel.order = Some(order);
    }
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
