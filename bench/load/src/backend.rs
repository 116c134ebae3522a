//! The backend: answers every request with a body of the size that `?size=` asks for, or echoes.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::SocketAddr;

use anyhow::Context;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::net::RecvFlags;
use serde_json::json;
use slab::Slab;

use crate::report::print;
use crate::stdin;

const LISTENER: Token = Token(usize::MAX - 1);
const STDIN: Token = Token(usize::MAX - 2);
const READ: usize = 64 << 10;
/// Request bodies are discarded unread, so many octets at once.
const DISCARD: usize = 1 << 20;
/// Answers' bodies are sent from one buffer of this size.
const WRITE: usize = 256 << 10;
const USUAL_SIZE: u64 = 256;

/// Serves until stdin ends.
pub(crate) fn run(listen: SocketAddr, echo: bool) -> anyhow::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen).with_context(|| listen.to_string())?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    stdin::watch(poll.registry(), STDIN)?;
    print(&json!({"listening": listener.local_addr()?.to_string()}))?;
    let mut shared = Shared {
        read: vec![0; DISCARD],
        body: vec![b'x'; WRITE],
        usual: [answer_head(USUAL_SIZE), vec![b'x'; USUAL_SIZE as usize]].concat(),
    };
    let mut connections = Slab::new();
    let mut events = Events::with_capacity(1024);
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        }
        for event in &events {
            match event.token() {
                LISTENER => accept(&listener, poll.registry(), &mut connections, echo)?,
                STDIN => return Ok(()),
                Token(key) => {
                    let Some(connection) = connections.get_mut(key) else {
                        continue;
                    };
                    if !connection.ready(event, &mut shared).unwrap_or(false) {
                        connections.remove(key);
                    }
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    registry: &Registry,
    connections: &mut Slab<Connection>,
    echo: bool,
) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let entry = connections.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, Token(entry.key()), interest)?;
        entry.insert(Connection {
            stream,
            echo,
            part: Vec::new(),
            discard: None,
            answer: USUAL_SIZE,
            close: false,
            out: Vec::new(),
            body: 0,
        });
    }
}

/// What all connections share.
struct Shared {
    read: Vec<u8>,
    body: Vec<u8>,
    /// The whole answer of the usual size.
    usual: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    echo: bool,
    /// What has come of a request's head.
    part: Vec<u8>,
    /// Inside a request: what its body still lacks.
    discard: Option<u64>,
    /// The size of the answer's body that the request asked for.
    answer: u64,
    close: bool,
    /// What could not be sent yet, and how much of the body comes after it.
    out: Vec<u8>,
    body: u64,
}

impl Connection {
    /// False: the connection has ended.
    fn ready(&mut self, event: &Event, shared: &mut Shared) -> io::Result<bool> {
        if event.is_writable() && (!self.out.is_empty() || self.body > 0) {
            self.flush(shared)?;
            if self.finished() {
                return Ok(false);
            }
        }
        if event.is_readable() || event.is_read_closed() {
            return self.receive(event.is_read_closed(), shared);
        }
        Ok(true)
    }

    fn finished(&self) -> bool {
        self.close && self.out.is_empty() && self.body == 0
    }

    fn receive(&mut self, ended: bool, shared: &mut Shared) -> io::Result<bool> {
        loop {
            let (asked, count) = match self.discard {
                Some(left) => {
                    let asked = usize::try_from(left).unwrap_or(DISCARD).min(DISCARD);
                    let buffer = shared.read.get_mut(..asked).unwrap_or_default();
                    let got = rustix::net::recv(&self.stream, buffer, RecvFlags::TRUNC);
                    (asked, got.map(|(_, count)| count).map_err(io::Error::from))
                }
                None => {
                    let buffer = shared.read.get_mut(..READ).unwrap_or_default();
                    (READ, self.stream.read(buffer))
                }
            };
            let count = match count {
                Ok(0) => return Ok(false),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            };
            if self.echo {
                let got = shared.read.get(..count).unwrap_or_default();
                self.out.extend_from_slice(got);
                self.flush(shared)?;
            } else if let Some(left) = self.discard {
                self.discard = Some(left - count as u64);
            } else {
                let got = shared.read.get(..count).unwrap_or_default();
                self.head(got)?;
            }
            if self.discard == Some(0) {
                self.discard = None;
                self.respond(shared)?;
                if self.finished() {
                    return Ok(false);
                }
            }
            if count < asked && !ended {
                return Ok(true);
            }
        }
    }

    /// Takes the beginning of a request.
    fn head(&mut self, got: &[u8]) -> io::Result<()> {
        let refused = |what: &str| io::Error::new(ErrorKind::InvalidData, what.to_owned());
        self.part.extend_from_slice(got);
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut fields);
        let size = match request.parse(&self.part) {
            Ok(httparse::Status::Complete(size)) => size,
            Ok(httparse::Status::Partial) if self.part.len() < READ => return Ok(()),
            _ => return Err(refused("not a request")),
        };
        let path = request.path.unwrap_or_default();
        self.answer = path
            .split_once("size=")
            .and_then(|(_, size)| size.parse().ok())
            .unwrap_or(USUAL_SIZE);
        let mut length = 0;
        for field in request.headers.iter() {
            if field.name.eq_ignore_ascii_case("content-length") {
                length = std::str::from_utf8(field.value)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .ok_or_else(|| refused("a bad Content-Length"))?;
            } else if field.name.eq_ignore_ascii_case("connection") {
                self.close = field.value.eq_ignore_ascii_case(b"close");
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(refused("Transfer-Encoding is not served"));
            }
        }
        let body = (self.part.len() - size) as u64;
        self.discard = Some(
            u64::checked_sub(length, body).ok_or_else(|| refused("octets after the request"))?,
        );
        self.part.clear();
        Ok(())
    }

    fn respond(&mut self, shared: &Shared) -> io::Result<()> {
        if self.answer != USUAL_SIZE {
            self.out = answer_head(self.answer);
            self.body = self.answer;
            return self.flush(shared);
        }
        match self.stream.write(&shared.usual) {
            Ok(count) => {
                let rest = shared.usual.get(count..).unwrap_or_default();
                self.out.extend_from_slice(rest);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.out.extend_from_slice(&shared.usual);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Sends what is due, as much as is taken.
    fn flush(&mut self, shared: &Shared) -> io::Result<()> {
        while !self.out.is_empty() || self.body > 0 {
            let body = self.body.min(WRITE as u64) as usize;
            let parts = [
                IoSlice::new(&self.out),
                IoSlice::new(shared.body.get(..body).unwrap_or_default()),
            ];
            let count = match self.stream.write_vectored(&parts) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let of_out = count.min(self.out.len());
            self.out.drain(..of_out);
            self.body -= (count - of_out) as u64;
        }
        Ok(())
    }
}

fn answer_head(size: u64) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Sun, 01 Nov 2026 00:00:00 GMT\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n"
    )
    .into_bytes()
}
