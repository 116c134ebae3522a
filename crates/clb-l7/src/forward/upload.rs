//! The request on its way to the backend.

use std::io;
use std::task::{Context, Poll};

use clb_l4::io::{Stream as _, poll_send, poll_send_at_once, wake_after_events, with_scratch};

use super::{End, Forward, READS_PER_TURN};
use crate::body::BodyFault;
use crate::timers::Wait;

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing is being sent yet; others get their turn before.
    New,
    /// Its head, and what of its body came with it, are being sent.
    Head,
    /// A part of its body is being sent.
    Body,
    /// More of its body is to be read from the client.
    Reading,
    /// The backend has all of it.
    Done,
    /// The backend takes no more of it; an answer may still come.
    Broken,
}

impl Forward<'_> {
    /// Moves the request on as far as the sides let it.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..READS_PER_TURN {
            match self.state.stage {
                Stage::New | Stage::Head | Stage::Body => {
                    if !self.poll_sent(cx) {
                        return Ok(());
                    }
                }
                Stage::Reading => {
                    if !self.poll_body(cx)? {
                        return Ok(());
                    }
                }
                Stage::Done | Stage::Broken => return Ok(()),
            }
        }
        // Its turn is over; what is left comes after the other connections.
        if !matches!(self.state.stage, Stage::Done | Stage::Broken) {
            wake_after_events(cx);
        }
        Ok(())
    }

    /// Sends what is ready; false when the backend does not take it now.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let ready = match self.state.stage {
                Stage::New | Stage::Head => &self.order.out,
                _ => &self.state.body,
            };
            let Some(rest @ [_, ..]) = ready.get(self.state.sent..) else {
                break;
            };
            let sent = match self.order.has_been_sent {
                true => poll_send(self.backend, cx, rest),
                false => poll_send_at_once(self.backend, cx, rest),
            };
            match sent {
                Ok(Poll::Ready(length)) => self.count_sent(length),
                Ok(Poll::Pending) => {
                    self.wait_for_backend(Wait::BackendWrite);
                    return false;
                }
                Err(error) => {
                    self.break_off(&error);
                    return true;
                }
            }
        }
        self.timers.clear(Wait::BackendWrite);
        if self.state.stage == Stage::Body {
            self.state.body.clear();
        }
        self.state.sent = 0;
        self.next_stage();
        true
    }

    fn count_sent(&mut self, length: usize) {
        self.state.sent += length;
        self.state.bytes_in += length as u64;
        self.order.has_been_sent = true;
    }

    fn next_stage(&mut self) {
        match self.order.body.is_complete() {
            true => {
                self.state.stage = Stage::Done;
                self.timers.clear(Wait::ClientRead);
                if !self.has_begun() {
                    let due = self.after(self.settings.backend_response);
                    self.timers.set(Wait::BackendRead, due);
                }
            }
            false => self.state.stage = Stage::Reading,
        }
    }

    /// The backend does not take the rest. It may have answered before it closed, so the answer
    /// is still waited for.
    fn break_off(&mut self, error: &io::Error) {
        tracing::trace!(%error, "the backend does not take the request");
        self.state.stage = Stage::Broken;
        self.timers.clear(Wait::BackendWrite);
        self.timers.clear(Wait::ClientRead);
        if !self.has_begun() {
            self.wait_for_backend(Wait::BackendRead);
        }
    }

    fn wait_for_backend(&mut self, wait: Wait) {
        if !self.timers.is_set(wait) {
            let due = self.after(self.settings.backend_response);
            self.timers.set(wait, due);
        }
    }

    /// Reads more of the body and sends it; false when the client sends nothing now.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        if !self.received.is_empty() {
            let mut data = std::mem::take(self.received);
            let used = self.pass_on(cx, &data)?;
            data.drain(..used);
            *self.received = data;
            return Ok(true);
        }
        let read = with_scratch(|scratch| {
            let length = match self.client.poll_recv(cx, scratch) {
                Ok(Poll::Ready(length)) => length,
                Ok(Poll::Pending) => return Ok(false),
                Err(_) => return Err(End::ClientGone),
            };
            let data = scratch.get(..length).unwrap_or_default();
            if data.is_empty() {
                return Err(self.client_fault(400));
            }
            let used = self.pass_on(cx, data)?;
            self.received
                .extend_from_slice(data.get(used..).unwrap_or_default());
            Ok(true)
        })?;
        if !read {
            self.wait_for_client();
        }
        Ok(read)
    }

    /// A client that waits for 100 (Continue) is waiting for the backend, not the other way round.
    fn wait_for_client(&mut self) {
        if self.order.expects_continue && !self.state.is_continued {
            if !self.has_begun() {
                self.wait_for_backend(Wait::BackendRead);
            }
        } else if !self.timers.is_set(Wait::ClientRead) {
            let due = self.after(self.settings.client_body);
            self.timers.set(Wait::ClientRead, due);
        }
    }

    /// Sends a piece of the body on and gives how much of it was used.
    fn pass_on(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<usize, End> {
        self.timers.clear(Wait::ClientRead);
        self.order.body_has_begun = true;
        self.order.is_spent = true;
        // It has begun to send, whether it was asked to or not.
        self.state.is_continued = true;
        let mut plain = self.order.body.take_plain(data);
        let mut used = plain.len();
        if plain.is_empty() {
            used = self
                .order
                .body
                .reframe(data, &mut self.state.body)
                .map_err(|fault: BodyFault| self.client_fault(fault.status()))?;
        }
        if let Some(log) = &mut self.order.log {
            log.received(used as u64);
        }
        while !plain.is_empty() {
            match poll_send(self.backend, cx, plain) {
                Ok(Poll::Ready(length)) => {
                    self.state.bytes_in += length as u64;
                    plain = plain.get(length..).unwrap_or_default();
                }
                Ok(Poll::Pending) => break,
                Err(error) => {
                    self.break_off(&error);
                    return Ok(used);
                }
            }
        }
        self.state.body.extend_from_slice(plain);
        match self.state.body.is_empty() {
            true => self.next_stage(),
            false => self.state.stage = Stage::Body,
        }
        Ok(used)
    }

    /// The client's body is wrong. If it has a part of the answer, nothing can be said any more.
    fn client_fault(&self, status: u16) -> End {
        match self.has_begun() {
            true => End::ClientGone,
            false => End::ClientFault(status),
        }
    }
}
