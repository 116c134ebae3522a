//! What is to be sent to a client, gathered until the end of a turn.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll};

use clb_l4::io::Stream as _;
use clb_snapshot::RECORD_CONTENT;

use crate::client::Client;

/// Octets that are gathered before they are sent in any case: what fits into a record. As much goes
/// without being copied when nothing waits before it.
const ENOUGH: usize = RECORD_CONTENT;

/// The crate h2 flushes after each frame of content. What it has written is kept here until its
/// connection's task has moved all frames, so that the answers of one turn are one send.
#[derive(Debug)]
pub(super) struct Gathered {
    client: Rc<Client>,
    waiting: RefCell<Vec<u8>>,
    /// Octets of `waiting` that are sent.
    gone: Cell<usize>,
}

impl Gathered {
    pub(super) fn new(client: Rc<Client>) -> Self {
        Self {
            client,
            waiting: RefCell::default(),
            gone: Cell::new(0),
        }
    }

    /// Takes octets, all of them or as many as are sent at once.
    ///
    /// # Errors
    /// What sending reports.
    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<Poll<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.waiting.borrow().len() + length >= ENOUGH {
            if self.poll_send(cx)?.is_pending() {
                return Ok(Poll::Pending);
            }
            if length >= ENOUGH {
                return self.client.poll_send_vectored(cx, pieces);
            }
        }
        let mut waiting = self.waiting.borrow_mut();
        for piece in pieces {
            waiting.extend_from_slice(piece);
        }
        Ok(Poll::Ready(length))
    }

    /// Ready when the client's connection has taken all.
    ///
    /// # Errors
    /// What sending reports.
    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        match self.poll_send(cx)? {
            Poll::Ready(()) => self.client.poll_flush(cx),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(rest @ [_, ..]) = waiting.get(self.gone.get()..) {
            match self.client.poll_send(cx, rest)? {
                Poll::Ready(length) => self.gone.set(self.gone.get() + length),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        // An idle connection keeps no buffer.
        *waiting = Vec::new();
        self.gone.set(0);
        Ok(Poll::Ready(()))
    }
}
