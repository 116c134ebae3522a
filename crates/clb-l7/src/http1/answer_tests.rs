//! One row a rule, with its section.

use super::*;

const TO: AnswerTo = AnswerTo {
    method: MethodKind::Other,
    client: Version::Http11,
    upgrade_asked: NOTHING,
    trailers: false,
};

const NOTHING: UpgradeAsked = UpgradeAsked::NONE;

fn head(line: &str, fields: &str) -> Vec<u8> {
    match fields.is_empty() {
        true => format!("{line}\r\n\r\n"),
        false => format!("{line}\r\n{fields}\r\n\r\n"),
    }
    .into_bytes()
}

fn with<T>(head: &[u8], to: AnswerTo, see: impl FnOnce(Result<Answer<'_>, BadAnswer>) -> T) -> T {
    see(parse_answer(head, &mut Fields::default(), to))
}

#[test]
fn status_lines() {
    use BadAnswer::{Status, StatusLine, Version};
    // RFC 9112, 4; RFC 9110, 15
    for (line, expected) in [
        ("HTTP/1.1 200 OK", Ok(200)),
        ("HTTP/1.0 200 OK", Ok(200)),
        ("HTTP/1.9 200 OK", Ok(200)),
        ("HTTP/1.1 200 ", Ok(200)),
        ("HTTP/1.1 200", Ok(200)),
        ("HTTP/1.1 200 \tO K\u{e9}", Ok(200)),
        ("HTTP/1.1 299 x", Ok(299)),
        ("HTTP/1.1 599 x", Ok(599)),
        ("HTTP/1.1 100 Continue", Ok(100)),
        ("HTTP/1.1 099 x", Err(Status)),
        ("HTTP/1.1 000 x", Err(Status)),
        ("HTTP/1.1 600 x", Err(Status)),
        ("HTTP/1.1 999 x", Err(Status)),
        ("HTTP/1.1 20 OK", Err(StatusLine)),
        ("HTTP/1.1 2000 OK", Err(StatusLine)),
        ("HTTP/1.1 2x0 OK", Err(StatusLine)),
        ("HTTP/1.1 +20 OK", Err(StatusLine)),
        ("HTTP/1.1 -20 OK", Err(StatusLine)),
        ("HTTP/1.1  200 OK", Err(StatusLine)),
        ("HTTP/1.1 200\tOK", Err(StatusLine)),
        ("HTTP/1.1 200OK", Err(StatusLine)),
        ("HTTP/1.1 200.1 OK", Err(StatusLine)),
        ("HTTP/1.1\t200 OK", Err(StatusLine)),
        ("HTTP/1.1", Err(StatusLine)),
        ("HTTP/1.1 ", Err(StatusLine)),
        ("HTTP/1.1 OK", Err(StatusLine)),
        ("HTTP/1.1 200 a\x0bb", Err(StatusLine)),
        ("HTTP/1.1 200 a\0b", Err(StatusLine)),
        ("HTTP/1.1 200 \x1b[0m", Err(StatusLine)),
        ("HTTP/1.1 200 a\nX: y", Err(StatusLine)),
        ("HTTP/1.1 200 a\rX: y", Err(StatusLine)),
        ("HTTP/1.10 200 OK", Err(StatusLine)),
        ("HTTP/2.0 200 OK", Err(Version)),
        ("HTTP/2 200 OK", Err(Version)),
        ("HTTP/0.9 200 OK", Err(Version)),
        ("http/1.1 200 OK", Err(Version)),
        ("ICY 200 OK", Err(Version)),
        ("200 OK", Err(Version)),
        ("", Err(Version)),
        ("<html>hello</html>", Err(Version)),
        (" HTTP/1.1 200 OK", Err(Version)),
        ("GET / HTTP/1.1", Err(Version)),
    ] {
        let actual = with(&head(line, ""), TO, |answer| {
            answer.map(|answer| answer.status)
        });
        assert_eq!(actual, expected, "{line:?}");
        if !line.contains(['\r', '\n']) {
            let checked = check_status_line(line.as_bytes());
            assert_eq!(checked, expected.map(|_| ()), "{line:?}");
        }
    }
}

#[test]
fn bodies() {
    use AnswerBody::{Chunked, Length, None, UntilClose};
    let ok = "HTTP/1.1 200 OK";
    let te = Err(BadAnswer::TransferEncoding);
    let cl = Err(BadAnswer::ContentLength);
    // RFC 9112, 6.3
    for (line, fields, expected) in [
        (ok, "", Ok((UntilClose, false))),
        (ok, "Connection: close", Ok((UntilClose, false))),
        (ok, "Content-Length: 5", Ok((Length(5), true))),
        (ok, "Content-Length: 0", Ok((None, true))),
        (ok, "Content-Length: 05", Ok((Length(5), true))),
        (
            ok,
            "Content-Length: 5\r\nConnection: close",
            Ok((Length(5), false)),
        ),
        (ok, "Transfer-Encoding: chunked", Ok((Chunked, true))),
        (ok, "transfer-encoding:CHUNKED", Ok((Chunked, true))),
        (
            ok,
            "Transfer-Encoding: chunked\r\nConnection: close",
            Ok((Chunked, false)),
        ),
        (
            "HTTP/1.0 200 OK",
            "Content-Length: 5",
            Ok((Length(5), false)),
        ),
        (
            "HTTP/1.0 200 OK",
            "Content-Length: 5\r\nConnection: keep-alive",
            Ok((Length(5), true)),
        ),
        (
            "HTTP/1.0 200 OK",
            "Connection: keep-alive",
            Ok((UntilClose, false)),
        ),
        // without a body, whatever is said
        ("HTTP/1.1 204 x", "", Ok((None, true))),
        ("HTTP/1.1 204 x", "Content-Length: 0", Ok((None, true))),
        ("HTTP/1.1 204 x", "Content-Length: 5", Ok((None, false))),
        (
            "HTTP/1.1 204 x",
            "Transfer-Encoding: chunked",
            Ok((None, false)),
        ),
        ("HTTP/1.1 304 x", "Content-Length: 5", Ok((None, true))),
        (
            "HTTP/1.1 304 x",
            "Transfer-Encoding: chunked",
            Ok((None, true)),
        ),
        ("HTTP/1.1 304 x", "", Ok((None, true))),
        ("HTTP/1.1 100 x", "", Ok((None, true))),
        ("HTTP/1.1 103 x", "Content-Length: 5", Ok((None, false))),
        ("HTTP/1.1 205 x", "Content-Length: 0", Ok((None, true))),
        ("HTTP/1.1 404 x", "Content-Length: 3", Ok((Length(3), true))),
        // more than one length
        (ok, "Content-Length: 5\r\nContent-Length: 5", cl),
        (ok, "Content-Length: 5\r\nContent-Length: 6", cl),
        (ok, "Content-Length: 5, 5", cl),
        (ok, "Content-Length: -1", cl),
        (ok, "Content-Length: +1", cl),
        (ok, "Content-Length:", cl),
        (ok, "Content-Length: 1x", cl),
        (ok, "Content-Length: 99999999999999999999", cl),
        ("HTTP/1.1 304 x", "Content-Length: x", cl),
        (
            "HTTP/1.1 204 x",
            "Content-Length: 1\r\nContent-Length: 2",
            cl,
        ),
        // and encodings
        (ok, "Transfer-Encoding: gzip, chunked", te),
        (ok, "Transfer-Encoding: gzip", te),
        (ok, "Transfer-Encoding: identity", te),
        (ok, "Transfer-Encoding:", te),
        (ok, "Transfer-Encoding: chunked, chunked", te),
        (
            ok,
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            te,
        ),
        (ok, "Transfer-Encoding: xchunked", te),
        (ok, "Transfer-Encoding: chunked;a=b", te),
        (
            ok,
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            Err(BadAnswer::LengthAndEncoding),
        ),
        (
            ok,
            "Content-Length: 0\r\nTransfer-Encoding: chunked",
            Err(BadAnswer::LengthAndEncoding),
        ),
        (
            "HTTP/1.0 200 OK",
            "Transfer-Encoding: chunked",
            Err(BadAnswer::EncodingInHttp10),
        ),
        // fields
        (
            ok,
            "X : y",
            Err(BadAnswer::Field(FieldFault::BlankBeforeColon)),
        ),
        (ok, "X: y\r\n z", Err(BadAnswer::Field(FieldFault::Folded))),
        (ok, " X: y", Err(BadAnswer::Field(FieldFault::Folded))),
        (
            ok,
            "X: y\rSet-Cookie: z",
            Err(BadAnswer::Field(FieldFault::Value)),
        ),
        (
            ok,
            "X: y\nSet-Cookie: z",
            Err(BadAnswer::Field(FieldFault::Value)),
        ),
        (ok, "X: y\0", Err(BadAnswer::Field(FieldFault::Value))),
        (ok, "X\0: y", Err(BadAnswer::Field(FieldFault::Name))),
        (ok, "X", Err(BadAnswer::Field(FieldFault::NoColon))),
        (ok, ": y", Err(BadAnswer::Field(FieldFault::NoName))),
        (ok, "Connection: a b", Err(BadAnswer::Connection)),
    ] {
        let actual = with(&head(line, fields), TO, |answer| {
            answer.map(|answer| (answer.body, answer.keep_alive))
        });
        assert_eq!(actual, expected, "{line:?} {fields:?}");
    }
}

#[test]
fn answers_to_head() {
    let to = AnswerTo {
        method: MethodKind::Head,
        ..TO
    };
    // RFC 9110, 9.3.2
    for (fields, expected) in [
        ("Content-Length: 5", Ok(AnswerBody::None)),
        ("Transfer-Encoding: chunked", Ok(AnswerBody::None)),
        ("", Ok(AnswerBody::None)),
        ("Content-Length: x", Err(BadAnswer::ContentLength)),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            Err(BadAnswer::LengthAndEncoding),
        ),
    ] {
        let head = head("HTTP/1.1 200 OK", fields);
        let actual = with(&head, to, |answer| answer.map(|answer| answer.body));
        assert_eq!(actual, expected, "{fields}");
        with(&head, to, |answer| {
            assert!(answer.is_err() || answer.unwrap().keep_alive)
        });
    }
}

