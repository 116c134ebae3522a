//! One client connection: what was sent, what is still to come.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustix::net::RecvFlags;

use crate::exchange::{Answer, Exchange};
use crate::report::Findings;
use crate::tls::{Buffers, Client, Received, Session};

/// The most that is asked for at once: of a head, and of a body, which is discarded unread.
const HEAD_READ: usize = 16 << 10;
const BODY_READ: usize = 1 << 20;
/// Bodies are sent from one buffer of this size.
const BODY_WRITE: usize = 256 << 10;

/// Buffers that all connections share.
pub(crate) struct Scratch {
    read: Vec<u8>,
    write: Vec<u8>,
    tls: Buffers,
}

impl Scratch {
    /// Buffers for any number of connections.
    pub(crate) fn new() -> Self {
        Self {
            read: vec![0; BODY_READ],
            write: vec![b'x'; BODY_WRITE],
            tls: Buffers::new(),
        }
    }
}

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Waiting to be connected.
    Connecting,
    /// Waiting for the end of the TLS handshake.
    Handshaking,
    /// Connected, nothing on its way.
    Idle,
    /// A request is on its way.
    Busy,
    /// Answered; the other side said that it will close.
    Closing,
}

/// What an event brought.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Nothing to act upon.
    Nothing,
    /// The connection is `Idle` for the first time.
    Connected,
    /// The answer is complete; the connection is `Idle` or `Closing`.
    Answered,
    /// The other side closed it, and no request was on its way.
    Closed,
}

/// A client connection.
pub(crate) struct Connection {
    stream: TcpStream,
    tls: Option<Session>,
    /// What it is doing.
    pub(crate) phase: Phase,
    /// When the request on its way was due.
    pub(crate) started: Instant,
    request: usize,
    sent: u64,
    /// What has come of a head that is not complete, or of an echo.
    part: Vec<u8>,
    /// What the body still lacks; `None` until the head is complete.
    left: Option<u64>,
    close: bool,
}

