//! The request's head as the backend gets it.

use std::io::Write;
use std::net::IpAddr;

use super::fields::Field;
use super::framing::Version;
use super::names::{HOP_BY_HOP, Known, Names};
use super::octets::{CRLF, part, push_decimal, split, trim};
use super::request::{Request, RequestBody, cookie_value};
use super::runs::{Runs, push_connection, push_field, push_length};

/// What the gateway adds to a request (semantics, section 6).
#[derive(Debug, Clone, Copy)]
pub struct RequestAdditions<'a> {
    /// The client's address, for X-Forwarded-For and X-Real-IP. IPv4 addresses in IPv6 form are
    /// written as IPv4.
    pub client: IpAddr,
    /// The listener's port, for X-Forwarded-Port.
    pub port: u16,
    /// Whether the client came over TLS.
    pub https: bool,
    /// What the client's certificate says: whole field lines, X-SSL-Client-* only. Empty where the
    /// client showed none.
    pub client_certificate: &'a [u8],
    /// X-Request-Id where the request has none that is kept. One token.
    pub request_id: &'a [u8],
    /// What Host says where the request has none, as in HTTP/1.0: the address that the client
    /// came to, with its port if it is not the scheme's (RFC 9110, section 7.1). If it is empty,
    /// so is Host.
    pub default_host: &'a [u8],
    /// Whether the client speaks HTTP/2: what X-Client-Proto-Ver and Via say then.
    pub http2: bool,
    /// Whether Via is added (RFC 9110, section 7.6.3).
    pub via: bool,
    /// A traceparent in the place of the client's, and whether tracestate goes with that one.
    pub trace: Option<(&'a [u8], bool)>,
    /// The name of the gateway's own cookie, which the backend does not see.
    pub session_cookie: Option<&'a [u8]>,
}

/// Fields of the client that never go on as they are: those of one connection, those that the
/// gateway writes itself, those that only it may write, and those that a backend could take for
/// one of these.
const NOT_COPIED: Names = HOP_BY_HOP.and(Names::of(&[
    Known::Lookalike,
    Known::Host,
    Known::Expect,
    Known::XForwardedFor,
    Known::XForwardedProto,
    Known::XForwardedPort,
    Known::XRealIp,
    Known::XClientProto,
    Known::XClientProtoVer,
    Known::XSslClient,
]));

/// Fields that sometimes go on as they are.
const DEPENDS: Names = Names::of(&[
    Known::ContentLength,
    Known::Trailer,
    Known::MaxForwards,
    Known::Cookie,
    Known::XRequestId,
    Known::Traceparent,
    Known::Tracestate,
]);

/// Appends the request's head as the backend gets it: HTTP/1.1 in origin-form (or `*`), Host first
/// and once, without the fields of the client's connection, framed as [`Request::body`] says, with
/// what the gateway adds. Connection says `upgrade` or `TE` where these are sent on, and is absent
/// else.
pub fn write_request(request: &Request<'_>, additions: &RequestAdditions<'_>, out: &mut Vec<u8>) {
    out.reserve(request.head.len() + 512);
    out.extend_from_slice(request.method.name());
    out.push(b' ');
    out.extend_from_slice(request.path);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    let host = match request.authority {
        b"" => additions.default_host,
        authority => authority,
    };
    push_field(host, b"", out);

    let mut runs = Runs::new(request.head, request.fields_at);
    for field in &request.fields.list {
        let known = field.known;
        if NOT_COPIED.contains(known) || field.named {
            runs.skip(field.start, field.end, out);
        } else if DEPENDS.contains(known) && !is_copied(request, additions, field) {
            runs.skip(field.start, field.end, out);
            if let (Known::Cookie, Some(name)) = (known, additions.session_cookie) {
                push_cookies(field.value(request.head), name, out);
            }
        }
    }
    runs.finish(out);
    push_own(request, additions, host, out);
    push_framing(request, out);
    out.extend_from_slice(CRLF);
}

/// Whether a field that [`DEPENDS`] is copied.
fn is_copied(request: &Request<'_>, additions: &RequestAdditions<'_>, field: &Field) -> bool {
    match field.known {
        Known::ContentLength => !request.odd_length,
        // It announces what only chunks can carry.
        Known::Trailer => request.body == RequestBody::Chunked,
        // Other methods may carry it; it means nothing there (RFC 9110, section 7.6.2).
        Known::MaxForwards => request.max_forwards.is_none(),
        Known::XRequestId => request.request_id.is_some(),
        Known::Traceparent => additions.trace.is_none(),
        Known::Tracestate => additions.trace.is_none_or(|(_, keeps_state)| keeps_state),
        Known::Cookie => additions.session_cookie.is_none_or(|name| {
            !split(field.value(request.head), b';').any(|pair| cookie_value(pair, name).is_some())
        }),
        _ => true,
    }
}