#[test]
fn kinds() {
    for (status, interim) in [
        (100, true),
        (102, true),
        (103, true),
        (199, true),
        (200, false),
        (500, false),
    ] {
        with(&head(&format!("HTTP/1.1 {status} x"), ""), TO, |answer| {
            let answer = answer.unwrap();
            assert_eq!(
                (answer.is_interim, answer.upgrade),
                (interim, false),
                "{status}"
            );
        });
    }
}

#[test]
fn switching_protocols() {
    let asked = AnswerTo {
        upgrade_asked: UpgradeAsked::from(Some(&b"websocket"[..])),
        ..TO
    };
    let line = "HTTP/1.1 101 x";
    // RFC 9110, 7.8 and 15.2.2
    for (line, fields, to, fits) in [
        (
            line,
            "Connection: upgrade\r\nUpgrade: websocket",
            asked,
            true,
        ),
        (
            line,
            "Connection: foo, Upgrade\r\nUpgrade: WebSocket",
            asked,
            true,
        ),
        (line, "Connection: upgrade\r\nUpgrade: websocket", TO, false),
        (line, "Connection: upgrade\r\nUpgrade: h2c", asked, false),
        (
            line,
            "Connection: upgrade\r\nUpgrade: websocket, h2c",
            asked,
            false,
        ),
        (
            line,
            "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c",
            asked,
            false,
        ),
        (
            line,
            "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket",
            asked,
            false,
        ),
        (line, "Connection: upgrade\r\nUpgrade:", asked, false),
        (line, "Connection: upgrade", asked, false),
        (line, "Upgrade: websocket", asked, false),
        (line, "", asked, false),
        (
            "HTTP/1.0 101 x",
            "Connection: upgrade\r\nUpgrade: websocket",
            asked,
            false,
        ),
    ] {
        with(&head(line, fields), to, |answer| match fits {
            true => {
                let answer = answer.unwrap();
                assert!(answer.upgrade && !answer.is_interim && !answer.keep_alive);
                assert_eq!(answer.body, AnswerBody::None);
            }
            false => assert_eq!(answer.err(), Some(BadAnswer::Upgrade), "{fields}"),
        });
    }
}

