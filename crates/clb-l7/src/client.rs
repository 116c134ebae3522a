//! A client's connection, with or without TLS.

use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use clb_l4::io::{Stream, poll_recv, poll_send, poll_send_at_once, poll_send_vectored};
use tokio::net::TcpStream;

use crate::log::TlsFacts;
use crate::tls::TlsStream;

/// A client's connection, with or without TLS. One branch, always taken the same way on one
/// connection, is all that plain HTTP pays for the other.
#[derive(Debug)]
pub(crate) enum Client {
    /// HTTP as it is.
    Plain(TcpStream),
    /// After a handshake.
    Tls(Box<TlsStream>),
}

impl Client {
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// What the client's certificate says, as field lines for the backend; empty without one.
    pub(crate) fn certificate_fields(&self) -> &[u8] {
        match self {
            Self::Plain(_) => &[],
            Self::Tls(stream) => stream.certificate_fields(),
        }
    }

    /// What was agreed in the TLS handshake.
    pub(crate) fn tls_facts(&self) -> Option<TlsFacts> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.facts()),
        }
    }

    /// The host that the client asked for in the TLS handshake.
    pub(crate) fn server_name(&self) -> Option<Box<str>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.server_name(),
        }
    }

    /// [`Stream::poll_send`] to a client that does not let anybody wait, see [`poll_send_at_once`].
    pub(crate) fn poll_send_at_once(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> io::Result<Poll<usize>> {
        match self {
            Self::Plain(stream) => poll_send_at_once(stream, cx, data),
            Self::Tls(_) => self.poll_send(cx, data),
        }
    }

    /// Sends once from several pieces, see [`Stream::poll_send`].
    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<Poll<usize>> {
        match self {
            Self::Plain(stream) => poll_send_vectored(stream, cx, pieces),
            Self::Tls(stream) => stream.poll_send_vectored(cx, pieces),
        }
    }

    /// Whether, since it was asked last, octets went to the socket that had been taken before.
    pub(crate) fn take_moved(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => stream.take_moved(),
        }
    }

    /// Says that nothing more will come, as far as the socket takes it at once; to be called
    /// before an orderly end. Without TLS the end of the connection says that.
    pub(crate) fn close(&self) {
        if let Self::Tls(stream) = self {
            stream.close();
        }
    }
}

impl Stream for Client {
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> io::Result<Poll<usize>> {
        match self {
            Self::Plain(stream) => poll_recv(stream, cx, buffer),
            Self::Tls(stream) => stream.poll_recv(cx, buffer),
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> io::Result<Poll<usize>> {
        match self {
            Self::Plain(stream) => poll_send(stream, cx, data),
            Self::Tls(stream) => stream.poll_send_vectored(cx, &[IoSlice::new(data)]),
        }
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        match self {
            Self::Plain(_) => Ok(Poll::Ready(())),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        match self {
            Self::Plain(stream) => stream.poll_end(cx),
            Self::Tls(stream) => stream.poll_end(cx),
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.socket(),
        }
    }
}
