//! What the access log is told of a request.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clb_access_log::{Number, Protocol, Reason, Row, Text, name_number};
use clb_model::PoolKey;
use clb_snapshot::Listener;
use smallvec::SmallVec;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::http1::Request;
use crate::local::Local;
use crate::order::RequestId;
use crate::trace::CONTEXT_LENGTH;

/// Octets of a request line that are kept.
const LINE: usize = 4_096;
/// Of a host.
const HOST: usize = 255;
/// Of User-Agent and of Referer.
const FIELD: usize = 1_024;
/// How long a round-trip time holds: the system call for it is a fifth of what a row costs.
const RTT_HOLDS: Duration = Duration::from_secs(1);
/// The status of a request whose client went away before an answer, as nginx logs it.
const CLIENT_GONE: u16 = 499;

/// A TLS handshake, as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TlsFacts {
    /// The version's number (RFC 8446 4.1.2).
    pub(crate) version: u16,
    /// The cipher suite's number.
    pub(crate) cipher: u16,
    pub(crate) is_resumed: bool,
    pub(crate) took: Duration,
}

/// What all requests of a client's connection have in common.
#[derive(Debug)]
pub(crate) struct Facts {
    peer: SocketAddr,
    protocol: Protocol,
    tls: Option<TlsFacts>,
    /// Requests that were logged.
    requests: Cell<u64>,
    rtt: Cell<(Option<Instant>, Duration)>,
}

impl Facts {
    pub(crate) fn new(peer: SocketAddr, protocol: Protocol, tls: Option<TlsFacts>) -> Rc<Self> {
        Rc::new(Self {
            peer,
            protocol,
            tls,
            requests: Cell::new(0),
            rtt: Cell::default(),
        })
    }

    fn next_number(&self) -> u64 {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        number
    }

    fn see_rtt(&self, socket: &TcpStream, now: Instant) {
        let (read, _) = self.rtt.get();
        let holds = |read: Instant| now.saturating_duration_since(read) < RTT_HOLDS;
        if !read.is_some_and(holds) {
            let rtt = clb_net::round_trip_time(socket).unwrap_or_default();
            self.rtt.set((Some(now), rtt));
        }
    }
}

/// A request on its way into the log; it is written when this is dropped, whatever ends it.
#[derive(Debug)]
pub(crate) struct Entry {
    local: Rc<Local>,
    facts: Rc<Facts>,
    vip: IpAddr,
    /// Load balancer, listener, rule.
    site: [u64; 3],
    name: Name,
    number: u64,
    protocol: Protocol,
    started: Instant,
    id: RequestId,
    /// Request line, host, User-Agent and Referer, one after the other.
    text: Vec<u8>,
    ends: [u16; 3],
    received: u64,
    sent: u64,
    sent_head: u64,
    upstream: Option<Upstream>,
    status: Option<u16>,
    reason: Reason,
    trace: Option<[u8; CONTEXT_LENGTH]>,
}

/// The domain of a request's rule.
#[derive(Debug)]
enum Name {
    Number(u32),
    Domain(Arc<str>),
}

/// The backend that was asked last.
#[derive(Debug, Clone, Copy)]
struct Upstream {
    addr: SocketAddr,
    began: Instant,
    connect: Option<Duration>,
    header: Option<Duration>,
    response: Option<Duration>,
    status: u16,
}

/// What of a request can be read where it is none.
pub(crate) struct Seen<'a> {
    pub(crate) line: &'a [u8],
    pub(crate) host: &'a [u8],
    pub(crate) agent: &'a [u8],
    pub(crate) referer: &'a [u8],
}

impl<'a> Seen<'a> {
    /// Of an accepted request of HTTP/1.
    pub(crate) fn request(request: &Request<'a>) -> Self {
        let mut seen = Self {
            line: request.line(),
            host: request.host,
            agent: b"",
            referer: b"",
        };
        for (name, value) in request.pairs() {
            match name.len() {
                7 if name.eq_ignore_ascii_case(b"referer") => seen.referer = value,
                10 if name.eq_ignore_ascii_case(b"user-agent") => seen.agent = value,
                _ => {}
            }
        }
        seen
    }

