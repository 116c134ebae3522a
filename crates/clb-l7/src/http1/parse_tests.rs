//! One row a rule, with its section.

use super::*;
use crate::http1::{FieldFault, HeadFault};

/// A head from lines; a Host is there already.
pub(super) fn head(line: &str, fields: &str) -> Vec<u8> {
    let fields = match fields.is_empty() {
        true => String::new(),
        false => format!("{fields}\r\n"),
    };
    format!("{line}\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

pub(super) fn with<T>(head: &[u8], see: impl FnOnce(Result<Request<'_>, Refusal>) -> T) -> T {
    see(parse_request(head, &mut Fields::default()))
}

pub(super) fn refusal(head: &[u8]) -> Option<Refusal> {
    with(head, |request| request.err())
}

/// Of `POST / HTTP/1.1` with `fields`.
fn post(fields: &str) -> Result<RequestBody, Refusal> {
    with(&head("POST / HTTP/1.1", fields), |request| {
        request.map(|request| request.body)
    })
}

#[test]
fn request_lines() {
    use Refusal::*;
    let long = "A".repeat(METHOD_LENGTH + 1);
    let long_line = format!("{long} / HTTP/1.1");
    let fine_line = format!("{} / HTTP/1.1", "A".repeat(METHOD_LENGTH));
    for (line, expected) in [
        ("GET / HTTP/1.1", None),
        ("GET / HTTP/1.0", None),
        ("PROPFIND / HTTP/1.1", None),
        // RFC 9110, 9.1: methods are tokens and case counts; backends judge
        ("get / HTTP/1.1", None),
        ("M-SEARCH / HTTP/1.1", None),
        (&fine_line, None),
        // RFC 9110, 2.5: a higher minor version is as good as 1.1
        ("GET / HTTP/1.2", None),
        ("GET / HTTP/1.9", None),
        // RFC 9112, 3: single spaces
        ("GET  / HTTP/1.1", Some(TargetOctet)),
        ("GET /  HTTP/1.1", Some(TargetOctet)),
        (" GET / HTTP/1.1", Some(Method)),
        ("GET / HTTP/1.1 ", Some(Version)),
        ("GET\t/ HTTP/1.1", Some(Method)),
        ("GET /\tHTTP/1.1", Some(RequestLine)),
        ("GET\t/\tHTTP/1.1", Some(RequestLine)),
        ("GET /\x0b HTTP/1.1", Some(TargetOctet)),
        ("GET /a b HTTP/1.1", Some(TargetOctet)),
        ("GET / HTTP/1.1 HTTP/1.1", Some(TargetOctet)),
        ("GET / x HTTP/1.1", Some(TargetOctet)),
        // HTTP/0.9, and parts missing
        ("GET /", Some(RequestLine)),
        ("GET", Some(RequestLine)),
        ("GET ", Some(RequestLine)),
        ("GET HTTP/1.1", Some(RequestLine)),
        ("GET  HTTP/1.1", Some(TargetForm)),
        ("/ HTTP/1.1", Some(Method)),
        (" / HTTP/1.1", Some(Method)),
        // RFC 9110, 5.6.2
        ("G(T / HTTP/1.1", Some(Method)),
        ("GE\0T / HTTP/1.1", Some(Method)),
        ("GET: / HTTP/1.1", Some(Method)),
        ("\"GET\" / HTTP/1.1", Some(Method)),
        ("G\u{c9}T / HTTP/1.1", Some(Method)),
        ("\u{feff}GET / HTTP/1.1", Some(Method)),
        // RFC 9112, 3: a method longer than any
        (&long_line, Some(MethodTooLong)),
        // RFC 9112, 2.3
        ("GET / HTTP/1.10", Some(Version)),
        ("GET / HTTP/1", Some(Version)),
        ("GET / HTTP/", Some(Version)),
        ("GET / http/1.1", Some(Version)),
        ("GET / HTTP/1.1x", Some(Version)),
        ("GET / FOO/1.1", Some(Version)),
        ("GET / HTTP/ 1.1", Some(Version)),
        // RFC 9110, 15.6.6
        ("GET / HTTP/0.9", Some(VersionUnsupported)),
        ("GET / HTTP/2.0", Some(VersionUnsupported)),
        ("GET / HTTP/3.0", Some(VersionUnsupported)),
        ("PRI * HTTP/2.0", Some(VersionUnsupported)),
        // RFC 9110, 9.3.6
        ("CONNECT a:443 HTTP/1.1", Some(Connect)),
        ("CONNECT / HTTP/1.1", Some(TargetForm)),
        ("CONNECT a HTTP/1.1", Some(TargetForm)),
        ("CONNECT http://a/ HTTP/1.1", Some(TargetForm)),
        // RFC 9112, 3.2
        ("GET * HTTP/1.1", Some(TargetForm)),
        ("OPTIONS * HTTP/1.1", None),
        ("GET a:80 HTTP/1.1", Some(TargetForm)),
        ("GET http://a/ HTTP/1.1", None),
        // RFC 9110, 7.4
        ("GET https://a/ HTTP/1.1", Some(SchemeElsewhere)),
        ("GET /#a HTTP/1.1", Some(TargetOctet)),
    ] {
        assert_eq!(refusal(&head(line, "")), expected, "{line:?}");
        if expected != Some(SchemeElsewhere) {
            assert_eq!(
                check_request_line(line.as_bytes()).err(),
                expected,
                "{line:?}"
            );
        }
    }
}

#[test]
fn statuses() {
    for (refusal, status) in [
        (Refusal::RequestLine, 400),
        (Refusal::Method, 400),
        (Refusal::Version, 400),
        (Refusal::VersionUnsupported, 505),
        (Refusal::MethodTooLong, 501),
        (Refusal::Connect, 501),
        (Refusal::CodingUnknown, 501),
        (Refusal::TransferEncoding, 400),
        (Refusal::LengthAndEncoding, 400),
        (Refusal::Expectation, 417),
        (Refusal::SchemeElsewhere, 421),
        (Refusal::BodyTooLong, 413),
        (Refusal::Head(HeadFault::LineTooLong), 414),
        (Refusal::Head(HeadFault::TooManyFields), 431),
        (Refusal::Field(FieldFault::Folded), 400),
    ] {
        assert_eq!(refusal.status(), status, "{refusal}");
        assert_eq!(refusal.to_string(), refusal.reason());
    }
}

#[test]
fn bodies() {
    use RequestBody::{Chunked, Length};
    for (fields, expected) in [
        ("X: y", Ok(RequestBody::None)),
        // RFC 9110, 8.6
        ("Content-Length: 0", Ok(RequestBody::None)),
        ("Content-Length: 5", Ok(Length(5))),
        ("content-length:5", Ok(Length(5))),
        ("CONTENT-LENGTH:\t5 ", Ok(Length(5))),
        ("Content-Length: 007", Ok(Length(7))),
        ("Content-Length: 18446744073709551615", Ok(Length(u64::MAX))),
        ("Content-Length:", Err(Refusal::ContentLength)),
        ("Content-Length: +5", Err(Refusal::ContentLength)),
        ("Content-Length: -1", Err(Refusal::ContentLength)),
        ("Content-Length: 5 5", Err(Refusal::ContentLength)),
        ("Content-Length: 5, 5", Err(Refusal::ContentLength)),
        ("Content-Length: 5,", Err(Refusal::ContentLength)),
        ("Content-Length: 0x5", Err(Refusal::ContentLength)),
        ("Content-Length: 5;", Err(Refusal::ContentLength)),
        (
            "Content-Length: 18446744073709551616",
            Err(Refusal::ContentLength),
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5",
            Err(Refusal::Twice("Content-Length")),
        ),
        (
            "Content-Length: 5\r\nContent-Length: 6",
            Err(Refusal::Twice("Content-Length")),
        ),
        (
            "Content-Length: 5\r\ncontent-length: 0",
            Err(Refusal::Twice("Content-Length")),
        ),
        (
            "Content-Length : 5",
            Err(Refusal::Field(FieldFault::BlankBeforeColon)),
        ),
        // RFC 9112, 6.1 and 7
        ("Transfer-Encoding: chunked", Ok(Chunked)),
        ("transfer-encoding:CHUNKED", Ok(Chunked)),
        ("Transfer-Encoding:\tchunked\t", Ok(Chunked)),
        (
            "Transfer-Encoding: gzip, chunked",
            Err(Refusal::CodingUnknown),
        ),
        (
            "Transfer-Encoding: identity, chunked",
            Err(Refusal::CodingUnknown),
        ),
        ("Transfer-Encoding:", Err(Refusal::TransferEncoding)),
        (
            "Transfer-Encoding: identity",
            Err(Refusal::TransferEncoding),
        ),
        ("Transfer-Encoding: gzip", Err(Refusal::TransferEncoding)),
        (
            "Transfer-Encoding: chunked, identity",
            Err(Refusal::TransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked, chunked",
            Err(Refusal::TransferEncoding),
        ),
        (
            "Transfer-Encoding: , chunked",
            Err(Refusal::TransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked,",
            Err(Refusal::TransferEncoding),
        ),
        (
            "Transfer-Encoding: xchunked",
            Err(Refusal::TransferEncoding),
        ),
        (
            "Transfer-Encoding: \"chunked\"",
            Err(Refusal::TransferEncoding),
        ),
        (
            "Transfer-Encoding: chunked;a=b",
            Err(Refusal::TransferEncoding),
        ),
        (
            "Transfer-Encoding: \x0bchunked",
            Err(Refusal::Field(FieldFault::Value)),
        ),
        (
            "Transfer-Encoding: chunked\x0c",
            Err(Refusal::Field(FieldFault::Value)),
        ),
        (
            "Transfer-Encoding: chunked\0",
            Err(Refusal::Field(FieldFault::Value)),
        ),
        (
            "Transfer-Encoding : chunked",
            Err(Refusal::Field(FieldFault::BlankBeforeColon)),
        ),
        (
            "Transfer-Encoding\t: chunked",
            Err(Refusal::Field(FieldFault::BlankBeforeColon)),
        ),
        (
            "Transfer-Encoding\x0b: chunked",
            Err(Refusal::Field(FieldFault::Name)),
        ),
        (
            "Transfer-Encoding\0: chunked",
            Err(Refusal::Field(FieldFault::Name)),
        ),
        (
            "Transfer-Encoding:\r\n chunked",
            Err(Refusal::Field(FieldFault::Folded)),
        ),
        (
            "X: y\r\n Transfer-Encoding: chunked",
            Err(Refusal::Field(FieldFault::Folded)),
        ),
        (
            "X: y\rTransfer-Encoding: chunked",
            Err(Refusal::Field(FieldFault::Value)),
        ),
        (
            "X: y\nTransfer-Encoding: chunked",
            Err(Refusal::Field(FieldFault::Value)),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            Err(Refusal::Twice("Transfer-Encoding")),
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            Err(Refusal::Twice("Transfer-Encoding")),
        ),
        // RFC 9112, 6.1: both
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Err(Refusal::LengthAndEncoding),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0",
            Err(Refusal::LengthAndEncoding),
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5",
            Err(Refusal::LengthAndEncoding),
        ),
        // what only looks like it does not frame
        ("Content_Length: 5", Ok(RequestBody::None)),
        ("Transfer_Encoding: chunked", Ok(RequestBody::None)),
        ("X-Transfer-Encoding: chunked", Ok(RequestBody::None)),
    ] {
        assert_eq!(post(fields), expected, "{fields:?}");
    }
}

#[test]
fn http10() {
    // RFC 9112, 6.1: Transfer-Encoding in HTTP/1.0
    let chunked = head("POST / HTTP/1.0", "Transfer-Encoding: chunked");
    assert_eq!(refusal(&chunked), Some(Refusal::EncodingInHttp10));
    let both = head(
        "POST / HTTP/1.0",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
    );
    assert_eq!(refusal(&both), Some(Refusal::LengthAndEncoding));
    // RFC 9112, 3.2: Host may be missing
    with(b"GET / HTTP/1.0\r\n\r\n", |request| {
        let request = request.unwrap();
        assert_eq!((request.host, request.authority), (&b""[..], &b""[..]));
        assert!(!request.keep_alive);
    });
    assert_eq!(
        refusal(b"GET / HTTP/1.0\r\nHost:\r\n\r\n"),
        Some(Refusal::Host)
    );
    // RFC 9110, 10.1.1 and 7.8: neither Expect nor Upgrade
    let fields = "Expect: 100-continue\r\nContent-Length: 1\r\nTE: trailers\r\nUpgrade: websocket\r\nConnection: upgrade, keep-alive";
    with(&head("POST / HTTP/1.0", fields), |request| {
        let request = request.unwrap();
        assert!(!request.expects_continue && request.keep_alive && !request.trailers);
        assert_eq!(request.upgrade, None);
    });
}

#[test]
fn heads_that_are_none() {
    for text in [
        &b""[..],
        b"\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\n\n",
        b"GET / HTTP/1.1\r\nHost: a",
        b"GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nx",
        b"GET / HTTP/1.1\r\n\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\nX: y\r\n\r\n",
    ] {
        assert!(refusal(text).is_some(), "{text:?}");
    }
}

#[test]
fn storage_is_used_again() {
    let mut fields = Fields::default();
    let first = head(
        "GET http://b?c HTTP/1.1",
        "Connection: x, y\r\nX: 1\r\nY: 2",
    );
    assert!(parse_request(&first, &mut fields).is_ok());
    let second = head("GET http://d?e HTTP/1.1", "X: 1");
    let request = parse_request(&second, &mut fields).unwrap();
    assert_eq!(request.path, b"/?e");
    assert_eq!(request.pairs().count(), 2);
    assert_eq!(request.connection_names().count(), 0);
}
