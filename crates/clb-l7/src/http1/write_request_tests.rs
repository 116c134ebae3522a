use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::http1::{Fields, parse_request};

const ADDITIONS: RequestAdditions<'static> = RequestAdditions {
    client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
    port: 8080,
    https: false,
    client_certificate: b"",
    request_id: b"id-1",
    default_host: b"127.10.0.1:8080",
    http2: false,
    trace: None,
    via: false,
    session_cookie: Some(b"clb_route"),
};

fn written(head: &str, additions: &RequestAdditions<'_>) -> String {
    let mut fields = Fields::default();
    let request = parse_request(head.as_bytes(), &mut fields).unwrap();
    let mut out = b"before ".to_vec();
    write_request(&request, additions, &mut out);
    let out = String::from_utf8(out).unwrap();
    out.strip_prefix("before ").unwrap().to_owned()
}

/// The lines that are not the same for every request.
fn lines(line: &str, fields: &str) -> Vec<String> {
    let head = format!("{line}\r\n{fields}\r\n\r\n").replace("\r\n\r\n\r\n", "\r\n\r\n");
    let written = written(&head, &ADDITIONS);
    let always = [
        "X-Forwarded-For: 192.0.2.7",
        "X-Real-IP: 192.0.2.7",
        "X-Forwarded-Proto: http",
        "X-Forwarded-Port: 8080",
        "X-Client-Proto: http",
        "X-Client-Proto-Ver: HTTP/1.1",
        "X-Forwarded-Host: a",
        "X-Request-Id: id-1",
    ];
    let body = written.strip_suffix("\r\n\r\n").unwrap();
    body.split("\r\n")
        .filter(|line| !always.contains(line))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_whole() {
    let head = "GET /a?b HTTP/1.1\r\nUser-Agent: c\r\nhost: a:8080\r\nAccept: */*\r\n\r\n";
    let expected = "GET /a?b HTTP/1.1\r\nHost: a:8080\r\nUser-Agent: c\r\nAccept: */*\r\n\
        X-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n\
        X-Forwarded-Port: 8080\r\nX-Client-Proto: http\r\nX-Client-Proto-Ver: HTTP/1.1\r\n\
        X-Forwarded-Host: a:8080\r\nX-Request-Id: id-1\r\n\r\n";
    assert_eq!(written(head, &ADDITIONS), expected);

    let additions = RequestAdditions {
        client: IpAddr::V6(Ipv6Addr::LOCALHOST),
        https: true,
        client_certificate: b"",
        http2: false,
        trace: None,
        via: true,
        port: 65535,
        ..ADDITIONS
    };
    let head = "GET / HTTP/1.0\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: 127.10.0.1:8080\r\n\
        X-Forwarded-For: ::1\r\nX-Real-IP: ::1\r\nX-Forwarded-Proto: https\r\n\
        X-Forwarded-Port: 65535\r\nX-Client-Proto: https\r\nX-Client-Proto-Ver: HTTP/1.0\r\n\
        X-Forwarded-Host: 127.10.0.1:8080\r\nX-Request-Id: id-1\r\nVia: 1.0 clbd\r\n\r\n";
    assert_eq!(written(head, &additions), expected);
}

#[test]
fn addresses() {
    let longest: Ipv6Addr = "1234:1234:1234:1234:1234:1234:1234:1234".parse().unwrap();
    for (client, text) in [
        (IpAddr::V6(longest), longest.to_string()),
        (
            IpAddr::V6(Ipv4Addr::new(9, 8, 7, 6).to_ipv6_mapped()),
            "9.8.7.6".to_owned(),
        ),
        (
            IpAddr::V4(Ipv4Addr::BROADCAST),
            "255.255.255.255".to_owned(),
        ),
    ] {
        let additions = RequestAdditions {
            client,
            ..ADDITIONS
        };
        let written = written("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &additions);
        assert!(
            written.contains(&format!("\r\nX-Forwarded-For: {text}\r\n")),
            "{written}"
        );
        assert!(
            written.contains(&format!("\r\nX-Real-IP: {text}\r\n")),
            "{written}"
        );
    }
}

#[test]
fn request_lines() {
    for (line, expected, host) in [
        ("GET /a HTTP/1.0", "GET /a HTTP/1.1", "Host: a"),
        ("FOO / HTTP/1.1", "FOO / HTTP/1.1", "Host: a"),
        // RFC 9112, 3.2.1 and 3.2.2: always origin-form, Host from the target
        ("GET http://b/c HTTP/1.1", "GET /c HTTP/1.1", "Host: b"),
        ("GET http://b:1 HTTP/1.1", "GET / HTTP/1.1", "Host: b:1"),
        ("GET http://b?c HTTP/1.1", "GET /?c HTTP/1.1", "Host: b"),
        // RFC 9112, 3.2.4
        ("OPTIONS http://b HTTP/1.1", "OPTIONS * HTTP/1.1", "Host: b"),
        ("OPTIONS * HTTP/1.1", "OPTIONS * HTTP/1.1", "Host: a"),
    ] {
        let lines = lines(line, "Host: a");
        assert_eq!(lines.first().unwrap(), expected);
        assert_eq!(lines.get(1).unwrap(), host);
        let hosts = lines.iter().filter(|line| line.starts_with("Host:"));
        assert_eq!(hosts.count(), 1);
    }
}

#[test]
fn fields() {
    for (fields, expected) in [
        // RFC 9110, 7.6.1: hop by hop
        ("Connection: close", &[][..]),
        ("Connection: keep-alive\r\nKeep-Alive: timeout=5", &[]),
        ("Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive", &[]),
        (
            "Connection: X-A, x-b\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\nx-a: 4",
            &["X-C: 3"],
        ),
        (
            "Connection: X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-B: 2",
            &[],
        ),
        ("X-A: 1\r\nConnection: Cookie, X-A\r\nCookie: b=c", &[]),
        ("Upgrade: websocket", &[]),
        (
            "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA",
            &[],
        ),
        ("HTTP2-Settings: AAA", &[]),
        // 7.8
        (
            "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
            &[
                "Sec-WebSocket-Version: 13",
                "Upgrade: websocket",
                "Connection: upgrade",
            ],
        ),
        // 10.1.4
        (
            "TE: gzip, trailers\r\nConnection: TE",
            &["TE: trailers", "Connection: TE"],
        ),
        ("TE: gzip", &[]),
        (
            "Connection: upgrade, TE\r\nUpgrade: foo\r\nTE: trailers",
            &["Upgrade: foo", "TE: trailers", "Connection: upgrade, TE"],
        ),
        // 11.7
        (
            "Proxy-Authorization: a\r\nProxy-Authenticate: b\r\nAuthorization: c",
            &["Authorization: c"],
        ),
        // what Connection may not remove
        (
            "Connection: Host, Content-Length, X-Forwarded-For, X-Real-IP\r\nContent-Length: 1",
            &["Content-Length: 1"],
        ),
        (
            "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
            &["Transfer-Encoding: chunked"],
        ),
        (
            "Connection: Content-Length\r\nContent-Length: 0",
            &["Content-Length: 0"],
        ),
        (
            "Connection: Via, X-Request-Id\r\nVia: 1.1 x\r\nX-Request-Id: y",
            &["Via: 1.1 x", "X-Request-Id: y"],
        ),
        // ours
        (
            "X-Real-IP: 1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1",
            &[],
        ),
        (
            "X-Client-Proto: https\r\nX-Client-Proto-Ver: HTTP/2\r\nX-SSL-Client-Verify: SUCCESS",
            &[],
        ),
        ("X-Forwarded-Host: evil", &["X-Forwarded-Host: evil"]),
        ("X-Request-Id: mine", &["X-Request-Id: mine"]),
        ("X-Request-Id: a b", &[]),
        ("X-Request-Id: a\r\nX: y\r\nX-Request-Id: b", &["X: y"]),
        // what CGI would take for one of ours or for framing
        (
            "Content_Length: 1\r\nTransfer_Encoding: chunked\r\nX_Real_IP: 1",
            &[],
        ),
        (
            "X_Forwarded-For: 1\r\nX_SSL_Client_Verify: SUCCESS\r\nX-SSL_Client-DN: a",
            &[],
        ),
        ("X_Custom: 1", &["X_Custom: 1"]),
        // framing
        ("Content-Length: 5", &["Content-Length: 5"]),
        ("content-length:\t5 ", &["content-length:\t5 "]),
        ("Content-Length: 005", &["Content-Length: 5"]),
        ("Content-Length: 00", &["Content-Length: 0"]),
        (
            "Transfer-Encoding:\tCHUNKED",
            &["Transfer-Encoding: chunked"],
        ),
        (
            "Trailer: X\r\nTransfer-Encoding: chunked",
            &["Trailer: X", "Transfer-Encoding: chunked"],
        ),
        ("Trailer: X", &[]),
        // RFC 9110, 10.1.1
        (
            "Expect: 100-Continue\r\nContent-Length: 1",
            &["Content-Length: 1", "Expect: 100-continue"],
        ),
        ("Expect: 100-continue", &[]),
        // nothing is changed in what goes on
        (
            "a:b\r\nA: \tb \t\r\nx!#: \u{e9}",
            &["a:b", "A: \tb \t", "x!#: \u{e9}"],
        ),
        ("Max-Forwards: 5", &["Max-Forwards: 5"]),
        // the gateway's cookie
        ("Cookie: a=1; clb_route=x; b=2", &["Cookie: a=1; b=2"]),
        ("Cookie: clb_route=x; b=2", &["Cookie: b=2"]),
        ("Cookie: a=1;  clb_route = x", &["Cookie: a=1"]),
        ("Cookie: clb_route=x", &[]),
        (
            "Cookie: clb_route=x; clb_route=y\r\ncookie: c=3",
            &["cookie: c=3"],
        ),
        (
            "Cookie: a=1;b=2; CLB_ROUTE=x; xclb_route=1",
            &["Cookie: a=1;b=2; CLB_ROUTE=x; xclb_route=1"],
        ),
        ("Cookie: clb_route", &["Cookie: clb_route"]),
        ("Cookie: a=clb_route=x", &["Cookie: a=clb_route=x"]),
    ] {
        let lines = lines("GET / HTTP/1.1", &format!("Host: a\r\n{fields}"));
        assert_eq!(lines.get(2..).unwrap(), expected, "{fields:?}");
    }
}

#[test]
fn forwarded_for_is_one_field() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nX: y\r\n\
        x-forwarded-for:\r\nx-forwarded-for:3.3.3.3 \r\nConnection: X-Forwarded-For\r\n\r\n";
    let written = written(head, &ADDITIONS);
    let line = "\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7\r\n";
    assert!(written.contains(line), "{written}");
    assert_eq!(written.to_lowercase().matches("x-forwarded-for").count(), 1);
}

#[test]
fn forwarded_host_is_the_first_hosts() {
    let fields = "X-Forwarded-Host: b\r\nx-forwarded-host: c";
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
    let written = written(&head, &ADDITIONS);
    assert!(written.contains(&format!("\r\n{fields}\r\n")));
    assert!(!written.contains("X-Forwarded-Host: a"), "{written}");
}

#[test]
fn max_forwards_goes_down() {
    // RFC 9110, 7.6.2
    for (value, expected) in [
        ("1", "0"),
        ("10", "9"),
        ("18446744073709551616", "18446744073709551614"),
    ] {
        let lines = lines(
            "TRACE / HTTP/1.1",
            &format!("Host: a\r\nMax-Forwards: {value}"),
        );
        assert_eq!(
            lines.get(2..).unwrap(),
            [format!("Max-Forwards: {expected}")]
        );
    }
}

#[test]
fn without_a_cookie_of_ours_cookies_stay() {
    let additions = RequestAdditions {
        session_cookie: None,
        ..ADDITIONS
    };
    let head = "GET / HTTP/1.1\r\nHost: a\r\nCookie: clb_route=x\r\n\r\n";
    assert!(written(head, &additions).contains("\r\nCookie: clb_route=x\r\n"));
}