/// Appends a Cookie without the cookie `name`, unless nothing is left.
fn push_cookies(value: &[u8], name: &[u8], out: &mut Vec<u8>) {
    let mut separator: &[u8] = b"Cookie: ";
    let mut some = false;
    for pair in split(value, b';').map(trim) {
        if pair.is_empty() || cookie_value(pair, name).is_some() {
            continue;
        }
        out.extend_from_slice(separator);
        out.extend_from_slice(pair);
        separator = b"; ";
        some = true;
    }
    if some {
        out.extend_from_slice(CRLF);
    }
}

/// What the gateway says about a client's connection, in as few pieces as it can be.
struct Own {
    before_port: &'static [u8],
    http10: &'static [u8],
    http11: &'static [u8],
    http2: &'static [u8],
}

const OVER_TCP: Own = Own {
    before_port: b"\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: ",
    http10: b"\r\nX-Client-Proto: http\r\nX-Client-Proto-Ver: HTTP/1.0\r\n",
    http11: b"\r\nX-Client-Proto: http\r\nX-Client-Proto-Ver: HTTP/1.1\r\n",
    http2: b"\r\nX-Client-Proto: http\r\nX-Client-Proto-Ver: HTTP/2\r\n",
};

const OVER_TLS: Own = Own {
    before_port: b"\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: ",
    http10: b"\r\nX-Client-Proto: https\r\nX-Client-Proto-Ver: HTTP/1.0\r\n",
    http11: b"\r\nX-Client-Proto: https\r\nX-Client-Proto-Ver: HTTP/1.1\r\n",
    http2: b"\r\nX-Client-Proto: https\r\nX-Client-Proto-Ver: HTTP/2\r\n",
};

/// Appends what the gateway says about client and connection.
fn push_own(
    request: &Request<'_>,
    additions: &RequestAdditions<'_>,
    host: &[u8],
    out: &mut Vec<u8>,
) {
    let own = match additions.https {
        true => &OVER_TLS,
        false => &OVER_TCP,
    };

    out.extend_from_slice(b"X-Forwarded-For: ");
    if request.names.contains(Known::XForwardedFor) {
        for field in &request.fields.list {
            let value = field.value(request.head);
            if field.known == Known::XForwardedFor && !value.is_empty() {
                out.extend_from_slice(value);
                out.extend_from_slice(b", ");
            }
        }
    }
    let start = out.len();
    push_address(additions.client, out);
    let end = out.len();
    out.extend_from_slice(b"\r\nX-Real-IP: ");
    out.extend_from_within(start..end);
    out.extend_from_slice(own.before_port);
    push_decimal(u64::from(additions.port), out);
    out.extend_from_slice(match request.version {
        _ if additions.http2 => own.http2,
        Version::Http10 => own.http10,
        Version::Http11 => own.http11,
    });
    out.extend_from_slice(additions.client_certificate);
    if !request.names.contains(Known::XForwardedHost) {
        push_field(b"X-Forwarded-Host: ", host, out);
    }
    if request.request_id.is_none() {
        push_field(b"X-Request-Id: ", additions.request_id, out);
    }
    if let Some((value, _)) = additions.trace {
        push_field(b"traceparent: ", value, out);
    }
    if additions.via {
        // The version is that of the message received.
        out.extend_from_slice(match request.version {
            _ if additions.http2 => b"Via: 2 clbd\r\n".as_slice(),
            Version::Http10 => b"Via: 1.0 clbd\r\n",
            Version::Http11 => b"Via: 1.1 clbd\r\n",
        });
    }
}

/// Appends what frames the body and what concerns the connection to the backend.
fn push_framing(request: &Request<'_>, out: &mut Vec<u8>) {
    match request.body {
        RequestBody::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        RequestBody::Length(length) if request.odd_length => push_length(length, out),
        RequestBody::None if request.odd_length => push_length(0, out),
        RequestBody::Length(_) | RequestBody::None => {}
    }
    if request.expects_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    if let Some(hops) = request.max_forwards {
        // RFC 9110, section 7.6.2: decremented, since this is one hop. 0 is not forwarded at all.
        out.extend_from_slice(b"Max-Forwards: ");
        push_decimal(hops.saturating_sub(1), out);
        out.extend_from_slice(CRLF);
    }
    if let Some(protocols) = request.upgrade {
        push_field(b"Upgrade: ", protocols, out);
    }
    if request.trailers {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    push_connection(
        &[
            (b"upgrade", request.upgrade.is_some()),
            (b"TE", request.trailers),
        ],
        out,
    );
}

fn push_address(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            // On the stack first: one piece instead of seven.
            let mut text = [b'.'; 15];
            let mut length = 0;
            for octet in address.octets() {
                let digits = [octet / 100, octet / 10 % 10, octet % 10];
                let skipped = usize::from(octet < 100) + usize::from(octet < 10);
                for digit in digits.iter().skip(skipped) {
                    if let Some(place) = text.get_mut(length) {
                        *place = b'0' + digit;
                    }
                    length += 1;
                }
                length += 1;
            }
            out.extend_from_slice(part(&text, 0, length - 1));
        }
        IpAddr::V6(address) => {
            // Writing to a vector does not fail.
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
#[path = "write_request_tests.rs"]
mod tests;
