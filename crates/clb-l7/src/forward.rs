//! One request on one backend connection, and its answer on the way to the client.
//!
//! Both directions are driven by one task: the request's body goes on while the answer comes, so
//! that an early answer reaches the client and neither side can block the other. What a side does
//! not take is kept, and nothing more is read for it until it is gone.

mod download;
mod upload;

use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use clb_l4::io::Stream as _;
use clb_snapshot::{Admission, HttpSettings};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::client::Client;
use crate::http1::{BadAnswer, HeadScanner};
use crate::local::Local;
use crate::order::Order;
use crate::timers::{Timers, Wait};

use download::Flow;
use upload::Stage;

/// Full buffers that one direction may move before other connections of the worker get their turn.
const READS_PER_TURN: usize = 4;

/// Bytes that may have moved before they are counted; a long body shows while it lasts.
const COUNTED_BYTES: u64 = 64 * 1024;

/// How one attempt ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client has the whole answer.
    Complete(Complete),
    /// The backend has agreed to speak another protocol. The octets are for the client.
    Tunnel(Vec<u8>),
    /// Nothing of an answer has come, and nothing was told to the client.
    NoAnswer(Failure),
    /// The answer broke off; the client has a part of it.
    Cut {
        /// It does not see that from the framing, but from a reset only.
        needs_reset: bool,
    },
    /// The client can not be answered with this status any more or does not take it.
    ClientGone,
    /// The client's body is wrong or does not come; nothing was told to it yet.
    ClientFault(u16),
}

impl From<BadAnswer> for End {
    fn from(error: BadAnswer) -> Self {
        Self::NoAnswer(Failure::Bad(error))
    }
}

/// What a complete answer leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Complete {
    /// The status.
    pub(crate) status: u16,
    /// The backend's connection may carry another request.
    pub(crate) keeps_backend: bool,
    /// The client's connection may carry another request.
    pub(crate) keeps_client: bool,
    /// Some of the request was not read.
    pub(crate) is_early: bool,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended or broke before the first octet of an answer. True: and before the
    /// first octet of the request was sent.
    Closed(io::Error, bool),
    /// Nothing came in time.
    TimedOut,
    /// What came is no answer.
    Bad(BadAnswer),
    /// The connection ended within the head.
    HeadCut,
    /// Interim answers and no end of them.
    TooManyInterim,
}

/// What an attempt works on.
pub(crate) struct Forward<'a> {
    pub(crate) client: &'a Client,
    pub(crate) backend: &'a TcpStream,
    pub(crate) order: &'a mut Order,
    /// Octets from the client that were not used yet.
    pub(crate) received: &'a mut Vec<u8>,
    pub(crate) timers: &'a mut Timers,
    pub(crate) local: &'a Local,
    pub(crate) settings: &'a HttpSettings,
    /// Where the listener's bytes are counted.
    pub(crate) listener: &'a Admission,
    /// Where the member's bytes are counted.
    pub(crate) member: &'a Admission,
    /// Whether the client's connection is to end after this answer in any case.
    pub(crate) is_last: &'a dyn Fn() -> bool,
    state: State,
}

/// How far an attempt is.
struct State {
    stage: Stage,
    /// Octets of the order's head, or of `body`, that the backend has.
    sent: usize,
    /// Of the request's body, what the backend has not taken yet.
    body: Vec<u8>,
    /// The backend has asked for the body.
    is_continued: bool,
    /// The client is watched for a reset while nothing is read from it.
    is_watched: bool,
    flow: Flow,
    /// The beginning of an answer's head.
    head: Vec<u8>,
    scanner: HeadScanner,
    interim: usize,
    /// For the client, and how much of it has gone.
    outgoing: Vec<u8>,
    gone: usize,
    /// Trailer fields go to the client.
    takes_trailers: bool,
    status: u16,
    keeps_backend: bool,
    keeps_client: bool,
    bytes_in: u64,
    bytes_out: u64,
}

