//! A WebSocket over a stream (RFC 8441): both directions until the end.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use clb_l4::io::{poll_recv, poll_send, wake_after_events, with_scratch};
use clb_snapshot::Pool;
use h2::Reason;

use super::stream::{Done, Stream};
use crate::exchange::{Asker as _, Tunnel};
use crate::timers::Wait;

/// Octets that are read at once from the backend.
const READ: usize = 16 * 1024;
/// Pieces that one direction may move before others of the worker get their turn.
const PIECES_PER_TURN: usize = 4;

/// Both directions of a tunnel.
struct Relay<'a> {
    stream: &'a mut Stream,
    tunnel: &'a mut Tunnel,
    /// Where its bytes are counted.
    pool: &'a Pool,
    to_backend: Bytes,
    /// Octets of the stream's window that were in it.
    held: usize,
    to_client: Bytes,
    upload_ended: bool,
    download_ended: bool,
}

/// Why it ends before both directions do.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<h2::Error> for Broken {
    fn from(_: h2::Error) -> Self {
        Self
    }
}

/// Relays until both directions have ended, or nothing has moved for `timeouts.tunnel_idle`. The
/// end of one direction is END_STREAM on the one side and FIN on the other (RFC 8441 5).
pub(super) async fn relay(stream: &mut Stream, tunnel: &mut Tunnel, pool: &Pool) -> Done {
    stream.timers.clear_all();
    let mut relay = Relay {
        stream,
        to_client: std::mem::take(&mut tunnel.to_client).into(),
        tunnel,
        pool,
        to_backend: Bytes::new(),
        held: 0,
        upload_ended: false,
        download_ended: false,
    };
    let ended = poll_fn(|cx| relay.poll(cx)).await;
    if ended.is_ok() {
        return Done::Answered;
    }
    let Relay { stream, tunnel, .. } = relay;
    let _ = clb_net::set_linger_zero(&tunnel.backend);
    if let Some(send) = &mut stream.send {
        // RFC 8441 5: a TCP reset is CANCEL.
        send.send_reset(Reason::CANCEL);
    }
    Done::Cancelled
}

impl Relay<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.stream.local().tick();
        let moved = match (self.poll_upload(cx), self.poll_download(cx)) {
            (Ok(up), Ok(down)) => up | down,
            _ => return Poll::Ready(Err(Broken)),
        };
        if self.upload_ended && self.download_ended {
            return Poll::Ready(Ok(()));
        }
        if moved || !self.stream.timers.is_set(Wait::ClientRead) {
            let idle = self.stream.shared.local().settings().tunnel_idle;
            let due = self.stream.local().now().checked_add(idle);
            self.stream.timers.set(Wait::ClientRead, due);
        }
        if !self.download_ended
            && let Some(send) = &mut self.stream.send
            && send.poll_reset(cx).is_ready()
        {
            return Poll::Ready(Err(Broken));
        }
        let overdue = self.stream.timers.poll_overdue(cx);
        overdue.map(|_| Err(Broken))
    }

    /// From the client; whether anything moved.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let mut moved = false;
        for _ in 0..PIECES_PER_TURN {
            while !self.to_backend.is_empty() {
                match poll_send(&self.tunnel.backend, cx, &self.to_backend)? {
                    Poll::Ready(length) => {
                        let _ = self.to_backend.split_to(length);
                        self.count(length as u64, 0);
                        moved = true;
                    }
                    Poll::Pending => return Ok(moved),
                }
            }
            let held = std::mem::take(&mut self.held);
            self.stream.recv.flow_control().release_capacity(held)?;
            if self.upload_ended {
                return Ok(moved);
            }
            match self.stream.recv.poll_data(cx) {
                Poll::Ready(Some(data)) => {
                    self.to_backend = data?;
                    self.held = self.to_backend.len();
                }
                Poll::Ready(None) => {
                    self.upload_ended = true;
                    clb_net::shutdown_write(&self.tunnel.backend)?;
                    return Ok(true);
                }
                Poll::Pending => return Ok(moved),
            }
        }
        wake_after_events(cx);
        Ok(moved)
    }

    /// From the backend; whether anything moved.
    fn poll_download(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        let mut moved = false;
        for _ in 0..PIECES_PER_TURN {
            if self.download_ended || !self.poll_flushed(cx, &mut moved)? {
                return Ok(moved);
            }
            let received =
                with_scratch(|scratch| {
                    let buffer = scratch.get_mut(..READ).unwrap_or_default();
                    let received = poll_recv(&self.tunnel.backend, cx, buffer)?;
                    Ok::<_, io::Error>(received.map(|length| {
                        Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default())
                    }))
                })?;
            let Poll::Ready(data) = received else {
                return Ok(moved);
            };
            if data.is_empty() {
                let send = self.stream.send.as_mut().ok_or(Broken)?;
                send.send_data(Bytes::new(), true)?;
                self.download_ended = true;
                return Ok(true);
            }
            self.to_client = data;
        }
        wake_after_events(cx);
        Ok(moved)
    }

    /// Sends what waits for the client; false when it does not take all of it now.
    fn poll_flushed(&mut self, cx: &mut Context<'_>, moved: &mut bool) -> Result<bool, Broken> {
        while !self.to_client.is_empty() {
            let send = self.stream.send.as_mut().ok_or(Broken)?;
            send.reserve_capacity(self.to_client.len());
            let room = match send.capacity() {
                0 => match send.poll_capacity(cx) {
                    Poll::Ready(room) => room.ok_or(Broken)??,
                    Poll::Pending => return Ok(false),
                },
                room => room,
            };
            let piece = self.to_client.split_to(room.min(self.to_client.len()));
            let length = piece.len() as u64;
            send.send_data(piece, false)?;
            self.count(0, length);
            *moved = true;
        }
        Ok(true)
    }

    fn count(&mut self, bytes_in: u64, bytes_out: u64) {
        let listener = self.stream.shared.admission();
        listener.count_bytes(bytes_in, bytes_out);
        self.tunnel.member.count_bytes(bytes_in, bytes_out);
        let worker = self.stream.local().worker();
        self.pool
            .requests()
            .count_bytes(worker, bytes_in, bytes_out);
        let (before_in, before_out) = self.tunnel.moved;
        self.tunnel.moved = (before_in + bytes_in, before_out + bytes_out);
    }
}