    /// Of what is no request: its first line.
    pub(crate) fn octets(data: &'a [u8]) -> Self {
        let data = data.trim_ascii_start();
        let end = memchr::memchr2(b'\r', b'\n', data).unwrap_or(data.len());
        Self {
            line: data.get(..end).unwrap_or_default(),
            host: b"",
            agent: b"",
            referer: b"",
        }
    }
}

impl Entry {
    /// Begins one. `received`: octets of its head.
    pub(crate) fn new(
        local: &Rc<Local>,
        facts: &Rc<Facts>,
        socket: &TcpStream,
        listener: &Listener,
        seen: &Seen<'_>,
        id: &[u8],
        received: usize,
    ) -> Box<Self> {
        facts.see_rtt(socket, local.now());
        let cut = |text: &[u8], most: usize| text.len().min(most);
        let mut text = local.buffer();
        let mut push = |part: &[u8], most: usize| {
            text.extend_from_slice(part.get(..cut(part, most)).unwrap_or_default());
            // All of them together are shorter than that.
            text.len() as u16
        };
        let ends = [
            push(seen.line, LINE),
            push(seen.host, HOST),
            push(seen.agent, FIELD),
        ];
        push(seen.referer, FIELD);
        Box::new(Self {
            vip: listener.addr.ip(),
            site: [listener.lb.to_bits(), listener.id.to_bits(), 0],
            name: Name::Number(0),
            number: facts.next_number(),
            protocol: facts.protocol,
            started: local.now(),
            id: SmallVec::from_slice(id),
            text,
            ends,
            received: received as u64,
            sent: 0,
            sent_head: 0,
            upstream: None,
            status: None,
            reason: Reason::Drained,
            trace: None,
            local: Rc::clone(local),
            facts: Rc::clone(facts),
        })
    }

    /// The rule that the request belongs to, if it belongs to one, and the number of its name.
    pub(crate) fn belongs_to(&mut self, pool: PoolKey, name: u32) {
        self.name = Name::Number(name);
        if let (PoolKey::Rule(rule), [_, _, place]) = (pool, &mut self.site) {
            *place = rule.to_bits();
        }
    }

    /// The span that is to be recorded, if there is one.
    pub(crate) fn belongs_to_trace(&mut self, context: Option<[u8; CONTEXT_LENGTH]>) {
        self.trace = context;
    }

    /// Octets have come from the client.
    pub(crate) fn received(&mut self, octets: u64) {
        self.received += octets;
    }

    /// Octets have gone to the client.
    pub(crate) fn sent(&mut self, octets: u64) {
        self.sent += octets;
    }

    /// So many of those that go to the client are the head.
    pub(crate) fn sent_head(&mut self, octets: u64) {
        self.sent_head = octets;
    }

    /// A backend is asked.
    pub(crate) fn asks(&mut self, addr: SocketAddr) {
        self.upstream = Some(Upstream {
            addr,
            began: self.local.now(),
            connect: None,
            header: None,
            response: None,
            status: 0,
        });
    }

    /// There is a connection to the backend; `took` is 0 for a kept one.
    pub(crate) fn connected(&mut self, took: Duration) {
        if let Some(upstream) = &mut self.upstream {
            upstream.connect = Some(took);
        }
    }

