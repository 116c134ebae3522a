//! What an HTTP probe sends, and what it makes of the answer (semantics.md 4). Pure.

use std::fmt::Write;
use std::net::SocketAddr;

use clb_model::{CheckDomain, CheckPath, DomainKind, DomainPattern, HttpCodeMask};

use crate::outcome::Failure;

/// Octets of an answer that a probe reads at most, all interim answers together. The status line
/// must end within them.
pub const ANSWER_OCTETS: usize = 16 * 1024;

/// The port that a `Host` field leaves out (RFC 9110, section 4.2.1).
const HTTP_PORT: u16 = 80;

/// The method of an HTTP probe (`[health] http_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HttpMethod {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

impl HttpMethod {
    /// As it is sent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

/// What an HTTP probe asks for, and which answers are good. Members whose targets and probes are
/// equal share one; another mask makes another probe.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HttpProbe {
    method: HttpMethod,
    path: CheckPath,
    /// A rule's domain in lower case, or what the check itself names.
    host: Option<String>,
    codes: HttpCodeMask,
}

impl HttpProbe {
    /// A probe for `path`. `Host` is the rule's domain when that is exact, else the backend's
    /// address, with its port when that is not 80.
    #[must_use]
    pub fn new(
        method: HttpMethod,
        path: CheckPath,
        domain: Option<&DomainPattern>,
        codes: HttpCodeMask,
    ) -> Self {
        Self {
            method,
            path,
            host: domain
                .filter(|domain| domain.kind() == DomainKind::Exact)
                .map(DomainPattern::key),
            codes,
        }
    }

    /// The same with the `Host` that the check itself names (`httpCheckDomain`), as given.
    #[must_use]
    pub fn with_host(mut self, host: &CheckDomain) -> Self {
        self.host = Some(host.as_str().to_owned());
        self
    }

    /// What is asked for.
    #[must_use]
    pub fn path(&self) -> &CheckPath {
        &self.path
    }

    /// Which answers are good.
    #[must_use]
    pub fn codes(&self) -> HttpCodeMask {
        self.codes
    }

    /// The whole request (RFC 9112, section 3). Neither path nor domain can hold a blank or an end
    /// of line.
    pub(crate) fn request(&self, target: SocketAddr) -> String {
        let (method, path) = (self.method.name(), self.path.request_target());
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: ");
        // Writing to a string does not fail.
        let _ = match &self.host {
            Some(host) => request.write_str(host),
            None if target.port() != HTTP_PORT => write!(request, "{target}"),
            None => match target {
                SocketAddr::V4(target) => write!(request, "{}", target.ip()),
                SocketAddr::V6(target) => write!(request, "[{}]", target.ip()),
            },
        };
        request.push_str("\r\nUser-Agent: clbd-health\r\nConnection: close\r\n\r\n");
        request
    }

    /// Judges the octets that have come so far; `None` while they decide nothing.
    ///
    /// The first status line whose answer is final decides. An interim answer (1xx but 101, RFC
    /// 9110, section 15.2) decides only when the mask has the bit of 1xx, and then at once; else it
    /// is passed over with its fields, as every client does.
    pub(crate) fn judge(&self, mut octets: &[u8]) -> Option<Result<(), Failure>> {
        let is_full = octets.len() >= ANSWER_OCTETS;
        loop {
            let (status, rest) = match status_line(octets) {
                Line::Status(status, rest) => (status, rest),
                Line::More if is_full => return Some(Err(Failure::TooLong)),
                Line::More => return None,
                Line::Bad => return Some(Err(Failure::not_http(octets))),
            };
            if self.codes.accepts(status) {
                return Some(Ok(()));
            }
            if !matches!(status, 100 | 102..=199) {
                return Some(Err(Failure::Status(status)));
            }
            match after_fields(rest) {
                Some(next) => octets = next,
                None if is_full => return Some(Err(Failure::TooLong)),
                None => return None,
            }
        }
    }
}

enum Line<'a> {
    /// A status, and what follows its line.
    Status(u16, &'a [u8]),
    /// Right as far as it goes.
    More,
    /// No status line of HTTP/1.
    Bad,
}

/// `HTTP/1.` digit, blank, three digits, and an optional blank with a reason, ended by CRLF or LF
/// (RFC 9112, sections 2.2 and 4; a missing blank before an empty reason is common and means the
/// same).
fn status_line(octets: &[u8]) -> Line<'_> {
    let is_expected = |(place, octet): (usize, &u8)| match place {
        0..=6 => b"HTTP/1.".get(place) == Some(octet),
        7 => octet.is_ascii_digit(),
        8 => *octet == b' ',
        9 => (b'1'..=b'9').contains(octet),
        10 | 11 => octet.is_ascii_digit(),
        _ => true,
    };
    // At once, and not at the end of the line: what speaks another protocol may never end one.
    if !octets.iter().enumerate().all(is_expected) {
        return Line::Bad;
    }
    let Some((digits, rest)) = octets.get(9..12).zip(octets.get(12..)) else {
        return Line::More;
    };
    let (reason, next) = match rest.iter().position(|octet| *octet == b'\n') {
        Some(end) => (rest.get(..end).unwrap_or_default(), rest.get(end + 1..)),
        None => (rest, None),
    };
    let reason = reason.strip_suffix(b"\r").unwrap_or(reason);
    let is_reason = |octet: &u8| matches!(octet, b'\t' | b' '..=b'~' | 0x80..);
    if !matches!(reason.first(), None | Some(b' ')) || !reason.iter().all(is_reason) {
        return Line::Bad;
    }
    match next {
        None => Line::More,
        Some(next) => {
            let status = digits
                .iter()
                .fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
            Line::Status(status, next)
        }
    }
}

/// What follows the empty line that ends the fields of an interim answer.
fn after_fields(mut octets: &[u8]) -> Option<&[u8]> {
    loop {
        let end = octets.iter().position(|octet| *octet == b'\n')?;
        let (line, rest) = octets.split_at_checked(end + 1)?;
        octets = rest;
        if matches!(line, b"\n" | b"\r\n") {
            return Some(octets);
        }
    }
}

#[cfg(test)]
mod tests;