impl Connection {
    /// Begins to connect. `started`: when the first request was due.
    pub(crate) fn open(
        to: SocketAddr,
        tls: Option<&Client>,
        registry: &Registry,
        token: Token,
        started: Instant,
    ) -> io::Result<Self> {
        let mut stream = TcpStream::connect(to)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            tls: tls.map(Session::new).transpose()?,
            phase: Phase::Connecting,
            started,
            request: 0,
            sent: 0,
            part: Vec::new(),
            left: None,
            close: false,
        })
    }

    /// Sends a request. The error is the cause of its failure.
    pub(crate) fn start(
        &mut self,
        request: usize,
        started: Instant,
        exchange: &Exchange,
        scratch: &Scratch,
        found: &mut Findings,
    ) -> Result<(), &'static str> {
        self.phase = Phase::Busy;
        self.started = started;
        self.request = request;
        self.sent = 0;
        self.part.clear();
        self.left = None;
        self.close = false;
        self.send(exchange, scratch, found)
    }

    /// Acts upon an event. The error is the cause of a failure; the connection is of no use then.
    pub(crate) fn ready(
        &mut self,
        event: &mio::event::Event,
        exchange: &Exchange,
        scratch: &mut Scratch,
        found: &mut Findings,
    ) -> Result<Progress, &'static str> {
        if self.phase == Phase::Connecting {
            return self.connected();
        }
        if event.is_writable() {
            match &mut self.tls {
                Some(_) => self.flush()?,
                None if self.phase == Phase::Busy => self.send(exchange, scratch, found)?,
                None => {}
            }
        }
        if !event.is_readable() && !event.is_read_closed() {
            return Ok(Progress::Nothing);
        }
        match self.phase {
            Phase::Handshaking => self.handshake(event.is_read_closed(), scratch),
            Phase::Busy => self.receive(event.is_read_closed(), exchange, scratch, found),
            _ => self.closed(scratch),
        }
    }

    fn connected(&mut self) -> Result<Progress, &'static str> {
        if let Ok(Some(error)) = self.stream.take_error() {
            return Err(cause(&error));
        }
        match self.stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(Progress::Nothing),
            Err(error) => return Err(cause(&error)),
        }
        self.stream
            .set_nodelay(true)
            .map_err(|error| cause(&error))?;
        if self.tls.is_some() {
            self.phase = Phase::Handshaking;
            self.flush()?;
            return Ok(Progress::Nothing);
        }
        self.phase = Phase::Idle;
        Ok(Progress::Connected)
    }

    /// Goes on with the handshake. Its last message is sent at once, before a request, as clients do.
    fn handshake(&mut self, ended: bool, scratch: &mut Scratch) -> Result<Progress, &'static str> {
        let Some(session) = &mut self.tls else {
            return Ok(Progress::Nothing);
        };
        loop {
            let received = session.receive(&mut self.stream, ended, &mut scratch.tls)?;
            session
                .flush(&mut self.stream)
                .map_err(|error| cause(&error))?;
            if !session.is_handshaking() {
                self.phase = Phase::Idle;
                return Ok(Progress::Connected);
            }
            match received {
                Received::Some => {}
                Received::All => return Ok(Progress::Nothing),
                Received::End => return Err("closed within the handshake"),
            }
        }
    }

    /// Whether its TLS session is a resumed one; `None` without TLS.
    pub(crate) fn resumed(&self) -> Option<bool> {
        self.tls.as_ref().map(Session::resumed)
    }

    /// Sends what waits in the TLS session.
    fn flush(&mut self) -> Result<(), &'static str> {
        match &mut self.tls {
            Some(session) => session.flush(&mut self.stream),
            None => Ok(()),
        }
        .map_err(|error| cause(&error))
    }

    /// Sends as much of the request as is taken.
    fn send(
        &mut self,
        exchange: &Exchange,
        scratch: &Scratch,
        found: &mut Findings,
    ) -> Result<(), &'static str> {
        let head = exchange.send(self.request);
        if let Some(session) = &mut self.tls {
            session.take(head).map_err(|error| cause(&error))?;
            return self.flush();
        }
        let total = head.len() as u64 + exchange.body;
        while self.sent < total {
            let head_left = head
                .get(usize::try_from(self.sent).unwrap_or(usize::MAX)..)
                .unwrap_or_default();
            let body_left = (total - self.sent - head_left.len() as u64).min(BODY_WRITE as u64);
            let body = scratch.write.get(..body_left as usize).unwrap_or_default();
            let written = if body.is_empty() {
                self.stream.write(head_left)
            } else {
                self.stream
                    .write_vectored(&[IoSlice::new(head_left), IoSlice::new(body)])
            };
            match written {
                Ok(count) => {
                    self.sent += count as u64;
                    found.bytes_out += (count.saturating_sub(head_left.len())) as u64;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(cause(&error)),
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        ended: bool,
        exchange: &Exchange,
        scratch: &mut Scratch,
        found: &mut Findings,
    ) -> Result<Progress, &'static str> {
        if self.tls.is_some() {
            return self.receive_tls(ended, exchange, scratch, found);
        }
        loop {
            let asked = match self.left {
                None => HEAD_READ,
                Some(left) => usize::try_from(left).unwrap_or(BODY_READ).min(BODY_READ),
            };
            let buffer = scratch.read.get_mut(..asked).unwrap_or_default();
            let count = if self.left.is_some() {
                // TCP drops what is received with TRUNC without copying it.
                match rustix::net::recv(&self.stream, buffer, RecvFlags::TRUNC) {
                    Ok((_, count)) => count,
                    Err(rustix::io::Errno::AGAIN) => return Ok(Progress::Nothing),
                    Err(error) => return Err(cause(&error.into())),
                }
            } else {
                match self.stream.read(buffer) {
                    Ok(count) => count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        return Ok(Progress::Nothing);
                    }
                    Err(error) => return Err(cause(&error)),
                }
            };
            if count == 0 {
                return Err("closed without a complete answer");
            }
            let complete = match self.left {
                Some(left) => {
                    found.bytes_in += count as u64;
                    self.left = Some(left - count as u64);
                    left == count as u64
                }
                None => {
                    let got = scratch.read.get(..count).unwrap_or_default();
                    self.take(got, exchange, found)?
                }
            };
            if complete {
                return Ok(self.answered());
            }
            // A read that filled less than the buffer emptied the socket, but an end behind it would not
            // be reported again.
            if count < asked && !ended {
                return Ok(Progress::Nothing);
            }
        }
    }

    /// As `receive`, through the TLS session.
    fn receive_tls(
        &mut self,
        ended: bool,
        exchange: &Exchange,
        scratch: &mut Scratch,
        found: &mut Findings,
    ) -> Result<Progress, &'static str> {
        loop {
            let Some(session) = &mut self.tls else {
                return Ok(Progress::Nothing);
            };
            let received = session.receive(&mut self.stream, ended, &mut scratch.tls)?;
            if self.take_plain(&scratch.tls.plain, exchange, found)? {
                return Ok(self.answered());
            }
            match received {
                Received::Some => {}
                Received::All => return Ok(Progress::Nothing),
                Received::End => return Err("closed without a complete answer"),
            }
        }
    }

    /// Takes any part of an answer. True: the answer is complete.
    fn take_plain(
        &mut self,
        got: &[u8],
        exchange: &Exchange,
        found: &mut Findings,
    ) -> Result<bool, &'static str> {
        let count = got.len() as u64;
        match self.left {
            _ if got.is_empty() => Ok(false),
            None => self.take(got, exchange, found),
            Some(left) if count > left => Err("octets after the answer"),
            Some(left) => {
                found.bytes_in += count;
                self.left = Some(left - count);
                Ok(left == count)
            }
        }
    }

    fn answered(&mut self) -> Progress {
        self.phase = if self.close {
            Phase::Closing
        } else {
            Phase::Idle
        };
        Progress::Answered
    }

    /// Takes the beginning of an answer. True: the answer is complete.
    fn take(
        &mut self,
        got: &[u8],
        exchange: &Exchange,
        found: &mut Findings,
    ) -> Result<bool, &'static str> {
        if self.part.is_empty()
            && let Some(complete) = self.parse(got, exchange, found)?
        {
            return Ok(complete);
        }
        self.part.extend_from_slice(got);
        let part = std::mem::take(&mut self.part);
        let complete = self.parse(&part, exchange, found)?;
        self.part = part;
        if self.part.len() > HEAD_READ && complete.is_none() {
            return Err("head too long");
        }
        Ok(complete.unwrap_or(false))
    }

    /// `None`: not enough yet. Otherwise the head is read, and the answer complete or not.
    fn parse(
        &mut self,
        all: &[u8],
        exchange: &Exchange,
        found: &mut Findings,
    ) -> Result<Option<bool>, &'static str> {
        let wanted = match exchange.answer {
            Answer::Http(size) => size,
            Answer::Echo => {
                let sent = exchange.send(self.request);
                return match all.len() < sent.len() {
                    true => Ok(None),
                    false if all == sent => Ok(Some(true)),
                    false => Err("another echo"),
                };
            }
        };
        let Some(head) = parse_head(all)? else {
            return Ok(None);
        };
        if head.status != 200 {
            return Err(status_cause(head.status));
        }
        if head.length != wanted {
            return Err("another length");
        }
        let body = (all.len() - head.size) as u64;
        if body > wanted {
            return Err("octets after the answer");
        }
        found.bytes_in += body;
        self.close = head.close;
        self.left = Some(wanted - body);
        Ok(Some(body == wanted))
    }

    /// Nothing is on its way: only an end may come.
    fn closed(&mut self, scratch: &mut Scratch) -> Result<Progress, &'static str> {
        if let Some(session) = &mut self.tls {
            loop {
                // Tickets may come at any time; they are no octets of an answer.
                match session.receive(&mut self.stream, true, &mut scratch.tls) {
                    _ if !scratch.tls.plain.is_empty() => return Err("octets after the answer"),
                    Ok(Received::Some) => {}
                    Ok(Received::All) => return Ok(Progress::Nothing),
                    Ok(Received::End) | Err(_) => return Ok(Progress::Closed),
                }
            }
        }
        match self.stream.read(&mut scratch.read) {
            Ok(0) => Ok(Progress::Closed),
            Ok(_) => Err("octets after the answer"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Progress::Nothing),
            Err(_) => Ok(Progress::Closed),
        }
    }

    /// After `Answered` with `Closing`: whether the other side has closed already.
    pub(crate) fn has_closed(&mut self, scratch: &mut Scratch) -> Result<bool, &'static str> {
        Ok(self.closed(scratch)? == Progress::Closed)
    }
}

