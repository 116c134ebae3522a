//! The request on its way to the backend.

use std::io;
use std::task::{Context, Poll};

use clb_l4::io::{poll_send, poll_send_at_once, wake_after_events};
use http::HeaderMap;

use super::super::fields::write_section;
use super::{Forward, PIECES_PER_TURN};
use crate::forward::End;
use crate::http1::keep_trailers;
use crate::timers::Wait;

/// How far the request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its head is being sent.
    Head,
    /// A part of its body is being sent.
    Body,
    /// More of its body is to come from the client.
    Reading,
    /// The backend has all of it.
    Done,
    /// The backend takes no more of it; an answer may still come.
    Broken,
}

impl Forward<'_> {
    /// Moves the request on as far as the sides let it.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..PIECES_PER_TURN {
            let moved = match self.state.stage {
                Stage::Head | Stage::Body => self.poll_sent(cx),
                Stage::Reading => self.poll_body(cx)?,
                Stage::Done | Stage::Broken => return Ok(()),
            };
            if !moved {
                return Ok(());
            }
        }
        // Its turn is over; what is left comes after the other streams.
        if !matches!(self.state.stage, Stage::Done | Stage::Broken) {
            wake_after_events(cx);
        }
        Ok(())
    }

    /// Sends what is ready; false when the backend does not take it now.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> bool {
        loop {
            let ready = match self.state.stage {
                Stage::Head => &self.order.out,
                _ => &self.state.body,
            };
            let Some(rest @ [_, ..]) = ready.get(self.state.sent..) else {
                break;
            };
            let sent = match self.order.has_been_sent {
                true => poll_send(self.attempt.backend, cx, rest),
                false => poll_send_at_once(self.attempt.backend, cx, rest),
            };
            match sent {
                Ok(Poll::Ready(length)) => {
                    self.state.sent += length;
                    self.state.bytes_in += length as u64;
                    self.order.has_been_sent = true;
                }
                Ok(Poll::Pending) => {
                    self.wait_for(Wait::BackendWrite);
                    return false;
                }
                Err(error) => {
                    self.break_off(&error);
                    return true;
                }
            }
        }
        self.stream.timers.clear(Wait::BackendWrite);
        if self.state.stage == Stage::Body {
            self.state.body.clear();
            self.release();
        }
        self.state.sent = 0;
        self.next_stage();
        true
    }

    /// Opens the client's window by what the backend has taken.
    pub(super) fn release(&mut self) {
        let held = std::mem::take(&mut self.state.held);
        // It fails only for a stream that is gone.
        let _ = self.stream.recv.flow_control().release_capacity(held);
    }

    fn next_stage(&mut self) {
        if !self.state.is_ended {
            self.state.stage = Stage::Reading;
            return;
        }
        self.state.stage = Stage::Done;
        self.stream.timers.clear(Wait::ClientRead);
        if !self.has_begun() {
            self.wait_anew(Wait::BackendRead);
        }
    }

    /// The backend does not take the rest. It may have answered before it closed, so the answer
    /// is still waited for.
    fn break_off(&mut self, error: &io::Error) {
        tracing::trace!(%error, "the backend does not take the request");
        self.state.stage = Stage::Broken;
        self.stream.timers.clear(Wait::BackendWrite);
        self.stream.timers.clear(Wait::ClientRead);
        if !self.has_begun() {
            self.wait_for(Wait::BackendRead);
        }
    }

    /// Takes more of the body; false when none is there now.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let data = match self.stream.recv.poll_data(cx) {
            Poll::Ready(Some(Ok(data))) => data,
            // The client has reset the stream, or what it has sent is not what it had announced.
            Poll::Ready(Some(Err(_))) => return Err(End::ClientGone),
            Poll::Ready(None) => return self.poll_trailers(cx),
            Poll::Pending => {
                self.wait_for_client();
                return Ok(false);
            }
        };
        self.stream.timers.clear(Wait::ClientRead);
        self.order.body_has_begun = true;
        self.order.is_spent = true;
        // It has begun to send, whether it was asked to or not.
        self.state.is_continued = true;
        self.state.held += data.len();
        if let Some(log) = &mut self.order.log {
            log.received(data.len() as u64);
        }
        let framed = self.order.body.frame(&data, &mut self.state.body);
        framed.map_err(|fault| self.client_fault(fault.status()))?;
        // The last octets of an announced length wait for END_STREAM: what has more than it says
        // is no request (RFC 9113 8.1.1), and the backend must not take it for one.
        if !self.order.body.is_complete() {
            self.state.stage = Stage::Body;
        }
        Ok(true)
    }

    /// The end of the body.
    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let map = match self.stream.recv.poll_trailers(cx) {
            Poll::Ready(Ok(map)) => map.unwrap_or_default(),
            Poll::Ready(Err(_)) => return Err(End::ClientGone),
            Poll::Pending => {
                self.wait_for_client();
                return Ok(false);
            }
        };
        let trailers = self.kept(&map)?;
        let finished = self.order.body.finish(&trailers, &mut self.state.body);
        finished.map_err(|fault| self.client_fault(fault.status()))?;
        self.order.body_has_begun = true;
        self.order.is_spent = true;
        self.state.is_ended = true;
        self.state.stage = Stage::Body;
        Ok(true)
    }

    /// What of the trailer fields goes on, as lines.
    fn kept(&self, map: &HeaderMap) -> Result<Vec<u8>, End> {
        if map.is_empty() {
            return Ok(Vec::new());
        }
        let mut section = Vec::new();
        write_section(map, &mut section);
        keep_trailers(&section, &[]).map_err(|_| self.client_fault(400))
    }

    /// A client that waits for 100 (Continue) is waiting for the backend, not the other way round.
    fn wait_for_client(&mut self) {
        if !self.order.expects_continue || self.state.is_continued {
            self.wait_for(Wait::ClientRead);
        } else if !self.has_begun() {
            self.wait_for(Wait::BackendRead);
        }
    }

    /// The client's body is wrong. If it has a part of the answer, nothing can be said any more.
    fn client_fault(&self, status: u16) -> End {
        match self.has_begun() {
            true => End::ClientGone,
            false => End::ClientFault(status),
        }
    }
}
