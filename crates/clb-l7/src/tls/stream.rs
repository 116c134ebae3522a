//! A connection after its handshake.
//!
//! Ciphertext is read into one buffer that all connections of the worker share, and decrypted from
//! there into the caller's. What the socket does not take of the ciphertext to be sent is kept with
//! the connection, at most one full send (60 KiB), and nothing more is taken before it is gone: so
//! backpressure reaches the backend.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read as _, Write};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use clb_l4::io::{SCRATCH_BYTES, poll_recv, poll_send, poll_send_at_once, poll_send_vectored};
use rustls::{HandshakeKind, ServerConnection};
use tokio::net::TcpStream;

use crate::log::TlsFacts;

/// The longest content of one record (RFC 8446 5.1).
const RECORD: usize = 16 * 1024;
/// Octets of ciphertext that are read at once: what comes out of them and of the record that was
/// begun before fits into the worker's shared buffer.
const CIPHERTEXT: usize = SCRATCH_BYTES - RECORD;
/// The least that is read at once; rustls takes in no more in one step.
const LEAST: usize = 4 * 1024;
/// Octets that rustls copies into a record at once. The C library copies from 4 KiB on with one
/// instruction, `rep movsb`, and some processors (AMD's Zen 3) take twenty times as long for it when
/// the destination lies less than 32 octets behind the source modulo 4 KiB: content from the
/// beginning of a page does, behind its record's head of 5 octets.
const COPIED_AT_ONCE: usize = 2 * 1024;
/// Parts of a send of [`SCRATCH_BYTES`] in four pieces: each may have a part that is shorter.
const PIECES: usize = SCRATCH_BYTES / COPIED_AT_ONCE + 4;

thread_local! {
    /// Borrowed within one poll only.
    static CIPHERTEXT_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; CIPHERTEXT].into());
}

/// Lends the buffer for what comes from sockets, its first `length` octets at most. `within` must
/// not call this again.
pub(super) fn with_ciphertext<T>(length: usize, within: impl FnOnce(&mut [u8]) -> T) -> T {
    CIPHERTEXT_BUFFER.with_borrow_mut(|buffer| {
        let length = length.min(buffer.len());
        within(buffer.get_mut(..length).unwrap_or_default())
    })
}

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct TlsStream {
    socket: TcpStream,
    session: RefCell<ServerConnection>,
    certificate_fields: Box<[u8]>,
    /// How long the handshake took.
    shaken: Duration,
    has_moved: Cell<bool>,
    /// What waits to be sent is what the handshake has left to go with an answer: tickets.
    has_tickets: Cell<bool>,
    /// The socket had no room for what was last to be sent.
    is_full: Cell<bool>,
    /// close_notify was given to rustls.
    is_closed: Cell<bool>,
}

impl TlsStream {
    /// `certificate_fields` is what backends learn of the client's certificate.
    pub(super) fn new(
        socket: TcpStream,
        session: ServerConnection,
        certificate_fields: Box<[u8]>,
        shaken: Duration,
    ) -> Self {
        Self {
            socket,
            has_tickets: Cell::new(session.wants_write()),
            session: RefCell::new(session),
            certificate_fields,
            shaken,
            has_moved: Cell::new(false),
            is_full: Cell::new(false),
            is_closed: Cell::new(false),
        }
    }

    pub(crate) fn certificate_fields(&self) -> &[u8] {
        &self.certificate_fields
    }

    /// What was agreed in the handshake.
    pub(crate) fn facts(&self) -> TlsFacts {
        let session = self.session.borrow();
        let version = session.protocol_version();
        let cipher = session.negotiated_cipher_suite();
        TlsFacts {
            version: version.map_or(0, u16::from),
            cipher: cipher.map_or(0, |suite| u16::from(suite.suite())),
            is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
            took: self.shaken,
        }
    }

    /// Whether client and listener have agreed on HTTP/2 (RFC 7301; RFC 9113 3.2).
    pub(crate) fn speaks_h2(&self) -> bool {
        self.session.borrow().alpn_protocol() == Some(b"h2")
    }

