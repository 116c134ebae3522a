//! One request as the access log has it.

use std::net::{IpAddr, SocketAddr};

/// What a row has that is a number. Times are in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Number {
    /// When the request was over: microseconds since 1970.
    Time,
    /// From the first octet of the request to the last of the answer.
    Took,
    /// Status sent to the client.
    Status,
    /// Status of the backend; 0: it gave none.
    UpstreamStatus,
    /// The load balancer's number.
    Lb,
    /// The listener's number.
    Listener,
    /// The rule's number; 0: none.
    Rule,
    /// Why it ended as it did ([`Reason`]).
    Reason,
    /// Octets received from the client: head and body.
    Received,
    /// Octets sent to the client.
    Sent,
    /// Octets of the answer's head among them.
    SentHead,
    /// Which request of its connection, from 1.
    OfConnection,
    /// The client's port.
    PeerPort,
    /// [`Protocol`].
    Protocol,
    /// TLS version as the handshake has it (0x0303, 0x0304); 0: no TLS.
    TlsVersion,
    /// Cipher suite (IANA's number).
    TlsCipher,
    /// 1: the TLS session was resumed.
    TlsResumed,
    /// How long the TLS handshake took.
    TlsHandshake,
    /// Round-trip time of the client's connection.
    Rtt,
    /// How long connecting to the backend took, and 1; 0: unknown.
    UpstreamConnect,
    /// Until the backend's head was complete, and 1; 0: it never was.
    UpstreamHeader,
    /// Until the backend's answer was complete, and 1; 0: it never was.
    UpstreamResponse,
}

impl Number {
    /// All of them, in order.
    pub(crate) const ALL: [Self; NUMBERS] = [
        Self::Time,
        Self::Took,
        Self::Status,
        Self::UpstreamStatus,
        Self::Lb,
        Self::Listener,
        Self::Rule,
        Self::Reason,
        Self::Received,
        Self::Sent,
        Self::SentHead,
        Self::OfConnection,
        Self::PeerPort,
        Self::Protocol,
        Self::TlsVersion,
        Self::TlsCipher,
        Self::TlsResumed,
        Self::TlsHandshake,
        Self::Rtt,
        Self::UpstreamConnect,
        Self::UpstreamHeader,
        Self::UpstreamResponse,
    ];
}

/// What a row has that is text, or octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Text {
    /// The domain of the rule; in a ring also a [number](name_number) that stands for it.
    ServerName,
    /// The client's address: 4 or 16 octets.
    Peer,
    /// The VIP: 4 or 16 octets.
    Vip,
    /// The backend: 4 or 16 octets and two of the port; empty: none.
    Upstream,
    /// The request line as it was sent.
    Line,
    /// Host, without port.
    Host,
    /// User-Agent.
    Agent,
    /// Referer.
    Referer,
    /// The request's id.
    Id,
    /// A trace, our span in it and the span before that, 16, 8 and 8 octets; empty: it is not
    /// recorded.
    Trace,
}

impl Text {
    /// All of them, in order.
    pub(crate) const ALL: [Self; TEXTS] = [
        Self::ServerName,
        Self::Peer,
        Self::Vip,
        Self::Upstream,
        Self::Line,
        Self::Host,
        Self::Agent,
        Self::Referer,
        Self::Id,
        Self::Trace,
    ];
}

pub(crate) const NUMBERS: usize = 22;
/// The first numbers stand at [fixed places](Front).
const IN_FRONT: usize = 4;
pub(crate) const TEXTS: usize = 10;

/// What a client spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1 over plain TCP.
    Http,
    /// HTTP/1 over TLS.
    Https,
    /// HTTP/2.
    Http2,
    /// An upgraded connection over plain TCP.
    Ws,
    /// The same over TLS.
    Wss,
}

impl Protocol {
    const ALL: [Self; 5] = [Self::Http, Self::Https, Self::Http2, Self::Ws, Self::Wss];

    /// `protocol_type` of DescribeLoadBalancerLog.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Http2 => "http2",
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why a request ended as it did.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word of the log; empty: nothing went wrong.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }
        }
    };
}

reasons! {
    /// Nothing went wrong.
    #[default]
    None = "",
    /// What came is no request, or one that is refused.
    BadRequest = "bad_request",
    /// No rule takes its host and path.
    NoRule = "no_rule",
    /// The rule redirects it.
    Redirected = "redirected",
    /// The pool has nobody to pick.
    NoBackend = "no_backend",
    /// Ports, descriptors or memory of the gateway are used up.
    Exhausted = "exhausted",
    /// No connection to a backend.
    ConnectFailed = "connect_failed",
    /// The backend closed before it answered.
    BackendClosed = "backend_closed",
    /// The backend's answer is none.
    BadAnswer = "bad_answer",
    /// The backend did not answer in time.
    BackendTimeout = "backend_timeout",
    /// The backend's answer broke off.
    AnswerCut = "answer_cut",
    /// The client's request did not come in time.
    ClientTimeout = "client_timeout",
    /// The client's body is wrong.
    BadBody = "bad_body",
    /// The client went away, or did not take the answer.
    ClientGone = "client_gone",
    /// The gateway ended it: the backend, the rule or the listener was removed, or it stops.
    Drained = "drained",
    /// Routing gave up: a regular expression went over its limit.
    RoutingFailed = "routing_failed",
}

