//! Frames as octets, over TLS.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::harness::patience;
use crate::harness::tls::{Authority, client_config, client_session};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;
pub const PRIORITISED: u8 = 32;

pub const NO_ERROR: u32 = 0;
pub const PROTOCOL_ERROR: u32 = 1;
pub const INTERNAL_ERROR: u32 = 2;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error that RST_STREAM or GOAWAY tells.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// Nothing comes.
#[derive(Debug)]
pub struct Late;

/// A client of frames.
pub struct Raw(pub StreamOwned<ClientConnection, TcpStream>);

pub fn h2_config(authority: &Authority) -> Arc<ClientConfig> {
    let mut config = (*client_config(authority, None, &rustls::version::TLS13)).clone();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

impl Raw {
    /// Shakes hands and says nothing of HTTP/2 yet.
    pub fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_read_timeout(Some(patience())).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(StreamOwned::new(client_session(config), socket))
    }

    /// With the preface, our settings, and the server's.
    pub fn open(addr: SocketAddr, config: &Arc<ClientConfig>, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::connect(addr, config);
        raw.octets(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        raw.frame(SETTINGS, 0, 0, &settings_of(settings));
        loop {
            let frame = raw.read().expect("the server's settings");
            match (frame.kind, frame.flags & ACK) {
                (SETTINGS, 0) => raw.frame(SETTINGS, ACK, 0, &[]),
                (SETTINGS, _) => return raw,
                _ => {}
            }
        }
    }

    /// Octets as they are. That the gateway has hung up shows when its last frames are read.
    pub fn octets(&mut self, octets: &[u8]) {
        let _ = self.0.write_all(octets);
        let _ = self.0.flush();
    }

    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.octets(&frame(kind, flags, stream, payload));
    }

    /// The next frame; `None` at the connection's end.
    pub fn read(&mut self) -> Option<Frame> {
        self.try_read().expect("a frame or the end")
    }

    /// The next frame; `None` at the connection's end.
    ///
    /// # Errors
    /// When neither comes.
    pub fn try_read(&mut self) -> Result<Option<Frame>, Late> {
        let mut head = [0; 9];
        if !self.exactly(&mut head)? {
            return Ok(None);
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if !self.exactly(&mut payload)? {
            return Ok(None);
        }
        Ok(Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes(head[5..9].try_into().unwrap()),
            payload,
        }))
    }

    /// False at the connection's end.
    fn exactly(&mut self, buffer: &mut [u8]) -> Result<bool, Late> {
        match self.0.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Err(Late),
            Err(_) => Ok(false),
        }
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut octets = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    octets.extend([kind, flags]);
    octets.extend(stream.to_be_bytes());
    octets.extend(payload);
    octets
}

pub fn settings_of(settings: &[(u16, u32)]) -> Vec<u8> {
    let pairs = settings.iter();
    pairs
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect()
}

/// Fields as literals that are put into no table (RFC 7541, 6.2.2), without Huffman.
pub fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in list {
        block.push(0);
        for text in [name, value] {
            push_length(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

fn push_length(length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// Those of a request.
pub fn request(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let own = [
        (":method", method),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", crate::harness::tls::NAME),
    ];
    fields(&[&own, more].concat())
}

pub fn get() -> Vec<u8> {
    request("GET", &[])
}

/// Reads each request to its end and answers "hello".
pub fn hello() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || hello_on(&stream));
        }
    });
    addr
}

fn hello_on(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    while let Some(head) = read_head(&mut reader) {
        if read_body(&mut reader, &head).is_none() {
            return;
        }
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// A head with its last line, `None` at the connection's end.
pub fn read_head(reader: &mut BufReader<&TcpStream>) -> Option<String> {
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

/// The body to this head as octets of HTTP/1, `None` if it is cut.
pub fn read_body(reader: &mut BufReader<&TcpStream>, head: &str) -> Option<Vec<u8>> {
    let head = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        let (mut is_last, mut start) = (false, 0);
        while !(is_last && body.get(start..) == Some(b"\r\n")) {
            is_last |= body.get(start..) == Some(b"0\r\n");
            start = body.len();
            if reader.read_until(b'\n', &mut body).ok()? == 0 {
                return None;
            }
        }
        return Some(body);
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.resize(length.map_or(0, |length| length.parse().unwrap()), 0);
    reader.read_exact(&mut body).ok()?;
    Some(body)
}