    /// The host that the client asked for in the handshake (RFC 6066 3).
    pub(crate) fn server_name(&self) -> Option<Box<str>> {
        self.session.borrow().server_name().map(Into::into)
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether ciphertext has gone since it was asked last.
    pub(crate) fn take_moved(&self) -> bool {
        self.has_moved.take()
    }

    /// Receives once; 0 is the client's close_notify.
    ///
    /// # Errors
    /// What recv(2) reports; `InvalidData` for what breaks TLS; `UnexpectedEof` when the connection
    /// ends without close_notify: more may have been meant to come (RFC 8446 6.1).
    pub(crate) fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> io::Result<Poll<usize>> {
        let mut session = self.session.borrow_mut();
        match session.reader().read(buffer) {
            // Left from the last time, when the caller's buffer was small or the handshake ended.
            Ok(length) => return Ok(Poll::Ready(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // Nothing decrypted waits now, and rustls stops taking in when much does: what is read must
        // fit, with the record that was begun before.
        let room = buffer
            .len()
            .checked_sub(RECORD)
            .filter(|room| *room >= LEAST)
            .ok_or(io::ErrorKind::InvalidInput)?;
        with_ciphertext(room, |ciphertext| {
            loop {
                let Poll::Ready(length) = poll_recv(&self.socket, cx, ciphertext)? else {
                    // The client has not asked for anything: tickets do not wait any longer.
                    if self.has_tickets.get() {
                        let _ = self.flush(&mut session, cx)?;
                    }
                    return Ok(Poll::Pending);
                };
                let Some(data @ [_, ..]) = ciphertext.get(..length) else {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                };
                let decrypted = decrypt(&mut session, data, buffer);
                // What rustls has to say to that: an alert, an update of keys.
                let answered = self.flush(&mut session, cx);
                let (length, is_end) = decrypted?;
                let _ = answered?;
                if length > 0 || is_end {
                    return Ok(Poll::Ready(length));
                }
            }
        })
    }

    /// Takes octets to be sent, [`SCRATCH_BYTES`] at most, into as few records as can be; sends what
    /// the socket takes.
    ///
    /// # Errors
    /// What send(2) reports; what is wrong with the session.
    pub(crate) fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<Poll<usize>> {
        let mut session = self.session.borrow_mut();
        if !self.has_tickets.get() && self.flush(&mut session, cx)?.is_pending() {
            return Ok(Poll::Pending);
        }
        let length = write(&mut session, pieces)?;
        // Pending is for the next call, or for a flush, to find out.
        let _ = self.flush(&mut session, cx)?;
        Ok(Poll::Ready(length))
    }

    /// Ready when the socket has all that was taken.
    ///
    /// # Errors
    /// What send(2) reports.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        if self.has_tickets.get() {
            return Ok(Poll::Ready(()));
        }
        self.flush(&mut self.session.borrow_mut(), cx)
    }

    /// Ends our direction: close_notify, then the connection's own end.
    ///
    /// # Errors
    /// What send(2) and shutdown(2) report.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        let mut session = self.session.borrow_mut();
        self.notify(&mut session);
        match self.flush(&mut session, cx)? {
            Poll::Ready(()) => clb_net::shutdown_write(&self.socket).map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Sends close_notify if the socket takes it at once: one that has room for nothing has lost
    /// its client anyway.
    pub(crate) fn close(&self) {
        let mut session = self.session.borrow_mut();
        self.notify(&mut session);
        let _ = self.flush(&mut session, &mut Context::from_waker(Waker::noop()));
    }

    fn notify(&self, session: &mut ServerConnection) {
        if !self.is_closed.replace(true) {
            session.send_close_notify();
        }
    }

    fn flush(&self, session: &mut ServerConnection, cx: &mut Context<'_>) -> io::Result<Poll<()>> {
        self.has_tickets.set(false);
        while session.wants_write() {
            if flush_once(&self.socket, session, !self.is_full.get(), cx)?.is_pending() {
                self.is_full.set(true);
                return Ok(Poll::Pending);
            }
            self.is_full.set(false);
            self.has_moved.set(true);
        }
        Ok(Poll::Ready(()))
    }
}

/// Encrypts into as few records as can be; rustls takes several pieces by way of a list of its own.
fn write(session: &mut ServerConnection, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let mut filled = pieces.iter().filter(|piece| !piece.is_empty());
    match (filled.next(), filled.next()) {
        (Some(only), None) if only.len() <= COPIED_AT_ONCE => session.writer().write(only),
        _ => {
            let mut parts = [IoSlice::new(&[]); PIECES];
            let count = cut_up(pieces, &mut parts);
            session
                .writer()
                .write_vectored(parts.get(..count).unwrap_or_default())
        }
    }
}

/// Cuts pieces into parts of [`COPIED_AT_ONCE`] octets at most; how many there are. What there is no
/// room for is left out.
fn cut_up<'a>(pieces: &'a [IoSlice<'_>], parts: &mut [IoSlice<'a>]) -> usize {
    let cut = pieces.iter().flat_map(|piece| piece.chunks(COPIED_AT_ONCE));
    let mut count = 0;
    for (part, octets) in parts.iter_mut().zip(cut) {
        *part = IoSlice::new(octets);
        count += 1;
    }
    count
}

/// Sends ciphertext once. `has_room`: the last send took all.
pub(super) fn flush_once(
    socket: &TcpStream,
    session: &mut ServerConnection,
    has_room: bool,
    cx: &mut Context<'_>,
) -> io::Result<Poll<()>> {
    let mut sink = Sink {
        socket,
        has_room,
        cx,
    };
    match session.write_tls(&mut sink) {
        Ok(_) => Ok(Poll::Ready(())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Poll::Pending),
        Err(error) => Err(error),
    }
}

/// Decrypts into `buffer`; how many octets came out of it, and whether the client's end came.
fn decrypt(
    session: &mut ServerConnection,
    mut data: &[u8],
    buffer: &mut [u8],
) -> io::Result<(usize, bool)> {
    let (mut filled, mut is_end) = (0, false);
    while !data.is_empty() && !is_end {
        session.read_tls(&mut data)?;
        let state = session
            .process_new_packets()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // Whatever follows close_notify is for nobody.
        is_end = state.peer_has_closed();
        let rest = buffer.get_mut(filled..).unwrap_or_default();
        if state.plaintext_bytes_to_read() > 0 && !rest.is_empty() {
            filled += session.reader().read(rest)?;
        }
    }
    Ok((filled, is_end))
}

/// A socket as rustls writes to one.
struct Sink<'a, 'w, 'c> {
    socket: &'a TcpStream,
    /// Its last send took all.
    has_room: bool,
    cx: &'w mut Context<'c>,
}

impl Write for Sink<'_, '_, '_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        done(match self.has_room {
            true => poll_send_at_once(self.socket, self.cx, data)?,
            false => poll_send(self.socket, self.cx, data)?,
        })
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        // Mostly it is one record.
        if let [only] = pieces {
            return self.write(only);
        }
        done(poll_send_vectored(self.socket, self.cx, pieces)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn done(sent: Poll<usize>) -> io::Result<usize> {
    match sent {
        Poll::Ready(length) => Ok(length),
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(lengths: &[usize]) -> Vec<Vec<u8>> {
        let mut next = 0_u32;
        let mut octets = |length: usize| {
            let made = (0..length).map(|_| {
                next += 1;
                (next >> 3) as u8
            });
            made.collect::<Vec<_>>()
        };
        let pieces: Vec<_> = lengths.iter().map(|length| octets(*length)).collect();
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut parts = [IoSlice::new(&[]); PIECES];
        let count = cut_up(&slices, &mut parts);
        let parts: Vec<_> = parts[..count].iter().map(|part| part.to_vec()).collect();
        let whole = pieces.concat();
        assert!(whole.starts_with(&parts.concat()));
        parts
    }

    fn lengths(of: &[usize]) -> Vec<usize> {
        cut(of).iter().map(Vec::len).collect()
    }

    #[test]
    fn what_is_encrypted_is_cut_into_parts_that_are_copied_fast() {
        assert_eq!(lengths(&[]), [0; 0]);
        assert_eq!(lengths(&[0, 7, 0]), [7]);
        assert_eq!(lengths(&[2048]), [2048]);
        assert_eq!(lengths(&[5, 4097, 1]), [5, 2048, 2048, 1, 1]);
    }

    #[test]
    fn a_full_send_of_four_pieces_is_taken_whole() {
        let mut send = [1, 2047, 2049, 0];
        send[3] = SCRATCH_BYTES - send.iter().sum::<usize>();
        assert_eq!(lengths(&send).iter().sum::<usize>(), SCRATCH_BYTES);
    }

    #[test]
    fn a_full_send_fits_into_one_packet() {
        // TLS 1.2 adds the most: a head, half a nonce and a tag (RFC 5246 6.2.3.3, RFC 5288 3).
        const RECORD_ADDS: usize = 5 + 8 + 16;
        // What a head gains, or the frames of chunks.
        const REWRITTEN: usize = 256;
        let records = SCRATCH_BYTES.div_ceil(clb_snapshot::RECORD_CONTENT);
        let send = SCRATCH_BYTES + records * RECORD_ADDS;
        // Linux makes a packet of whole segments, in 64 KiB less what it keeps for headers
        // (sk_setup_caps(), tcp_xmit_size_goal()).
        for segment in [1_208, 1_228, 1_388, 1_408, 1_428, 1_448, 8_844, 8_948] {
            let packet = (65_536 - 321) / segment * segment;
            assert!(send + REWRITTEN <= packet, "{segment}: {send} > {packet}");
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_left_out() {
        assert_eq!(lengths(&[1; 100]), [1; PIECES]);
    }
}
