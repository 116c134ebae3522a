use super::*;
use crate::http1::{AnswerTo, Fields, MethodKind, UpgradeAsked, parse_answer};

const ADDITIONS: AnswerAdditions<'static> = AnswerAdditions {
    client: Version::Http11,
    close: false,
    date: b"now",
    set_cookie: None,
    via: false,
    transfer: Transfer::AsIs(0),
};

const TO: AnswerTo = AnswerTo {
    method: MethodKind::Other,
    client: Version::Http11,
    upgrade_asked: UpgradeAsked::NONE,
    trailers: false,
};

/// The lines of an answer as a client of `to.client` gets it.
fn lines(head: &str, to: AnswerTo, additions: &AnswerAdditions<'_>) -> Vec<String> {
    let head = format!("{head}\r\n\r\n");
    let mut fields = Fields::default();
    let answer = parse_answer(head.as_bytes(), &mut fields, to).unwrap();
    let additions = AnswerAdditions {
        client: to.client,
        transfer: answer.transfer(to.client),
        ..*additions
    };
    let mut out = Vec::new();
    write_answer(&answer, &additions, &mut out);
    let out = String::from_utf8(out).unwrap();
    let out = out.strip_suffix("\r\n\r\n").unwrap();
    out.split("\r\n").map(str::to_owned).collect()
}

#[test]
fn status_lines() {
    for (line, expected) in [
        ("HTTP/1.1 200 OK", "HTTP/1.1 200 OK"),
        // RFC 9110, 2.5: our version, whatever theirs
        ("HTTP/1.0 404 Not Found", "HTTP/1.1 404 Not Found"),
        ("HTTP/1.7 200 \tx", "HTTP/1.1 200 \tx"),
        // RFC 9112, 4: the space is not optional
        ("HTTP/1.1 200 ", "HTTP/1.1 200 "),
        ("HTTP/1.1 200", "HTTP/1.1 200 "),
        ("HTTP/1.1 299 \u{e9}", "HTTP/1.1 299 \u{e9}"),
    ] {
        let lines = lines(&format!("{line}\r\nContent-Length: 0"), TO, &ADDITIONS);
        assert_eq!(lines.first().unwrap(), expected);
    }
}

#[test]
fn fields() {
    let head = AnswerTo {
        method: MethodKind::Head,
        ..TO
    };
    let old = AnswerTo {
        client: Version::Http10,
        ..TO
    };
    let trailers = AnswerTo {
        trailers: true,
        ..TO
    };
    for (answer, to, expected) in [
        (
            "200 OK\r\nDate: then\r\nContent-Length: 5\r\nX:y",
            TO,
            &["Date: then", "Content-Length: 5", "X:y"][..],
        ),
        // RFC 9110, 6.6.1
        (
            "200 OK\r\nContent-Length: 5",
            TO,
            &["Content-Length: 5", "Date: now"],
        ),
        // RFC 9110, 7.6.1
        (
            "200 OK\r\nConnection: close, X-A\r\nX-A: 1\r\nKeep-Alive: a\r\nTE: a\r\nUpgrade: h2c\r\nProxy-Connection: a\r\nContent-Length: 0",
            TO,
            &["Content-Length: 0", "Date: now"],
        ),
        (
            "200 OK\r\nProxy-Authenticate: a\r\nProxy-Authentication-Info: b\r\nContent-Length: 0",
            TO,
            &["Content-Length: 0", "Date: now"],
        ),
        (
            "200 OK\r\nConnection: Content-Length, Date\r\nDate: then\r\nContent-Length: 5",
            TO,
            &["Date: then", "Content-Length: 5"],
        ),
        // framing
        (
            "200 OK\r\nTransfer-Encoding: Chunked",
            TO,
            &["Date: now", "Transfer-Encoding: chunked"],
        ),
        ("200 OK", TO, &["Date: now", "Transfer-Encoding: chunked"]),
        (
            "200 OK\r\nTransfer-Encoding: chunked",
            old,
            &["Date: now", "Connection: close"],
        ),
        ("200 OK", old, &["Date: now", "Connection: close"]),
        (
            "200 OK\r\nContent-Length: 5",
            old,
            &["Content-Length: 5", "Date: now", "Connection: keep-alive"],
        ),
        (
            "200 OK\r\nContent-Length: 05",
            TO,
            &["Content-Length: 5", "Date: now"],
        ),
        // RFC 9110, 8.6; RFC 9112, 6.1
        ("204 x\r\nContent-Length: 0", TO, &["Date: now"]),
        ("204 x\r\nTransfer-Encoding: chunked", TO, &["Date: now"]),
        ("204 x", TO, &["Date: now"]),
        (
            "304 x\r\nContent-Length: 5\r\nETag: a",
            TO,
            &["Content-Length: 5", "ETag: a", "Date: now"],
        ),
        (
            "304 x\r\nContent-Length: 05",
            TO,
            &["Content-Length: 5", "Date: now"],
        ),
        ("304 x\r\nTransfer-Encoding: chunked", TO, &["Date: now"]),
        (
            "200 OK\r\nContent-Length: 5",
            head,
            &["Content-Length: 5", "Date: now"],
        ),
        ("200 OK\r\nTransfer-Encoding: chunked", head, &["Date: now"]),
        ("200 OK", head, &["Date: now"]),
        // 1xx
        ("100 Continue", TO, &[]),
        (
            "103 x\r\nLink: a\r\nContent-Length: 5\r\nConnection: close",
            TO,
            &["Link: a"],
        ),
        ("102 x\r\nTransfer-Encoding: chunked", TO, &[]),
        // RFC 9110, 15.5.22
        (
            "426 x\r\nConnection: upgrade\r\nUpgrade: foo\r\nContent-Length: 0",
            TO,
            &[
                "Content-Length: 0",
                "Date: now",
                "Upgrade: foo",
                "Connection: upgrade",
            ],
        ),
        (
            "426 x\r\nUpgrade: h2c\r\nContent-Length: 0",
            TO,
            &["Content-Length: 0", "Date: now"],
        ),
        // RFC 9110, 6.5
        (
            "200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked",
            TO,
            &["Date: now", "Transfer-Encoding: chunked"],
        ),
        (
            "200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked",
            trailers,
            &["Trailer: X", "Date: now", "Transfer-Encoding: chunked"],
        ),
        (
            "200 OK\r\nTrailer: X\r\nContent-Length: 5",
            trailers,
            &["Content-Length: 5", "Date: now"],
        ),
        (
            "200 OK\r\nTrailer: X",
            trailers,
            &["Date: now", "Transfer-Encoding: chunked"],
        ),
        // what else comes goes on
        (
            "200 OK\r\nServer: a\r\nSet-Cookie: b\r\nSet-Cookie: c\r\nContent_Length: 9\r\nContent-Length: 0",
            TO,
            &[
                "Server: a",
                "Set-Cookie: b",
                "Set-Cookie: c",
                "Content_Length: 9",
                "Content-Length: 0",
                "Date: now",
            ],
        ),
    ] {
        let lines = lines(&format!("HTTP/1.1 {answer}"), to, &ADDITIONS);
        assert_eq!(lines.get(1..).unwrap(), expected, "{answer:?} {to:?}");
    }
}

