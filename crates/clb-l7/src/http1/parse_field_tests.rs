//! What single fields say, one row a rule.

use super::tests::{head, refusal, with};
use super::*;

#[test]
fn fields_with_one_value() {
    for (_, name) in SINGLE {
        let fields = format!("{name}: 1\r\n{}: 1", name.to_lowercase());
        let refused = refusal(&head("GET / HTTP/1.1", &fields));
        assert_eq!(refused, Some(Refusal::Twice(name)), "{name}");
    }
    for name in [
        "Accept",
        "Cookie",
        "X-Forwarded-For",
        "Via",
        "Connection",
        "X-Request-Id",
    ] {
        let fields =
            format!("{name}: a=1\r\n{name}: a=1").replace("Connection: a=1", "Connection: a");
        assert_eq!(refusal(&head("GET / HTTP/1.1", &fields)), None, "{name}");
    }
}

#[test]
fn expectations() {
    // RFC 9110, 10.1.1
    let length = "\r\nContent-Length: 1";
    for (expect, body, expected) in [
        ("100-continue", length, Ok(true)),
        ("100-Continue", length, Ok(true)),
        ("100-continue", "\r\nTransfer-Encoding: chunked", Ok(true)),
        ("100-continue, 100-continue", length, Ok(true)),
        ("100-continue\r\nExpect: 100-continue", length, Ok(true)),
        ("100-continue", "", Ok(false)),
        ("100-continue", "\r\nContent-Length: 0", Ok(false)),
        ("", length, Ok(false)),
        ("100-continue;a=b", length, Err(Refusal::Expectation)),
        ("100-continu", length, Err(Refusal::Expectation)),
        ("\"100-continue\"", length, Err(Refusal::Expectation)),
        ("200-ok", "", Err(Refusal::Expectation)),
        ("100-continue, foo", length, Err(Refusal::Expectation)),
    ] {
        let head = head("POST / HTTP/1.1", &format!("Expect: {expect}{body}"));
        let actual = with(&head, |request| {
            request.map(|request| request.expects_continue)
        });
        assert_eq!(actual, expected, "{expect:?} {body:?}");
    }
}

#[test]
fn max_forwards_counts_for_two_methods() {
    // RFC 9110, 7.6.2
    for (method, value, expected) in [
        ("OPTIONS", "0", Ok(Some(0))),
        ("TRACE", "10", Ok(Some(10))),
        ("TRACE", "00", Ok(Some(0))),
        ("TRACE", "99999999999999999999999", Ok(Some(u64::MAX))),
        ("TRACE", "", Err(Refusal::MaxForwards)),
        ("TRACE", "-1", Err(Refusal::MaxForwards)),
        ("OPTIONS", "1, 1", Err(Refusal::MaxForwards)),
        ("OPTIONS", "x", Err(Refusal::MaxForwards)),
        ("GET", "0", Ok(None)),
        ("GET", "x", Ok(None)),
    ] {
        let head = head(
            &format!("{method} / HTTP/1.1"),
            &format!("Max-Forwards: {value}"),
        );
        let actual = with(&head, |request| request.map(|request| request.max_forwards));
        assert_eq!(actual, expected, "{method} {value:?}");
    }
}

#[test]
fn trace_has_no_body() {
    // RFC 9110, 9.3.8
    for (fields, expected) in [
        ("Content-Length: 1", Some(Refusal::TraceBody)),
        ("Transfer-Encoding: chunked", Some(Refusal::TraceBody)),
        ("Content-Length: 0", None),
    ] {
        assert_eq!(
            refusal(&head("TRACE / HTTP/1.1", fields)),
            expected,
            "{fields}"
        );
    }
}

#[test]
fn upgrades() {
    // RFC 9110, 7.8
    for (method, fields, expected) in [
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket",
            Some("websocket"),
        ),
        (
            "GET",
            "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket",
            Some("WebSocket"),
        ),
        (
            "POST",
            "Connection: upgrade\r\nUpgrade: tcp\r\nContent-Length: 0",
            Some("tcp"),
        ),
        ("GET", "Upgrade: websocket", None),
        ("GET", "Connection: upgrade", None),
        ("GET", "Connection: close\r\nUpgrade: websocket", None),
        ("GET", "Connection: upgrade\r\nUpgrade: h2c", None),
        (
            "GET",
            "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a",
            None,
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket, h2c",
            None,
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
            None,
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1",
            None,
        ),
        (
            "GET",
            "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked",
            None,
        ),
        ("POST", "Connection: upgrade\r\nUpgrade: websocket", None),
    ] {
        let head = head(&format!("{method} / HTTP/1.1"), fields);
        with(&head, |request| {
            let request = request.unwrap();
            assert_eq!(request.upgrade, expected.map(str::as_bytes), "{fields}");
            assert_eq!(
                request.answer_to().upgrade_asked.is_some(),
                expected.is_some()
            );
        });
    }
}

