//! One receive or send of a task on a connected socket, and the worker's shared read buffer.

use std::cell::RefCell;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;

/// Bytes of the worker's shared read buffer: what is read at once, and then sent at once. Measured:
/// 16 KiB costs 1.8 times as much CPU per byte, 256 KiB is no better.
///
/// Not 64 KiB: a send that long is more than the kernel makes one packet of (64 KiB with its headers,
/// in whole segments: 65,483 octets over loopback, 65,160 over Ethernet), and TCP_NODELAY has the few
/// octets behind it go as a packet of their own, which costs as much as the first. What goes with a
/// piece fits, too: fields that a head gains, the frames of chunks and of TLS records (ADR 36).
pub const SCRATCH_BYTES: usize = 60 * 1024;

thread_local! {
    /// Borrowed within one poll only.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into());
}

/// Lends the read buffer that all connections of the thread share. What is in it must be used or
/// copied before `within` returns; `within` must not call this again.
pub fn with_scratch<T>(within: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| within(scratch))
}

/// Ends the turn of a task that could go on: it is woken when the runtime has looked for events, so
/// that those who wait for one have theirs first. A task that wakes itself is polled again up to 61
/// times before that, if nobody else is ready yet.
pub fn wake_after_events(cx: &mut Context<'_>) {
    // It is pending the first time, and has noted the waker.
    let _ = pin!(yield_now()).poll(cx);
}

/// One side of a relayed connection, read and written within a task. Plain TCP needs no more than
/// a socket; what lies above one may have something to say before and after.
pub trait Stream {
    /// Receives once, as [`poll_recv`] does; 0 is an orderly end.
    ///
    /// # Errors
    /// What recv(2) reports, or what is wrong with what came.
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> io::Result<Poll<usize>>;

    /// Takes octets to be sent and gives how many. Those may not have gone before
    /// [`poll_flush`](Self::poll_flush) is ready; until then it may take no more.
    ///
    /// # Errors
    /// What send(2) reports.
    fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> io::Result<Poll<usize>>;

    /// Ready when the socket has all that was taken.
    ///
    /// # Errors
    /// What send(2) reports.
    fn poll_flush(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>>;

    /// Ends this side's direction, after all that was taken.
    ///
    /// # Errors
    /// What send(2) and shutdown(2) report.
    fn poll_end(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>>;

    /// What it goes over.
    fn socket(&self) -> &TcpStream;

    /// The same, if nothing lies above it: then what goes through need not be looked at.
    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

impl Stream for TcpStream {
    fn poll_recv(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> io::Result<Poll<usize>> {
        poll_recv(self, cx, buffer)
    }

    fn poll_send(&self, cx: &mut Context<'_>, data: &[u8]) -> io::Result<Poll<usize>> {
        poll_send(self, cx, data)
    }

    #[inline]
    fn poll_flush(&self, _: &mut Context<'_>) -> io::Result<Poll<()>> {
        Ok(Poll::Ready(()))
    }

    fn poll_end(&self, _: &mut Context<'_>) -> io::Result<Poll<()>> {
        clb_net::shutdown_write(self).map(Poll::Ready)
    }

    fn socket(&self) -> &TcpStream {
        self
    }

    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// Receives once. A read that does not fill the buffer has emptied the socket, so its readiness is
/// given up at once: the next event brings it back, and no call is spent on being told `EAGAIN`
/// (epoll(7), edge-triggered). The end of the data stays ready.
///
/// # Errors
/// What recv(2) reports.
pub fn poll_recv(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> io::Result<Poll<usize>> {
    while stream.poll_read_ready(cx)?.is_ready() {
        let mut received = None;
        let result = stream.try_io(Interest::READABLE, || {
            let length = clb_net::recv(stream, buffer)?;
            received = Some(length);
            keep_readiness(length == 0 || length == buffer.len())
        });
        if let Some(length) = finished(received, result)? {
            return Ok(Poll::Ready(length));
        }
    }
    Ok(Poll::Pending)
}

/// Sends once; a send that takes less than all has filled the socket, see [`poll_recv`].
///
/// # Errors
/// What send(2) reports.
pub fn poll_send(stream: &TcpStream, cx: &mut Context<'_>, data: &[u8]) -> io::Result<Poll<usize>> {
    poll_send_with(stream, cx, data.len(), || clb_net::send(stream, data))
}

/// [`poll_send`] for one whose last send took all: it will have room, so the kernel is asked before
/// the runtime, which costs less by what the runtime would have said.
///
/// # Errors
/// What send(2) reports.
pub fn poll_send_at_once(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    data: &[u8],
) -> io::Result<Poll<usize>> {
    match clb_net::send(stream, data) {
        // The runtime has to hear of it from a call of its own, which then waits for room.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => poll_send(stream, cx, data),
        sent => sent.map(Poll::Ready),
    }
}

/// Sends once from several pieces, see [`poll_send`].
///
/// # Errors
/// What sendmsg(2) reports.
pub fn poll_send_vectored(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> io::Result<Poll<usize>> {
    let total = pieces.iter().map(|piece| piece.len()).sum();
    poll_send_with(stream, cx, total, || clb_net::send_vectored(stream, pieces))
}

fn poll_send_with(
    stream: &TcpStream,
    cx: &mut Context<'_>,
    total: usize,
    send: impl Fn() -> io::Result<usize>,
) -> io::Result<Poll<usize>> {
    while stream.poll_write_ready(cx)?.is_ready() {
        let mut sent = None;
        let result = stream.try_io(Interest::WRITABLE, || {
            let length = send()?;
            sent = Some(length);
            keep_readiness(length == total)
        });
        if let Some(length) = finished(sent, result)? {
            return Ok(Poll::Ready(length));
        }
    }
    Ok(Poll::Pending)
}

/// What a closure for `try_io` answers so that the stream stays ready, or does not.
fn keep_readiness(keep: bool) -> io::Result<()> {
    match keep {
        true => Ok(()),
        false => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// What a call moved; `None` when it would have blocked.
fn finished(moved: Option<usize>, result: io::Result<()>) -> io::Result<Option<usize>> {
    match result {
        Err(error) if moved.is_none() && error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(moved),
    }
}
