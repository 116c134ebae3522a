//! A client's connection as the runtime's traits have it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use clb_l4::io::Stream as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::client::Client;

/// A client's connection as the runtime's traits have it. Whoever keeps the [`Rc`] too can end the
/// connection in its own way afterwards.
#[derive(Debug)]
pub(super) struct Io(pub(super) Rc<Client>);

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.poll_recv(cx, buffer.initialize_unfilled()) {
            Ok(Poll::Ready(length)) => {
                buffer.advance(length);
                Poll::Ready(Ok(()))
            }
            Ok(Poll::Pending) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        turned(self.0.poll_send(cx, data))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        turned(self.0.poll_send_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        turned(self.0.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        turned(self.0.poll_end(cx))
    }
}

fn turned<T>(result: io::Result<Poll<T>>) -> Poll<io::Result<T>> {
    match result {
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}
