//! A client's connection: what it is, and how its next request is read.
//!
//! `serve` is its life from request to request, `reply` what it sends in the gateway's own name.

mod reply;
mod serve;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use clb_access_log::{Protocol as Spoken, Reason};
use clb_l4::io::{Stream as _, with_scratch};
use clb_l4::worker::ListenerCell;
use clb_snapshot::{Admission, ConnectionPermit};

use crate::answer::GatewayAnswer;
use crate::client::Client;
use crate::http1::{HeadScanner, leading_crlf};
use crate::listen::Arrival;
use crate::local::Local;
use crate::log::{Entry, Facts, Seen};
use crate::order::{Order, RequestId};
use crate::service::{Seat, Service};
use crate::timers::{Timers, Wait};

pub(crate) use reply::reset;
pub(crate) use serve::serve;

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
    pub(crate) fn new(client: Client, arrival: Arrival) -> Self {
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
}
