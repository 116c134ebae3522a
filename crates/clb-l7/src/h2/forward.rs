//! One request on one backend connection, and its answer on the way to the client's stream.
//!
//! As in HTTP/1, one task drives both directions, and what a side does not take is kept while
//! nothing more is read for it. The stream's window is opened again only when the backend has
//! taken what came, and the backend is read again only when the client's window has taken what
//! came: so a slow side stops the other through both protocols' flow control.

mod download;
mod upload;

use std::task::{Context, Poll};

use bytes::Bytes;
use clb_snapshot::{Admission, HttpSettings};
use http::HeaderMap;
use tokio::net::TcpStream;

use super::stream::Stream;
use crate::forward::{End, Failure};
use crate::http1::HeadScanner;
use crate::local::Local;
use crate::order::Order;
use crate::timers::Wait;

use download::Flow;
use upload::Stage;

/// Pieces that one direction may move before other streams of the worker get their turn.
const PIECES_PER_TURN: usize = 4;
/// Bytes that may have moved before they are counted; a long body shows while it lasts.
const COUNTED_BYTES: u64 = 64 * 1024;

/// What an attempt is made with.
#[derive(Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub(super) backend: &'a TcpStream,
    pub(super) local: &'a Local,
    pub(super) settings: &'a HttpSettings,
    /// Where the member's bytes are counted.
    pub(super) member: &'a Admission,
}

/// One attempt.
pub(super) struct Forward<'a> {
    stream: &'a mut Stream,
    order: &'a mut Order,
    attempt: Attempt<'a>,
    state: State,
}

/// How far an attempt is.
struct State {
    stage: Stage,
    /// Octets of the order's head, or of `body`, that the backend has.
    sent: usize,
    /// Of the request's body, what the backend has not taken yet.
    body: Vec<u8>,
    /// Octets of the stream's window that are in `body`.
    held: usize,
    /// The client has ended its body.
    is_ended: bool,
    /// The backend has asked for the body.
    is_continued: bool,
    flow: Flow,
    /// The beginning of an answer's head.
    head: Vec<u8>,
    scanner: HeadScanner,
    interim: usize,
    /// Content for the client.
    outgoing: Bytes,
    trailers: Option<HeaderMap>,
    /// END_STREAM was sent.
    is_closed: bool,
    status: u16,
    keeps_backend: bool,
    bytes_in: u64,
    bytes_out: u64,
}

impl<'a> Forward<'a> {
    pub(super) fn new(stream: &'a mut Stream, order: &'a mut Order, attempt: Attempt<'a>) -> Self {
        stream.timers.clear_all();
        let is_ended = order.body.is_complete();
        Self {
            stream,
            order,
            attempt,
            state: State {
                stage: Stage::Head,
                sent: 0,
                body: Vec::new(),
                held: 0,
                is_ended,
                is_continued: false,
                flow: Flow::Head,
                head: Vec::new(),
                scanner: HeadScanner::default(),
                interim: 0,
                outgoing: Bytes::new(),
                trailers: None,
                is_closed: false,
                status: 0,
                keeps_backend: false,
                bytes_in: 0,
                bytes_out: 0,
            },
        }
    }

    /// Moves what can be moved; ready when the attempt has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let polled = self.poll_both(cx);
        let (bytes_in, bytes_out) = (self.state.bytes_in, self.state.bytes_out);
        if polled.is_ready() || bytes_in.max(bytes_out) >= COUNTED_BYTES {
            let listener = self.stream.shared.admission();
            listener.count_bytes(bytes_in, bytes_out);
            self.attempt.member.count_bytes(bytes_in, bytes_out);
            let requests = self.order.pool.requests();
            requests.count_bytes(self.attempt.local.worker(), bytes_in, bytes_out);
            if let Some(log) = &mut self.order.log {
                log.sent(bytes_out);
            }
            (self.state.bytes_in, self.state.bytes_out) = (0, 0);
        }
        if polled.is_ready() {
            self.stream.timers.clear_all();
        }
        polled
    }

    fn poll_both(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.is_reset(cx) {
            return Poll::Ready(End::ClientGone);
        }
        if let Err(end) = self.poll_upload(cx) {
            return Poll::Ready(end);
        }
        match self.poll_download(cx) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(end)) | Err(end) => return Poll::Ready(end),
        }
        let overdue = self.stream.timers.poll_overdue(cx);
        overdue.map(|wait| self.overdue(wait))
    }

    /// Whether the client has reset the stream, or the connection is gone.
    fn is_reset(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.stream.send {
            Some(_) if self.state.is_closed => false,
            Some(send) => send.poll_reset(cx).is_ready(),
            None => self.stream.respond.poll_reset(cx).is_ready(),
        }
    }

    /// What it means that a side has let its time pass.
    fn overdue(&mut self, wait: Wait) -> End {
        match (wait, self.has_begun()) {
            (Wait::ClientRead, false) => End::ClientFault(408),
            (Wait::BackendRead | Wait::BackendWrite, false) => End::NoAnswer(Failure::TimedOut),
            (Wait::BackendRead | Wait::BackendWrite, true) => cut(),
            (Wait::ClientRead | Wait::ClientWrite, _) => End::ClientGone,
        }
    }

    /// Whether the final answer's head is on its way to the client.
    fn has_begun(&self) -> bool {
        !matches!(self.state.flow, Flow::Head)
    }

    /// Sets a deadline unless it is set.
    fn wait_for(&mut self, wait: Wait) {
        if !self.stream.timers.is_set(wait) {
            self.wait_anew(wait);
        }
    }

    /// Sets a deadline from now on.
    fn wait_anew(&mut self, wait: Wait) {
        let settings = self.attempt.settings;
        let patience = match wait {
            Wait::ClientRead | Wait::ClientWrite => settings.client_body,
            Wait::BackendRead | Wait::BackendWrite => settings.backend_response,
        };
        let due = self.attempt.local.now().checked_add(patience);
        self.stream.timers.set(wait, due);
    }

    /// Gives the state's buffers back. What the client has not got is lost: its stream is reset.
    pub(super) fn finish(mut self) -> Vec<u8> {
        // What the backend has not taken of an upload is read on for nobody.
        self.release();
        self.attempt.local.give_back(self.state.body);
        self.attempt.local.give_back(self.state.head);
        Vec::new()
    }
}

/// The answer's end will not come.
fn cut() -> End {
    End::Cut { needs_reset: false }
}
