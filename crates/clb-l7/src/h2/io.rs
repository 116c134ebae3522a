//! A client's connection as the runtime's traits have it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use clb_l4::io::{Stream as _, with_scratch};
use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::gathered::Gathered;
use super::watch::Watch;
use crate::client::Client;
use crate::local::Local;

/// What a connection's task and its [`Io`] tell each other, by way of the crate that knows neither.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// What the client has done that ends the connection; nothing more is read then.
    pub(super) fault: Cell<Option<Reason>>,
    /// Nothing more is to be read in this turn of the task: it was found so, and the task will be
    /// woken. The crate asks again for each stream that it hands out.
    is_dry: Cell<bool>,
}

impl Link {
    /// To be called at the beginning of each turn of the task.
    pub(super) fn begin_turn(&self) {
        self.is_dry.set(false);
    }
}

/// A client's connection as the runtime's traits have it. Whoever keeps the client's [`Rc`] too can
/// end the connection in its own way afterwards.
#[derive(Debug)]
pub(super) struct Io {
    client: Rc<Client>,
    gathered: Rc<Gathered>,
    local: Rc<Local>,
    watch: Watch,
    link: Rc<Link>,
    /// What was received and not read yet; less than the worker's buffer has.
    rest: Bytes,
}

impl Io {
    pub(super) fn new(
        client: Rc<Client>,
        gathered: Rc<Gathered>,
        local: Rc<Local>,
        link: Rc<Link>,
    ) -> Self {
        let watch = Watch::new(local.now_ms());
        Self {
            client,
            gathered,
            local,
            watch,
            link,
            rest: Bytes::new(),
        }
    }

    /// Receives once by way of `scratch`, which is the worker's.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = match self.client.poll_recv(cx, scratch) {
            Ok(Poll::Ready(length)) => length,
            Ok(Poll::Pending) => {
                self.link.is_dry.set(true);
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Err(error)),
        };
        let mut octets = scratch.get(..length).unwrap_or_default();
        if let Err(fault) = self.watch.look(octets, self.local.now_ms()) {
            self.link.fault.set(Some(fault.reason));
            octets = octets.get(..fault.before).unwrap_or_default();
            if octets.is_empty() {
                return Poll::Pending;
            }
        }
        let (first, rest) = octets.split_at(octets.len().min(buffer.remaining()));
        buffer.put_slice(first);
        self.rest = Bytes::copy_from_slice(rest);
        Poll::Ready(Ok(()))
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
        let this = &mut *self;
        if this.rest.is_empty() {
            if this.link.is_dry.get() || this.link.fault.get().is_some() {
                return Poll::Pending;
            }
            // The session has more to say than fits into what the crate reads at once.
            return with_scratch(|scratch| this.receive(cx, scratch, buffer));
        }
        let length = buffer.remaining().min(this.rest.len());
        buffer.put_slice(&this.rest.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let sent = self.gathered.poll_write(cx, &[IoSlice::new(data)]);
        self.sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = self.gathered.poll_write(cx, pieces);
        self.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The connection's task flushes, when the crate has written all that it has.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.gathered.poll_flush(cx) {
            Ok(Poll::Ready(())) => turned(self.client.poll_end(cx)),
            flushed => turned(flushed),
        }
    }
}

/// A result of this project's streams as the runtime's traits have it.
pub(super) fn turned<T>(result: io::Result<Poll<T>>) -> Poll<io::Result<T>> {
    match result {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}