#[test]
fn a_tunnel() {
    let to = AnswerTo {
        upgrade_asked: UpgradeAsked::from(Some(&b"websocket"[..])),
        ..TO
    };
    let head = "HTTP/1.1 101 Switching\r\nupgrade: WebSocket\r\nconnection: Upgrade\r\nSec-WebSocket-Accept: a\r\nContent-Length: 0";
    assert_eq!(
        lines(head, to, &ADDITIONS),
        [
            "HTTP/1.1 101 Switching",
            "Sec-WebSocket-Accept: a",
            "Upgrade: WebSocket",
            "Connection: upgrade"
        ]
    );
}

#[test]
fn additions() {
    let all = AnswerAdditions {
        close: true,
        set_cookie: Some(b"a=b"),
        via: true,
        ..ADDITIONS
    };
    let old = AnswerTo {
        client: Version::Http10,
        ..TO
    };
    assert_eq!(
        lines("HTTP/1.0 200 OK\r\nContent-Length: 1", TO, &all)
            .get(2..)
            .unwrap(),
        [
            "Date: now",
            "Set-Cookie: a=b",
            "Via: 1.0 clbd",
            "Connection: close"
        ]
    );
    assert_eq!(
        lines("HTTP/1.1 200 OK\r\nContent-Length: 1", old, &all)
            .get(2..)
            .unwrap(),
        [
            "Date: now",
            "Set-Cookie: a=b",
            "Via: 1.1 clbd",
            "Connection: close"
        ]
    );
    // Nothing but Via to 1xx: the connection goes on.
    assert_eq!(
        lines("HTTP/1.1 103 x", TO, &all).get(1..).unwrap(),
        ["Via: 1.1 clbd"]
    );
}

#[test]
fn unchanged_fields_are_octet_for_octet_the_same() {
    let fields = "Date:\tx \r\nserver:y\r\nA: \u{e9}\r\nContent-Length:  7\t\r\nB:";
    let lines = lines(&format!("HTTP/1.1 200 OK\r\n{fields}"), TO, &ADDITIONS);
    assert_eq!(lines.get(1..).unwrap().join("\r\n"), fields);
}

#[test]
fn some_statuses_have_no_framing_whatever_is_asked() {
    // RFC 9112, 6.1
    for status in [103, 204] {
        let head = format!("HTTP/1.1 {status} x\r\n\r\n");
        let mut fields = Fields::default();
        let answer = parse_answer(head.as_bytes(), &mut fields, TO).unwrap();
        let additions = AnswerAdditions {
            transfer: Transfer::Chunked,
            ..ADDITIONS
        };
        let mut out = Vec::new();
        write_answer(&answer, &additions, &mut out);
        assert!(!String::from_utf8(out).unwrap().contains("Transfer"));
    }
}
