//! A client's connection as the runtime's traits have it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use clb_l4::io::Stream as _;
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::watch::Watch;
use crate::client::Client;
use crate::local::Local;

/// A client's connection as the runtime's traits have it. Whoever keeps the client's [`Rc`] too can
/// end the connection in its own way afterwards.
#[derive(Debug)]
pub(super) struct Io {
    client: Rc<Client>,
    local: Rc<Local>,
    watch: Watch,
    fault: Rc<Cell<Option<Reason>>>,
}

impl Io {
    /// `fault` is set when the client has sent a frame for which the connection is to end; then
    /// nothing more is read.
    pub(super) fn new(
        client: Rc<Client>,
        local: Rc<Local>,
        fault: Rc<Cell<Option<Reason>>>,
    ) -> Self {
        let watch = Watch::new(local.now_ms());
        Self {
            client,
            local,
            watch,
            fault,
        }
    }

    fn sent(&mut self, sent: io::Result<Poll<usize>>) -> Poll<io::Result<usize>> {
        if let Ok(Poll::Ready(octets)) = sent {
            self.watch.sent(octets);
        }
        turned(sent)
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.fault.get().is_some() {
            return Poll::Pending;
        }
        let room = buffer.initialize_unfilled();
        match self.client.poll_recv(cx, room) {
            Ok(Poll::Ready(length)) => {
                let now_ms = self.local.now_ms();
                let octets = room.get(..length).unwrap_or_default();
                let Err(fault) = self.watch.look(octets, now_ms) else {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                };
                self.fault.set(Some(fault.reason));
                if fault.before == 0 {
                    return Poll::Pending;
                }
                buffer.advance(fault.before);
                Poll::Ready(Ok(()))
            }
            Ok(Poll::Pending) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = self.client.poll_send(cx, data);
        self.sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = self.client.poll_send_vectored(cx, pieces);
        self.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        turned(self.client.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        turned(self.client.poll_end(cx))
    }
}

fn turned<T>(result: io::Result<Poll<T>>) -> Poll<io::Result<T>> {
    match result {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}
