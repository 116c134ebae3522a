//! TLS termination, with clients that nobody here wrote: rustls, OpenSSL's s_client and curl.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on ends"
)]

#[path = "../harness/mod.rs"]
mod harness;

mod bodies;
mod certificates;
mod handshakes;
mod peers;
mod sessions;

/// The harness's own clients are not used here.
const OVER_TLS: bool = false;

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use harness::plane::{Plane, Served};
use harness::tls::{Authority, client_session, server_tls};
use harness::{Settings, patience};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Waits for what the gateway does after it has told the client.
pub(crate) fn eventually(is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < patience(), "it is never so");
        std::thread::yield_now();
    }
}

/// Answers each request with its head.
pub(crate) fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || echo_on(&stream));
        }
    });
    addr
}

fn echo_on(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        let length = head.len();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{head}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A head, with its last line; `None` at the end.
fn read_head(reader: &mut impl io::BufRead) -> Option<String> {
    let mut head = String::new();
    loop {
        let start = head.len();
        match reader.read_line(&mut head) {
            Ok(0) | Err(_) => return None,
            Ok(_) if &head[start..] == "\r\n" => return Some(head),
            Ok(_) => {}
        }
    }
}

/// A gateway with an authority of its own.
pub(crate) struct Bench {
    pub(crate) plane: Plane,
    pub(crate) authority: Authority,
}

impl Bench {
    pub(crate) fn start(settings: &Settings) -> Self {
        Self {
            plane: Plane::start(settings),
            authority: Authority::new("servers"),
        }
    }

    /// An HTTPS listener before an echo, where clients need a certificate of `clients`.
    pub(crate) fn listen(&self, clients: Option<&Authority>) -> Served<'_> {
        let tls = server_tls(&self.authority.server(), clients, None);
        self.plane.listen(&[echo()], Some(tls))
    }
}

/// A TLS client.
pub(crate) struct Client(pub(crate) BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Client {
    /// Connects; the handshake comes with the first request.
    pub(crate) fn new(addr: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(patience())).unwrap();
        socket.set_nodelay(true).unwrap();
        let stream = StreamOwned::new(client_session(config), socket);
        Self(BufReader::new(stream))
    }

    pub(crate) fn session(&self) -> &ClientConnection {
        &self.0.get_ref().conn
    }

    pub(crate) fn send(&mut self, octets: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(octets.as_ref())?;
        self.0.get_mut().flush()
    }

    /// Asks and gives the request as the backend got it.
    pub(crate) fn get(&mut self) -> io::Result<String> {
        self.send("GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n")?;
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body)?;
        Ok(String::from_utf8(body).unwrap())
    }
}
