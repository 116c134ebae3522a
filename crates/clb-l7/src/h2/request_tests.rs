use http::Request;

use super::*;

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
    let mut out = Vec::new();
    let key = (parts.method == Method::CONNECT).then_some("key");
    write_head(parts, "https", has_body, key, LIMITS, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
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