impl Reason {
    pub(crate) fn from_number(number: u64) -> Self {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        Self::ALL.get(place).copied().unwrap_or_default()
    }
}

/// One request. What is not set is 0 or empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Row<'a> {
    pub(crate) numbers: [u64; NUMBERS],
    pub(crate) texts: [&'a [u8]; TEXTS],
}

impl<'a> Row<'a> {
    /// A number.
    #[must_use]
    pub fn number(&self, number: Number) -> u64 {
        self.numbers.get(number as usize).copied().unwrap_or(0)
    }

    /// Sets a number.
    pub fn set(&mut self, number: Number, value: u64) {
        if let Some(place) = self.numbers.get_mut(number as usize) {
            *place = value;
        }
    }

    /// A text.
    #[must_use]
    pub fn text(&self, text: Text) -> &'a [u8] {
        self.texts.get(text as usize).copied().unwrap_or_default()
    }

    /// Sets a text.
    pub fn set_text(&mut self, text: Text, value: &'a [u8]) {
        if let Some(place) = self.texts.get_mut(text as usize) {
            *place = value;
        }
    }

    /// Why it ended as it did.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::from_number(self.number(Number::Reason))
    }

    /// What the client spoke.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        let place = usize::try_from(self.number(Number::Protocol)).unwrap_or(usize::MAX);
        Protocol::ALL.get(place).copied().unwrap_or(Protocol::Http)
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        address(self.text(Text::Peer))
    }

    /// The VIP.
    #[must_use]
    pub fn vip(&self) -> Option<IpAddr> {
        address(self.text(Text::Vip))
    }

    /// The backend.
    #[must_use]
    pub fn upstream(&self) -> Option<SocketAddr> {
        let (ip, port) = self.text(Text::Upstream).split_last_chunk::<2>()?;
        Some((address(ip)?, u16::from_be_bytes(*port)).into())
    }

    /// Appends the row as it travels: its length, what is looked at without reading the rest, and
    /// what [`read`](Self::read) takes. A text is cut at 65,535 octets.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut front = Front {
            length: 0,
            name: numbered(self.text(Text::ServerName)).unwrap_or(0),
            time: self.number(Number::Time),
            took: self.number(Number::Took),
            status: self.number(Number::Status) as u16,
            upstream_status: self.number(Number::UpstreamStatus) as u16,
        };
        let texts: usize = self
            .texts
            .iter()
            .map(|text| text.len() + LONGEST_NUMBER)
            .sum();
        out.reserve(FRONT + NUMBERS * LONGEST_NUMBER + texts);
        out.extend_from_slice(&front.to_octets());
        let mut numbers = Numbers::default();
        let rest = self.numbers.iter().skip(IN_FRONT);
        rest.for_each(|value| numbers.push(*value));
        out.extend_from_slice(numbers.octets());
        for text in self.texts {
            let text = text.get(..usize::from(u16::MAX)).unwrap_or(text);
            push_number(text.len() as u64, out);
            out.extend_from_slice(text);
        }
        front.length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = out.get_mut(start..start + size_of::<u32>()) {
            place.copy_from_slice(&front.length.to_le_bytes());
        }
    }

    /// Takes the first row of `data` off; `None` at the end and for what is none.
    #[must_use]
    pub fn read(data: &mut &'a [u8]) -> Option<Self> {
        let (front, whole) = Front::take(data)?;
        let mut row = Self::default();
        let (mut numbers, mut texts) = (row.numbers.iter_mut(), row.texts.iter_mut());
        front.read_rest(
            whole,
            |number| numbers.next().map(|place| *place = number),
            |text| texts.next().map(|place| *place = text),
        )?;
        Some(row)
    }
}

/// What a row begins with, at fixed places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Front {
    /// Octets of the row, these included.
    length: u32,
    /// The [number](name_number) in the place of the server name; 0: none.
    pub(crate) name: u32,
    pub(crate) time: u64,
    pub(crate) took: u64,
    pub(crate) status: u16,
    pub(crate) upstream_status: u16,
}

/// Its octets.
const FRONT: usize = 28;

impl Front {
    fn to_octets(self) -> [u8; FRONT] {
        let mut octets = [0; FRONT];
        let (a, rest) = octets.split_at_mut(4);
        let (b, rest) = rest.split_at_mut(4);
        let (c, rest) = rest.split_at_mut(8);
        let (d, rest) = rest.split_at_mut(8);
        let (e, f) = rest.split_at_mut(2);
        a.copy_from_slice(&self.length.to_le_bytes());
        b.copy_from_slice(&self.name.to_le_bytes());
        c.copy_from_slice(&self.time.to_le_bytes());
        d.copy_from_slice(&self.took.to_le_bytes());
        e.copy_from_slice(&self.status.to_le_bytes());
        f.copy_from_slice(&self.upstream_status.to_le_bytes());
        octets
    }