#[test]
fn contradictions() {
    for (fields, expected) in [
        ("Content-Type: a\r\nContent-Type: a", None),
        (
            "Content-Type: a\r\nContent-Type: b",
            Some(BadAnswer::Contradiction("Content-Type")),
        ),
        (
            "Location: a\r\nLocation: b",
            Some(BadAnswer::Contradiction("Location")),
        ),
        (
            "Content-Range: a\r\ncontent-range: b",
            Some(BadAnswer::Contradiction("Content-Range")),
        ),
        ("Set-Cookie: a\r\nSet-Cookie: b", None),
        ("Date: a\r\nDate: b", None),
    ] {
        let actual = with(&head("HTTP/1.1 200 OK", fields), TO, |answer| answer.err());
        assert_eq!(actual, expected, "{fields}");
    }
}

#[test]
fn transfers() {
    use Version::{Http10, Http11};
    for (fields, client, expected) in [
        ("Content-Length: 5", Http11, Transfer::AsIs(5)),
        ("Content-Length: 5", Http10, Transfer::AsIs(5)),
        ("Content-Length: 0", Http10, Transfer::AsIs(0)),
        ("Transfer-Encoding: chunked", Http11, Transfer::Chunked),
        ("Transfer-Encoding: chunked", Http10, Transfer::UntilClose),
        ("", Http11, Transfer::Chunked),
        ("", Http10, Transfer::UntilClose),
    ] {
        with(&head("HTTP/1.1 200 OK", fields), TO, |answer| {
            assert_eq!(answer.unwrap().transfer(client), expected, "{fields}");
        });
    }
    with(&head("HTTP/1.1 204 x", ""), TO, |answer| {
        assert_eq!(answer.unwrap().transfer(Http10), Transfer::AsIs(0));
    });
}

#[test]
fn heads_that_are_none() {
    for text in [
        &b""[..],
        b"\r\n",
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nx",
    ] {
        with(text, TO, |answer| assert!(answer.is_err(), "{text:?}"));
    }
}

#[test]
fn fields_are_there() {
    with(
        &head("HTTP/1.1 200 OK", "A: 1\r\na:2\r\nConnection: close, b"),
        TO,
        |answer| {
            let answer = answer.unwrap();
            assert!(answer.field(b"A").eq([&b"1"[..], b"2"]));
            assert!(answer.connection_names().eq([&b"b"[..]]));
        },
    );
}
