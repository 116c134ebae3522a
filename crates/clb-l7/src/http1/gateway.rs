//! Answers that the gateway gives itself.

use super::method::Method;
use super::names::Known;
use super::octets::{CRLF, is_safe_octet, push_decimal};
use super::request::Request;
use super::runs::{push_field, push_length};

/// The reason phrase of `status`; empty for one that the gateway never gives.
#[must_use]
pub fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// A field that only some answers of the gateway have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayField<'a> {
    /// Seconds, for 503 (RFC 9110, section 10.2.3).
    RetryAfter(u32),
    /// A URI of visible ASCII, for 302 (RFC 9110, section 10.2.2).
    Location(&'a [u8]),
}

/// Appends an answer of the gateway: a short text with status, reason and request id.
///
/// `status` is 200 to 599 and has a body; `reason_text` says why, in a few words of ours, never
/// the client's; `request_id` may be the client's, of which only safe octets are written; `close`:
/// the connection is closed after it; to HEAD (`is_head`) it goes without the body. A client of
/// HTTP/1.0 that is to go on must be told so, which this does not: close.
#[expect(clippy::too_many_arguments, reason = "each is a part of the answer")]
pub fn write_gateway_answer(
    status: u16,
    reason_text: &str,
    request_id: &[u8],
    date: &[u8],
    close: bool,
    is_head: bool,
    field: Option<GatewayField<'_>>,
    out: &mut Vec<u8>,
) {
    let mut body = Vec::with_capacity(128);
    push_decimal(u64::from(status), &mut body);
    body.push(b' ');
    body.extend_from_slice(reason_phrase(status).as_bytes());
    body.push(b'\n');
    body.extend(
        reason_text
            .bytes()
            .filter(|octet| (b' '..=b'~').contains(octet)),
    );
    body.extend_from_slice(b"\nrequest ");
    body.extend(request_id.iter().filter(|&&octet| is_safe_octet(octet)));
    body.push(b'\n');

    push_head(status, date, close, out);
    match field {
        Some(GatewayField::RetryAfter(seconds)) => {
            out.extend_from_slice(b"Retry-After: ");
            push_decimal(u64::from(seconds), out);
            out.extend_from_slice(CRLF);
        }
        Some(GatewayField::Location(uri)) => push_field(b"Location: ", uri, out),
        None => {}
    }
    push_field(b"Content-Type: ", b"text/plain; charset=utf-8", out);
    push_field(b"X-Content-Type-Options: ", b"nosniff", out);
    push_length(body.len() as u64, out);
    out.extend_from_slice(CRLF);
    if !is_head {
        out.extend_from_slice(&body);
    }
}

/// Appends the answer to OPTIONS or TRACE whose Max-Forwards is 0: the gateway answers as if it
/// were the target (RFC 9110, section 7.6.2). OPTIONS: 200 without a body, with what the gateway
/// lets through. TRACE: 200 with the request as it came, without fields that a page must not learn
/// from it (section 9.3.8).
pub fn write_final_answer(request: &Request<'_>, date: &[u8], close: bool, out: &mut Vec<u8>) {
    push_head(200, date, close, out);
    if request.method != Method::Trace {
        push_field(
            b"Allow: ",
            b"GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH",
            out,
        );
        push_length(0, out);
        out.extend_from_slice(CRLF);
        return;
    }
    let mut body = Vec::with_capacity(request.head.len());
    body.extend_from_slice(request.head.get(..request.fields_at).unwrap_or_default());
    for field in &request.fields.list {
        let secret = matches!(
            field.known,
            Known::Authorization
                | Known::ProxyAuthorization
                | Known::Cookie
                | Known::Lookalike
                | Known::XSslClient
        );
        if !secret {
            push_field(field.name(request.head), b": ", &mut body);
            body.truncate(body.len() - CRLF.len());
            push_field(field.value(request.head), b"", &mut body);
        }
    }
    body.extend_from_slice(CRLF);
    push_field(b"Content-Type: ", b"message/http", out);
    push_length(body.len() as u64, out);
    out.extend_from_slice(CRLF);
    out.extend_from_slice(&body);
}

fn push_head(status: u16, date: &[u8], close: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\nServer: clbd\r\n");
    push_field(b"Date: ", date, out);
    if close {
        push_field(b"Connection: ", b"close", out);
    }
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