/// What of an answer's head matters here.
pub(crate) struct Head {
    /// Octets up to the body.
    pub(crate) size: usize,
    /// The status code.
    pub(crate) status: u16,
    /// Content-Length.
    pub(crate) length: u64,
    /// The connection ends after this answer.
    pub(crate) close: bool,
}

/// `None`: not complete yet. An error is the cause of a failure.
pub(crate) fn parse_head(all: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let size = match response.parse(all) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err("not HTTP"),
    };
    let mut length = None;
    let mut close = false;
    for field in response.headers.iter() {
        if field.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(field.value)
                .ok()
                .and_then(|text| text.parse().ok());
        } else if field.name.eq_ignore_ascii_case("connection") {
            close = field.value.eq_ignore_ascii_case(b"close");
        }
    }
    Ok(Some(Head {
        size,
        status: response.code.unwrap_or_default(),
        length: length.ok_or("no Content-Length")?,
        close,
    }))
}

fn status_cause(status: u16) -> &'static str {
    match status {
        404 => "status 404",
        408 => "status 408",
        413 => "status 413",
        500 => "status 500",
        502 => "status 502",
        503 => "status 503",
        504 => "status 504",
        _ => "another status",
    }
}

/// What a failure is called.
pub(crate) fn cause(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ConnectionRefused => "refused",
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "reset",
        ErrorKind::AddrNotAvailable => "no free client port",
        _ => "another error",
    }
}
