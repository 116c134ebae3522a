//! A request of HTTP/2 as a head of HTTP/1.1 (RFC 9113, section 8), which then passes through the
//! same parser and writer as every other.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use super::fields::{is_clean, write_line};
use crate::http1::{HeadFault, Refusal};

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

/// Appends the request as a head of HTTP/1.1. `has_body`: its stream has not ended with its head;
/// `scheme` is the connection's; `websocket_key`, which CONNECT must have, is for RFC 8441.
///
/// # Errors
/// [`Fault`]; what is wrong with path, host, lengths and single fields is left for the parser.
pub(super) fn write_head(
    parts: &Parts,
    scheme: &str,
    has_body: bool,
    websocket_key: Option<&str>,
    limits: Limits,
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
    write_line(b"host", authority(parts)?, out);
    let written = write_fields(&parts.headers, out)?;
    if written > limits.fields {
        return Err(Refusal::Head(HeadFault::TooManyFields).into());
    }
    if let Some(key) = websocket_key {
        write_line(b"connection", b"upgrade", out);
        write_line(b"upgrade", b"websocket", out);
        write_line(b"sec-websocket-key", key.as_bytes(), out);
    } else if has_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        write_line(b"transfer-encoding", b"chunked", out);
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
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
fn authority(parts: &Parts) -> Result<&[u8], Fault> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next().map(|host| host.as_bytes());
    if hosts.next().is_some() {
        return Err(Refusal::Twice("Host").into());
    }
    let authority = parts.uri.authority().map(|one| one.as_str().as_bytes());
    match (authority, host) {
        (None, None) => Err(Refusal::HostMissing.into()),
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            Err(Refusal::Host.into())
        }
        (Some(one), _) | (None, Some(one)) => Ok(one),
    }
}

/// Appends the fields but Host, with the cookies in one line (RFC 9113, section 8.2.3); how many
/// came.
fn write_fields(headers: &HeaderMap, out: &mut Vec<u8>) -> Result<usize, Fault> {
    if !headers.values().all(is_clean) {
        return Err(Fault::Malformed);
    }
    let mut has_cookies = false;
    for (name, value) in headers {
        match *name {
            HOST => {}
            COOKIE => has_cookies = true,
            _ => write_line(name.as_str().as_bytes(), value.as_bytes(), out),
        }
    }
    if has_cookies {
        let mut separator: &[u8] = b"cookie: ";
        for crumb in headers.get_all(COOKIE) {
            out.extend_from_slice(separator);
            out.extend_from_slice(crumb.as_bytes());
            separator = b"; ";
        }
        out.extend_from_slice(b"\r\n");
    }
    Ok(headers.len())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
