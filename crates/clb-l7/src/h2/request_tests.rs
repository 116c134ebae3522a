use http::Request;
use proptest::prelude::*;

use super::*;
use crate::http1::{Scheme, parse_request_over, parse_written_request};

const LIMITS: Limits = Limits {
    line: 100,
    fields: 10,
};

fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn head(parts: &Parts, has_body: bool) -> Result<String, Fault> {
    written(parts, has_body).map(|(head, _)| String::from_utf8(head).unwrap())
}

/// The head, and where its fields are.
fn written(parts: &Parts, has_body: bool) -> Result<(Vec<u8>, Fields), Fault> {
    let (mut fields, mut out) = (Fields::default(), Vec::new());
    let key = (parts.method == Method::CONNECT).then_some("key");
    write_head(parts, "https", has_body, key, LIMITS, &mut fields, &mut out)?;
    Ok((out, fields))
}

#[test]
fn a_request_becomes_a_head() {
    let get = parts("GET", "https://a:1/b?c", &[("x-d", "e")]);
    assert_eq!(
        head(&get, false).unwrap(),
        "GET /b?c HTTP/1.1\r\nhost: a:1\r\nx-d: e\r\n\r\n"
    );
    let put = parts("PUT", "https://a/", &[]);
    assert_eq!(
        head(&put, true).unwrap(),
        "PUT / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    let sized = parts("PUT", "https://a/", &[("content-length", "3")]);
    assert!(!head(&sized, true).unwrap().contains("chunked"));
}

#[test]
fn cookies_are_joined() {
    // RFC 9113, 8.2.3
    let crumbs = parts(
        "GET",
        "https://a/",
        &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")],
    );
    let text = head(&crumbs, false).unwrap();
    assert!(text.ends_with("x: y\r\ncookie: a=1; b=2\r\n\r\n"), "{text}");
}

#[test]
fn authority_and_host() {
    // RFC 9113, 8.3.1
    assert!(head(&parts("GET", "https://a/", &[("host", "A")]), false).is_ok());
    let text = head(&parts("GET", "/", &[("host", "h")]), false).unwrap();
    assert!(text.contains("\r\nhost: h\r\n"));
    for (uri, fields, refusal) in [
        ("https://a/", &[("host", "b")][..], Refusal::Host),
        ("https://a/", &[("host", "a:443")], Refusal::Host),
        ("/", &[], Refusal::HostMissing),
        ("/", &[("host", "a"), ("host", "a")], Refusal::Twice("Host")),
        ("http://a/", &[], Refusal::SchemeElsewhere),
        ("ftp://a/", &[], Refusal::Scheme),
    ] {
        let result = head(&parts("GET", uri, fields), false);
        assert_eq!(result, Err(Fault::Refused(refusal)), "{uri} {fields:?}");
    }
}

#[test]
fn limits() {
    let long = format!("https://a/{}", "b".repeat(100));
    let result = head(&parts("GET", &long, &[]), false);
    assert_eq!(result, Err(Refusal::Head(HeadFault::LineTooLong).into()));
    let many = [("x", "y"); 11];
    let result = head(&parts("GET", "https://a/", &many), false);
    assert_eq!(result, Err(Refusal::Head(HeadFault::TooManyFields).into()));
    assert!(head(&parts("GET", "https://a/", &many[..10]), false).is_ok());
}

#[test]
fn blanks_around_values_are_malformed() {
    // RFC 9113, 8.2.1
    for value in [" a", "a ", "\ta"] {
        let result = head(&parts("GET", "https://a/", &[("x", value)]), false);
        assert_eq!(result, Err(Fault::Malformed), "{value:?}");
    }
}

#[test]
fn connect_opens_no_tunnel_but_to_a_websocket() {
    // RFC 9110, 9.3.6; RFC 8441, 4
    let result = head(&parts("CONNECT", "a:1", &[]), false);
    assert_eq!(result, Err(Refusal::Connect.into()));
    let mut extended = parts(
        "CONNECT",
        "https://a/chat",
        &[("sec-websocket-version", "13")],
    );
    extended
        .extensions
        .insert(Protocol::from_static("websocket"));
    assert_eq!(
        head(&extended, true).unwrap(),
        "GET /chat HTTP/1.1\r\nhost: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-key: key\r\n\r\n"
    );
    extended.extensions.insert(Protocol::from_static("tcp"));
    assert_eq!(head(&extended, true), Err(Refusal::Connect.into()));
}

/// Names that mean something in a request, their look-alikes, and others.
fn names() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "host",
        "cookie",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "upgrade",
        "expect",
        "max-forwards",
        "content_length",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-request-id",
        "x-ssl-client-cert",
        "traceparent",
        "range",
    ];
    prop_oneof![
        prop::sample::select(KNOWN).prop_map(str::to_owned),
        "[a-z0-9!#$%&'*+.^_`|~-]{1,30}",
    ]
}

/// What a value may be in HTTP/2, and what some fields say.
fn values() -> impl Strategy<Value = Vec<u8>> {
    const SAID: &[&str] = &["a", "", "trailers", "close", "x-forwarded-for, range", "5"];
    prop_oneof![
        prop::sample::select(SAID).prop_map(|text| text.as_bytes().to_vec()),
        prop::collection::vec(
            prop_oneof![Just(b'\t'), 0x20..=0x7e_u8, 0x80..=0xff_u8],
            0..40
        )
        .prop_map(|octets| octets.trim_ascii().to_vec()),
    ]
}

proptest! {
    /// Whoever reads the head finds the same as whoever has written it.
    #[test]
    fn a_written_head_is_read_as_it_was_written(
        method in prop::sample::select(&["GET", "PUT", "OPTIONS", "TRACE"][..]),
        path in "/[a-z%?0-9]{0,12}",
        lines in prop::collection::vec((names(), values()), 0..8),
        has_body: bool,
    ) {
        let mut request = Request::builder().method(method).uri(format!("https://a{path}"));
        for (name, value) in &lines {
            request = request.header(name, value.as_slice());
        }
        let parts = request.body(()).unwrap().into_parts().0;
        let Ok((head, mut written)) = written(&parts, has_body) else {
            return Ok(());
        };
        let mut read = Fields::default();
        let parsed = parse_request_over(Scheme::Https, &head, &mut read);
        let parsed = format!("{parsed:?}");
        let known = parse_written_request(Scheme::Https, &head, &mut written);
        prop_assert_eq!(format!("{known:?}"), parsed);
    }
}