#[test]
fn connections_and_te() {
    // RFC 9112, 9.3; RFC 9110, 10.1.4
    for (fields, keep_alive, trailers) in [
        ("X: y", true, false),
        ("Connection: close", false, false),
        ("Connection: CLOSE", false, false),
        ("Connection: foo\r\nConnection: close", false, false),
        ("Connection: keep-alive", true, false),
        ("Proxy-Connection: close", true, false),
        ("TE: trailers\r\nConnection: TE", true, true),
        ("TE: gzip;q=0.5, Trailers", true, true),
        ("TE: trailers;q=0", true, false),
        ("TE: gzip", true, false),
        ("TE:", true, false),
    ] {
        with(&head("GET / HTTP/1.1", fields), |request| {
            let request = request.unwrap();
            assert_eq!(
                (request.keep_alive, request.trailers),
                (keep_alive, trailers),
                "{fields}"
            );
        });
    }
    for bad in ["a b", "close;q=1", "\"close\"", "a=b"] {
        let refused = refusal(&head("GET / HTTP/1.1", &format!("Connection: {bad}")));
        assert_eq!(refused, Some(Refusal::Connection), "{bad}");
    }
}

#[test]
fn request_ids() {
    let (fine, long) = ("x".repeat(128), "x".repeat(129));
    for (fields, expected) in [
        ("X: y".to_owned(), None),
        (
            "X-Request-Id: a-B_0.:/+=~@".to_owned(),
            Some("a-B_0.:/+=~@"),
        ),
        (format!("X-Request-Id: {fine}"), Some(fine.as_str())),
        (format!("X-Request-Id: {long}"), None),
        ("X-Request-Id:".to_owned(), None),
        ("X-Request-Id: a b".to_owned(), None),
        ("X-Request-Id: a\"".to_owned(), None),
        ("X-Request-Id: a, b".to_owned(), None),
        ("X-Request-Id: a\r\nX-Request-Id: a".to_owned(), None),
        (
            "X-Request-Id: a\r\nX-Request-Id: a\r\nX-Request-Id: a".to_owned(),
            None,
        ),
    ] {
        with(&head("GET / HTTP/1.1", &fields), |request| {
            assert_eq!(
                request.unwrap().request_id,
                expected.map(str::as_bytes),
                "{fields}"
            );
        });
    }
}

#[test]
fn cookies_and_fields() {
    let fields = "Cookie: a=1; clb=; b=2;clb = x ;c\r\nX: 1\r\ncookie: clb=y\r\nx:2";
    with(&head("GET / HTTP/1.1", fields), |request| {
        let request = request.unwrap();
        assert_eq!(request.cookie(b"clb"), Some(&b"x"[..]));
        assert!(request.cookies(b"clb").eq([&b""[..], b"x", b"y"]));
        assert_eq!(request.cookie(b"CLB"), None);
        assert_eq!(request.cookie(b"c"), None);
        assert!(request.field(b"X").eq([&b"1"[..], b"2"]));
        assert_eq!(request.pairs().count(), 5);
    });
}

#[test]
fn backends_are_not_shared_after_odd_bodies() {
    for (method, fields, expected) in [
        ("GET", "X: y", true),
        ("GET", "Content-Length: 0", true),
        ("GET", "Content-Length: 1", false),
        ("DELETE", "Transfer-Encoding: chunked", false),
        ("FOO", "Content-Length: 1", false),
        ("POST", "Content-Length: 1", true),
        ("PUT", "Transfer-Encoding: chunked", true),
    ] {
        let head = head(&format!("{method} / HTTP/1.1"), fields);
        with(&head, |request| {
            assert_eq!(
                request.unwrap().may_share_backend(),
                expected,
                "{method} {fields}"
            );
        });
    }
}