    /// Reads the row that begins with this: all numbers and then all texts, in order. `None` as
    /// soon as it is none, or one of those who are told says `None`.
    #[inline]
    pub(crate) fn read_rest<'d>(
        &self,
        whole: &'d [u8],
        mut number: impl FnMut(u64) -> Option<()>,
        mut text: impl FnMut(&'d [u8]) -> Option<()>,
    ) -> Option<()> {
        let mut body = whole.get(FRONT..)?;
        number(self.time)?;
        number(self.took)?;
        number(self.status.into())?;
        number(self.upstream_status.into())?;
        for _ in IN_FRONT..NUMBERS {
            number(take_number(&mut body)?)?;
        }
        for _ in 0..TEXTS {
            let length = usize::try_from(take_number(&mut body)?).ok()?;
            let (octets, rest) = body.split_at_checked(length)?;
            body = rest;
            text(octets)?;
        }
        Some(())
    }

    /// Takes a row off, without reading it: what it begins with, and all of it.
    pub(crate) fn take<'d>(data: &mut &'d [u8]) -> Option<(Self, &'d [u8])> {
        let (a, rest) = data.split_first_chunk()?;
        let (b, rest) = rest.split_first_chunk()?;
        let (c, rest) = rest.split_first_chunk()?;
        let (d, rest) = rest.split_first_chunk()?;
        let (e, rest) = rest.split_first_chunk()?;
        let (f, _) = rest.split_first_chunk()?;
        let front = Self {
            length: u32::from_le_bytes(*a),
            name: u32::from_le_bytes(*b),
            time: u64::from_le_bytes(*c),
            took: u64::from_le_bytes(*d),
            status: u16::from_le_bytes(*e),
            upstream_status: u16::from_le_bytes(*f),
        };
        let length = usize::try_from(front.length).ok()?;
        let (whole, rest) = data.split_at_checked(length)?;
        // Less than itself would never come to an end.
        whole.get(FRONT..)?;
        *data = rest;
        Some((front, whole))
    }
}

/// Numbers on their way into a row.
struct Numbers {
    octets: [u8; NUMBERS * LONGEST_NUMBER],
    length: usize,
}

/// Octets of the largest number.
const LONGEST_NUMBER: usize = 10;

impl Default for Numbers {
    fn default() -> Self {
        Self {
            octets: [0; NUMBERS * LONGEST_NUMBER],
            length: 0,
        }
    }
}

impl Numbers {
    fn push(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.put((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.put(number as u8);
    }

    #[inline]
    fn put(&mut self, octet: u8) {
        if let Some(place) = self.octets.get_mut(self.length) {
            *place = octet;
            self.length += 1;
        }
    }

    fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

/// What stands for a rule's domain in a ring: no domain begins with this octet.
const NUMBERED: u8 = 0;

/// A number in the place of a [server name](Text::ServerName), which is looked up off the hot path.
#[must_use]
pub fn name_number(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_le_bytes();
    [NUMBERED, a, b, c, d]
}

/// The number that stands in the place of a server name.
pub(crate) fn numbered(name: &[u8]) -> Option<u32> {
    match *name {
        [NUMBERED, a, b, c, d] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}

/// The octets of an address, for [`Text::Peer`] and [`Text::Vip`].
fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Appends a number, seven bits to an octet, the lowest first.
pub(crate) fn push_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes such a number off.
#[inline]
pub(crate) fn take_number(data: &mut &[u8]) -> Option<u64> {
    // Most are small.
    if let [octet @ 0..0x80, rest @ ..] = data {
        let number = u64::from(*octet);
        *data = rest;
        return Some(number);
    }
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (octet, rest) = data.split_first()?;
        *data = rest;
        number |= u64::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_lists_are_in_order() {
        assert!(
            Number::ALL
                .iter()
                .enumerate()
                .all(|(at, one)| *one as usize == at)
        );
        assert!(
            Text::ALL
                .iter()
                .enumerate()
                .all(|(at, one)| *one as usize == at)
        );
        assert!(
            Reason::ALL
                .iter()
                .enumerate()
                .all(|(at, one)| *one as usize == at)
        );
        assert!(
            Protocol::ALL
                .iter()
                .enumerate()
                .all(|(at, one)| *one as usize == at)
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in prop::array::uniform22(any::<u64>()),
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), TEXTS),
        ) {
            let mut row = Row { numbers, ..Row::default() };
            row.set(Number::Status, numbers[0] % 1_000);
            row.set(Number::UpstreamStatus, numbers[1] % 1_000);
            for (place, text) in row.texts.iter_mut().zip(&texts) {
                *place = text;
            }
            let mut out = Vec::new();
            row.write(&mut out);
            row.write(&mut out);
            let mut data = out.as_slice();
            prop_assert_eq!(Row::read(&mut data), Some(row));
            prop_assert_eq!(Row::read(&mut data), Some(row));
            prop_assert_eq!(Row::read(&mut data), None);
        }

        #[test]
        fn no_octets_make_it_fail(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut rest = data.as_slice();
            while Row::read(&mut rest).is_some() {}
        }
    }
}