impl<'a> Forward<'a> {
    #[expect(
        clippy::too_many_arguments,
        reason = "each is one thing that the attempt works on"
    )]
    pub(crate) fn new(
        client: &'a Client,
        backend: &'a TcpStream,
        order: &'a mut Order,
        received: &'a mut Vec<u8>,
        timers: &'a mut Timers,
        local: &'a Local,
        settings: &'a HttpSettings,
        (listener, member): (&'a Admission, &'a Admission),
        is_last: &'a dyn Fn() -> bool,
    ) -> Self {
        timers.clear_all();
        let stage = match order.may_be_repeated() {
            true => Stage::New,
            // The kernel was asked just now whether the connection is open: that is not to age.
            false => Stage::Head,
        };
        Self {
            client,
            backend,
            order,
            received,
            timers,
            local,
            settings,
            listener,
            member,
            is_last,
            state: State {
                stage,
                sent: 0,
                body: Vec::new(),
                is_continued: false,
                is_watched: true,
                flow: Flow::Head,
                head: Vec::new(),
                scanner: HeadScanner::default(),
                interim: 0,
                outgoing: local.buffer(),
                gone: 0,
                takes_trailers: false,
                status: 0,
                keeps_backend: false,
                keeps_client: false,
                bytes_in: 0,
                bytes_out: 0,
            },
        }
    }

    /// Moves what can be moved; ready when the attempt has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let polled = self.poll_both(cx);
        let (bytes_in, bytes_out) = (self.state.bytes_in, self.state.bytes_out);
        if polled.is_ready() || bytes_in.max(bytes_out) >= COUNTED_BYTES {
            self.listener.count_bytes(bytes_in, bytes_out);
            self.member.count_bytes(bytes_in, bytes_out);
            let requests = self.order.pool.requests();
            requests.count_bytes(self.local.worker(), bytes_in, bytes_out);
            if let Some(log) = &mut self.order.log {
                log.sent(bytes_out);
            }
            (self.state.bytes_in, self.state.bytes_out) = (0, 0);
        }
        if polled.is_ready() {
            self.timers.clear_all();
        }
        polled
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.state.stage == Stage::New {
            // Those that are ready now are read before this is sent: sends that follow each other
            // wake a backend that has a core of its own less often (ADR 34).
            self.state.stage = Stage::Head;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Err(end) = self.poll_upload(cx) {
            return Poll::Ready(end);
        }
        match self.poll_download(cx) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(end)) | Err(end) => return Poll::Ready(end),
        }
        if self.state.stage == Stage::Done
            && let Some(end) = self.watch_client(cx)
        {
            return Poll::Ready(end);
        }
        self.timers.poll_overdue(cx).map(|wait| self.overdue(wait))
    }

    /// What it means that a side has let its time pass.
    fn overdue(&mut self, wait: Wait) -> End {
        match (wait, self.has_begun()) {
            (Wait::ClientRead, false) => End::ClientFault(408),
            (Wait::BackendRead | Wait::BackendWrite, false) => End::NoAnswer(Failure::TimedOut),
            (Wait::BackendRead | Wait::BackendWrite, true) => self.cut(),
            (Wait::ClientRead | Wait::ClientWrite, _) => End::ClientGone,
        }
    }

    /// Whether the final answer's head is on its way to the client.
    fn has_begun(&self) -> bool {
        !matches!(self.state.flow, Flow::Head)
    }

    /// Nothing is read from a client whose request is complete; that it has reset the connection
    /// would go unnoticed until its answer comes. A client that has only ended its own direction
    /// still wants the answer; after that, or with its next request there already, there is
    /// nothing to be seen.
    fn watch_client(&mut self, cx: &mut Context<'_>) -> Option<End> {
        if !self.state.is_watched || !self.received.is_empty() {
            return None;
        }
        let socket = self.client.socket();
        while socket.poll_read_ready(cx).is_ready() {
            let peeked = socket.try_io(tokio::io::Interest::READABLE, || clb_net::peek(socket));
            match peeked {
                Ok(_) => {
                    self.state.is_watched = false;
                    return None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Some(End::ClientGone),
            }
        }
        None
    }

    /// When a time that begins now is over; `None` if the clock can not tell.
    fn after(&self, duration: Duration) -> Option<Instant> {
        self.local.now().checked_add(duration)
    }

    /// Gives the state's buffers back, and what the client has not taken.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.local.give_back(self.state.body);
        self.local.give_back(self.state.head);
        without_start(self.state.outgoing, self.state.gone)
    }
}

/// `data` without its first `count` octets: what has gone must not go a second time.
fn without_start(mut data: Vec<u8>, count: usize) -> Vec<u8> {
    data.drain(..count.min(data.len()));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_has_is_not_kept_for_it() {
        assert_eq!(without_start(b"answer".to_vec(), 0), b"answer");
        assert_eq!(without_start(b"answer".to_vec(), 4), b"er");
        assert_eq!(without_start(b"answer".to_vec(), 6), b"");
        assert_eq!(without_start(b"answer".to_vec(), 7), b"");
    }
}
