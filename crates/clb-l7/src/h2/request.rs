//! A request of HTTP/2 as a head of HTTP/1.1 (RFC 9113, section 8), which then passes through the
//! same parser and writer as every other.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::fields::is_clean;
use crate::http1::{Fields, HeadFault, Refusal};

/// Why a request is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is malformed in a way that is no request at all: its stream is reset with PROTOCOL_ERROR
    /// (RFC 9113, section 8.1.1).
    Malformed,
    /// It is answered with the refusal's status.
    Refused(Refusal),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How much a request may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Octets of the line that method and target would make.
    pub(super) line: usize,
    /// Field lines, Host included.
    pub(super) fields: usize,
}

/// Appends the request as a head of HTTP/1.1, for
/// [`parse_written_request`](crate::http1::parse_written_request): `fields` says where its fields
/// are. `has_body`: its stream has not ended with its head; `scheme` is the connection's;
/// `websocket_key`, which CONNECT must have, is for RFC 8441.
///
/// # Errors
/// [`Fault`]; what is wrong with path, host and lengths is left for the parser.
pub(super) fn write_head(
    parts: &Parts,
    scheme: &str,
    has_body: bool,
    websocket_key: Option<&str>,
    limits: Limits,
    fields: &mut Fields,
    out: &mut Vec<u8>,
) -> Result<(), Fault> {
    let mut method = &parts.method;
    if *method == Method::CONNECT {
        let protocol = parts.extensions.get::<Protocol>();
        if protocol.is_none_or(|protocol| protocol.as_str() != "websocket") {
            return Err(Refusal::Connect.into());
        }
        method = &Method::GET;
    }
    check_scheme(&parts.uri, scheme)?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if out.len() > limits.line.saturating_add(2) {
        return Err(Refusal::Head(HeadFault::LineTooLong).into());
    }
    let seen = look(&parts.headers)?;
    if parts.headers.len() > limits.fields {
        return Err(Refusal::Head(HeadFault::TooManyFields).into());
    }
    fields.clear();
    let mut write = |name: &[u8], value: &[u8], out: &mut Vec<u8>| {
        fields.write(name, |out| out.extend_from_slice(value), out);
    };
    write(b"host", authority(&parts.uri, seen.host)?, out);
    for (name, value) in &parts.headers {
        match *name {
            HOST | COOKIE => {}
            _ => write(name.as_str().as_bytes(), value.as_bytes(), out),
        }
    }
    if let Some(key) = websocket_key {
        write(b"connection", b"upgrade", out);
        write(b"upgrade", b"websocket", out);
        write(b"sec-websocket-key", key.as_bytes(), out);
    } else if has_body && !seen.has_length {
        write(b"transfer-encoding", b"chunked", out);
    }
    if seen.has_cookies {
        // In one line (RFC 9113, section 8.2.3).
        let crumbs = parts.headers.get_all(COOKIE);
        fields.write(b"cookie", |out| join(crumbs.iter(), out), out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// What is to be known of all fields before one is written.
#[derive(Default)]
struct Looked<'a> {
    host: Option<&'a [u8]>,
    has_cookies: bool,
    has_length: bool,
}

/// Looks at all fields.
fn look(headers: &HeaderMap) -> Result<Looked<'_>, Fault> {
    let mut seen = Looked::default();
    let mut has_two_hosts = false;
    for (name, value) in headers {
        if !is_clean(value) {
            return Err(Fault::Malformed);
        }
        match *name {
            HOST => has_two_hosts |= seen.host.replace(value.as_bytes()).is_some(),
            COOKIE => seen.has_cookies = true,
            CONTENT_LENGTH => seen.has_length = true,
            _ => {}
        }
    }
    match has_two_hosts {
        true => Err(Refusal::Twice("Host").into()),
        false => Ok(seen),
    }
}

fn join<'a>(crumbs: impl Iterator<Item = &'a HeaderValue>, out: &mut Vec<u8>) {
    for (number, crumb) in crumbs.enumerate() {
        if number > 0 {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(crumb.as_bytes());
    }
}

/// The scheme must be the connection's, as with an absolute-form target (RFC 9110, section 7.4).
fn check_scheme(uri: &Uri, scheme: &str) -> Result<(), Fault> {
    match uri.scheme_str() {
        None => Ok(()),
        Some(found) if found.eq_ignore_ascii_case(scheme) => Ok(()),
        Some("http" | "https") => Err(Refusal::SchemeElsewhere.into()),
        Some(_) => Err(Refusal::Scheme.into()),
    }
}

/// What the request is for: `:authority`, or Host where there is none. Both must be the same
/// (RFC 9113, section 8.3.1).
fn authority<'a>(uri: &'a Uri, host: Option<&'a [u8]>) -> Result<&'a [u8], Fault> {
    let authority = uri.authority().map(|one| one.as_str().as_bytes());
    match (authority, host) {
        (None, None) => Err(Refusal::HostMissing.into()),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Refusal::Host.into())
        }
        (Some(one), _) | (None, Some(one)) => Ok(one),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