#[test]
fn hosts() {
    // RFC 9112, 3.2 and 3.2.2
    for (line, fields, expected) in [
        ("GET / HTTP/1.1", "Host: a", Ok(("a", "a", "/"))),
        ("GET / HTTP/1.1", "host:\ta:81 ", Ok(("a", "a:81", "/"))),
        ("GET / HTTP/1.1", "Host: a:", Ok(("a", "a", "/"))),
        (
            "GET / HTTP/1.1",
            "Host: [::1]:8",
            Ok(("[::1]", "[::1]:8", "/")),
        ),
        ("GET / HTTP/1.1", "X: y", Err(Refusal::HostMissing)),
        ("GET / HTTP/1.2", "X: y", Err(Refusal::HostMissing)),
        ("GET http://a/ HTTP/1.1", "X: y", Err(Refusal::HostMissing)),
        (
            "GET / HTTP/1.1",
            "Host: a\r\nHost: a",
            Err(Refusal::Twice("Host")),
        ),
        (
            "GET / HTTP/1.1",
            "Host: a\r\nhost: b",
            Err(Refusal::Twice("Host")),
        ),
        (
            "GET / HTTP/1.0",
            "Host: a\r\nHost: b",
            Err(Refusal::Twice("Host")),
        ),
        (
            "GET http://a/ HTTP/1.1",
            "Host: a\r\nHost: a",
            Err(Refusal::Twice("Host")),
        ),
        ("GET / HTTP/1.1", "Host:", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: \t ", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a b", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a, b", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: u@a", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a/b", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: http://a", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a:b", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: a:99999", Err(Refusal::Host)),
        ("GET / HTTP/1.1", "Host: \u{e9}", Err(Refusal::Host)),
        ("OPTIONS * HTTP/1.1", "Host:", Err(Refusal::Host)),
        ("OPTIONS * HTTP/1.1", "Host: a", Ok(("a", "a", "*"))),
        // the target's authority replaces Host, which must be right all the same
        (
            "GET http://b:1/c?d HTTP/1.1",
            "Host: a",
            Ok(("b", "b:1", "/c?d")),
        ),
        ("GET http://b HTTP/1.1", "Host: a", Ok(("b", "b", "/"))),
        ("GET HTTP://B:/ HTTP/1.1", "Host: a", Ok(("B", "B", "/"))),
        (
            "GET http://b?c=/d HTTP/1.1",
            "Host: a",
            Ok(("b", "b", "/?c=/d")),
        ),
        ("OPTIONS http://b HTTP/1.1", "Host: a", Ok(("b", "b", "*"))),
        ("OPTIONS http://b/ HTTP/1.1", "Host: a", Ok(("b", "b", "/"))),
        (
            "OPTIONS http://b?c HTTP/1.1",
            "Host: a",
            Ok(("b", "b", "/?c")),
        ),
        ("GET http://b/ HTTP/1.1", "Host:", Err(Refusal::Host)),
        ("GET http://b/ HTTP/1.1", "Host: a b", Err(Refusal::Host)),
        ("GET http://b/ HTTP/1.0", "X: y", Ok(("b", "b", "/"))),
        (
            "GET http://u@b/ HTTP/1.1",
            "Host: b",
            Err(Refusal::TargetAuthority),
        ),
        ("GET ftp://b/ HTTP/1.1", "Host: b", Err(Refusal::Scheme)),
    ] {
        let head = format!("{line}\r\n{fields}\r\n\r\n");
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let actual = with(head.as_bytes(), |request| {
            request.map(|request| {
                (
                    text(request.host),
                    text(request.authority),
                    text(request.path),
                )
            })
        });
        let expected =
            expected.map(|(host, authority, path)| (host.into(), authority.into(), path.into()));
        assert_eq!(actual, expected, "{head:?}");
    }
}

#[test]
fn schemes_over_tls() {
    for (target, expected) in [
        ("/", None),
        ("https://a/", None),
        ("http://a/", Some(Refusal::SchemeElsewhere)),
    ] {
        let head = head(&format!("GET {target} HTTP/1.1"), "");
        let actual = parse_request_over(Scheme::Https, &head, &mut Fields::default()).err();
        assert_eq!(actual, expected, "{target}");
    }
}