    /// The backend's head is complete.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Some(upstream) = &mut self.upstream {
            upstream.header = Some(self.local.now().saturating_duration_since(upstream.began));
            upstream.status = status;
        }
    }

    /// The backend's answer is complete.
    pub(crate) fn completed(&mut self) {
        if let Some(upstream) = &mut self.upstream {
            upstream.response = Some(self.local.now().saturating_duration_since(upstream.began));
        }
    }

    /// It became a tunnel, which may outlive its rule.
    pub(crate) fn is_tunnel(&mut self) {
        if let Name::Number(number) = self.name {
            let domain = self.local.board().rule_names.find(number);
            self.name = Name::Domain(domain.unwrap_or_default());
        }
        self.protocol = match self.facts.protocol {
            Protocol::Http => Protocol::Ws,
            _ => Protocol::Wss,
        };
    }

    /// It is over. `status`: what the client was sent.
    pub(crate) fn end(&mut self, status: Option<u16>, reason: Reason) {
        self.status = status;
        self.reason = reason;
    }

    fn part(&self, place: usize) -> &[u8] {
        let start = match place.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(0),
            None => 0,
        };
        let end = self
            .ends
            .get(place)
            .copied()
            .map_or(self.text.len(), usize::from);
        self.text.get(usize::from(start)..end).unwrap_or_default()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Drop for Entry {
    fn drop(&mut self) {
        let now = self.local.now();
        let mut row = Row::default();
        row.set(Number::Time, self.local.unix_micros(now));
        let [lb, listener, rule] = self.site;
        row.set(Number::Lb, lb);
        row.set(Number::Listener, listener);
        row.set(Number::Rule, rule);
        let status = match (self.status, self.upstream, self.reason) {
            (Some(status), ..) => status,
            (None, _, Reason::ClientGone | Reason::ClientTimeout) => CLIENT_GONE,
            (None, Some(upstream), _) => upstream.status,
            (None, None, _) => 0,
        };
        row.set(Number::Status, status.into());
        let took = now.saturating_duration_since(self.started);
        row.set(Number::Took, micros(took));
        row.set(Number::Reason, self.reason as u64);
        row.set(Number::Received, self.received);
        row.set(Number::Sent, self.sent);
        row.set(Number::SentHead, self.sent_head.min(self.sent));
        row.set(Number::OfConnection, self.number);
        row.set(Number::PeerPort, self.facts.peer.port().into());
        row.set(Number::Protocol, self.protocol as u64);
        if let Some(tls) = self.facts.tls {
            row.set(Number::TlsVersion, tls.version.into());
            row.set(Number::TlsCipher, tls.cipher.into());
            row.set(Number::TlsResumed, tls.is_resumed.into());
            row.set(Number::TlsHandshake, micros(tls.took));
        }
        row.set(Number::Rtt, micros(self.facts.rtt.get().1));
        let (mut peer, mut vip, mut upstream) = ([0; 18], [0; 18], [0; 18]);
        row.set_text(Text::Peer, octets(self.facts.peer.ip(), None, &mut peer));
        row.set_text(Text::Vip, octets(self.vip, None, &mut vip));
        if let Some(asked) = self.upstream {
            let addr = asked.addr;
            row.set_text(
                Text::Upstream,
                octets(addr.ip(), Some(addr.port()), &mut upstream),
            );
            row.set(Number::UpstreamStatus, asked.status.into());
            let known = |time: Option<Duration>| time.map_or(0, |time| micros(time) + 1);
            row.set(Number::UpstreamConnect, known(asked.connect));
            row.set(Number::UpstreamHeader, known(asked.header));
            row.set(Number::UpstreamResponse, known(asked.response));
        }
        let number;
        match &self.name {
            Name::Number(0) => {}
            Name::Number(named) => {
                number = name_number(*named);
                row.set_text(Text::ServerName, &number);
            }
            Name::Domain(domain) => row.set_text(Text::ServerName, domain.as_bytes()),
        }
        row.set_text(Text::Line, self.part(0));
        row.set_text(Text::Host, self.part(1));
        row.set_text(Text::Agent, self.part(2));
        row.set_text(Text::Referer, self.part(3));
        row.set_text(Text::Id, &self.id);
        if let Some(trace) = &self.trace {
            row.set_text(Text::Trace, trace);
        }
        self.local.log(&row);
        self.local.give_back(std::mem::take(&mut self.text));
    }
}

/// An address, and a port behind it, as the log has them.
fn octets(ip: IpAddr, port: Option<u16>, buffer: &mut [u8; 18]) -> &[u8] {
    let length = match ip {
        IpAddr::V4(ip) => put(buffer, 0, &ip.octets()),
        IpAddr::V6(ip) => put(buffer, 0, &ip.octets()),
    };
    let length = match port {
        Some(port) => put(buffer, length, &port.to_be_bytes()),
        None => length,
    };
    buffer.get(..length).unwrap_or_default()
}

fn put(buffer: &mut [u8], at: usize, octets: &[u8]) -> usize {
    let end = at + octets.len();
    if let Some(place) = buffer.get_mut(at..end) {
        place.copy_from_slice(octets);
    }
    end
}
