//! Backends' answers: framing, syntax, and what becomes of those that cannot be trusted.

use anyhow::ensure;

use crate::answers::{GET, HEAD, body, ok, or_502};
use crate::harness::*;

#[test]
fn framing() {
    const S: &str = "RFC 9112 6.3";
    run(
        "framing of answers",
        vec![
            answered(
                "a length",
                S,
                "the body is as long as said",
                GET,
                ok("Content-Length: 5", "hello"),
                Then::Keep,
                |answer| {
                    ensure!(
                        answer.body.framing == Framing::Length(5),
                        "{:?}",
                        answer.body.framing
                    );
                    body("hello")(answer)
                },
            ),
            answered(
                "a length of zero",
                S,
                "an empty body",
                GET,
                ok("Content-Length: 0", ""),
                Then::Keep,
                body(""),
            ),
            answered(
                "a length with leading zeros",
                "RFC 9110 8.6",
                "1*DIGIT",
                GET,
                ok("Content-Length: 005", "hello"),
                Then::Keep,
                or_502(body("hello")),
            ),
            answered(
                "chunks",
                S,
                "passed on with any framing",
                GET,
                ok("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
                Then::Keep,
                body("hello"),
            ),
            answered(
                "Chunks in other cases",
                "RFC 9112 7",
                "codings are case-insensitive",
                GET,
                ok("transfer-encoding: CHUNKED", "5\r\nhello\r\n0\r\n\r\n"),
                Then::Keep,
                body("hello"),
            ),
            answered(
                "no chunk but the last",
                S,
                "an empty body",
                GET,
                ok("Transfer-Encoding: chunked", "0\r\n\r\n"),
                Then::Keep,
                body(""),
            ),
            answered(
                "chunk extensions",
                "RFC 9112 7.1.1",
                "unrecognised ones are ignored",
                GET,
                ok(
                    "Transfer-Encoding: chunked",
                    "5;a=b\r\nhello\r\n0;c\r\n\r\n",
                ),
                Then::Keep,
                body("hello"),
            ),
            answered(
                "trailers",
                "RFC 9110 6.5",
                "passed on as trailers or discarded",
                GET,
                ok(
                    "Transfer-Encoding: chunked",
                    "5\r\nhello\r\n0\r\nX-T: a\r\n\r\n",
                ),
                Then::Keep,
                |answer| {
                    answer.fields.lack(&["x-t"])?;
                    body("hello")(answer)
                },
            ),
            answered(
                "trailers that frame",
                "RFC 9110 6.5.1",
                "never merged, never passed on",
                GET,
                ok(
                    "Transfer-Encoding: chunked",
                    "5\r\nhello\r\n0\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\n",
                ),
                Then::Keep,
                |answer| {
                    if answer.status == 502 {
                        return Ok(());
                    }
                    answer.fields.lack(&["content-length", "set-cookie"])?;
                    ensure!(answer.body.data == b"hello");
                    answer.body.trailers.lack(&["content-length"])
                },
            )
            .own(),
            answered(
                "until the end",
                S,
                "no length: until the connection ends",
                GET,
                ok("X: y", "hello"),
                Then::Close,
                body("hello"),
            ),
            answered(
                "until the end, to HTTP/1.1 in chunks",
                "RFC 9112 6.3, 7.1",
                "so that the client can tell a cut answer",
                GET,
                ok("X: y", "hello"),
                Then::Close,
                |answer| {
                    ensure!(
                        answer.body.framing == Framing::Chunked,
                        "{:?}",
                        answer.body.framing
                    );
                    body("hello")(answer)
                },
            )
            .own(),
            answered(
                "until the end, nothing",
                S,
                "an empty body",
                GET,
                ok("X: y", ""),
                Then::Close,
                body(""),
            ),
            answered(
                "HTTP/1.0, until the end",
                S,
                "no length: until the connection ends",
                GET,
                "HTTP/1.0 200 OK\r\n\r\nhello",
                Then::Close,
                body("hello"),
            ),
            answered(
                "HTTP/1.0 with a length",
                S,
                "as in HTTP/1.1",
                GET,
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                Then::Close,
                body("hello"),
            ),
            answered(
                "HTTP/1.0 with a length and an open connection",
                S,
                "the length decides",
                GET,
                "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                Then::Keep,
                body("hello"),
            ),
            answered(
                "error answers have bodies",
                S,
                "framing does not depend on the class",
                GET,
                "HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\nhello",
                Then::Keep,
                |answer| answer.status(500)?.body.is("hello"),
            ),
            answered(
                "a body of a 201",
                S,
                "framing does not depend on it",
                GET,
                "HTTP/1.1 201 C\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                Then::Keep,
                |answer| answer.status(201)?.body.is("hello"),
            ),
            answered(
                "HEAD with a length",
                "RFC 9110 9.3.2",
                "the length is passed on, there is no body",
                HEAD,
                ok("Content-Length: 5", ""),
                Then::Keep,
                |answer| answer.status(200)?.fields.is("content-length", "5"),
            ),
            answered(
                "HEAD with chunks announced",
                "RFC 9110 9.3.2",
                "there is no body",
                HEAD,
                ok("Transfer-Encoding: chunked", ""),
                Then::Keep,
                |answer| answer.status(200).map(|_| ()),
            ),
            answered(
                "HEAD without length",
                "RFC 9110 9.3.2, RFC 9112 6.3",
                "there is no body, the end need not be awaited",
                HEAD,
                ok("X: y", ""),
                Then::Keep,
                |answer| answer.status(200).map(|_| ()),
            ),
            answered(
                "204",
                "RFC 9112 6.3",
                "there is no body",
                GET,
                "HTTP/1.1 204 N\r\n\r\n",
                Then::Keep,
                |answer| answer.status(204).map(|_| ()),
            ),
            answered(
                "204 with a length of zero",
                "RFC 9110 8.6",
                "must not be passed on with Content-Length",
                GET,
                "HTTP/1.1 204 N\r\nContent-Length: 0\r\n\r\n",
                Then::Keep,
                or_502(|answer| answer.status(204).map(|_| ())),
            ),
            answered(
                "204 with a length",
                "RFC 9110 8.6",
                "must not be passed on with Content-Length",
                GET,
                "HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n",
                Then::Keep,
                or_502(|answer| answer.status(204).map(|_| ())),
            ),
            answered(
                "204 with a coding",
                "RFC 9112 6.1",
                "must not be passed on with Transfer-Encoding",
                GET,
                "HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n",
                Then::Keep,
                or_502(|answer| answer.status(204).map(|_| ())),
            ),
            answered(
                "304 with a length",
                "RFC 9110 15.4.5, 8.6",
                "the length is that of a 200; there is no body",
                GET,
                "HTTP/1.1 304 N\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
                Then::Keep,
                |answer| answer.status(304)?.fields.is("etag", "\"a\""),
            ),
            answered(
                "304 with a coding",
                "RFC 9112 6.1, 6.3",
                "there is no body",
                GET,
                "HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n",
                Then::Keep,
                or_502(|answer| answer.status(304).map(|_| ())),
            ),
            answered(
                "205 with a length of zero",
                "RFC 9110 15.3.6",
                "an empty body",
                GET,
                "HTTP/1.1 205 R\r\nContent-Length: 0\r\n\r\n",
                Then::Keep,
                |answer| answer.status(205)?.body.is(""),
            ),
            answered(
                "205 with an empty chunked body",
                "RFC 9110 15.3.6",
                "an empty body",
                GET,
                "HTTP/1.1 205 R\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                Then::Keep,
                |answer| answer.status(205)?.body.is(""),
            ),
        ],
    );
}

#[test]
fn doubtful_framing() {
    const S: &str = "RFC 9112 6.3";
    const WHY: &str =
        "a gateway discards the answer, sends 502 and closes the backend's connection";
    let mut rows: Vec<Row> = [
        "+5",
        "-5",
        "5 5",
        "5, 6",
        "6,5",
        "0x5",
        "5a",
        "a",
        "5.0",
        "",
        "\"5\"",
        "5;",
        "18446744073709551616",
        "99999999999999999999999",
        "5\x0b",
        "\x0c5",
        "5\0",
        "1e1",
        "5, x",
    ]
    .into_iter()
    .map(|value| {
        bad_answer(
            format!("answer with Content-Length {value:?}"),
            S,
            WHY,
            ok(&format!("Content-Length: {value}"), "hello"),
        )
    })
    .collect();
    rows.extend(
        [
            (
                "two lengths that differ",
                "Content-Length: 5\r\nContent-Length: 6",
            ),
            (
                "two lengths that differ, the other way",
                "Content-Length: 6\r\nContent-Length: 5",
            ),
            (
                "a good length and a bad one",
                "Content-Length: 5\r\nContent-Length: x",
            ),
            (
                "a good length and an empty one",
                "Content-Length: 5\r\nContent-Length:",
            ),
            (
                "length and coding",
                "Content-Length: 5\r\nTransfer-Encoding: chunked",
            ),
            (
                "coding and length",
                "Transfer-Encoding: chunked\r\nContent-Length: 5",
            ),
            (
                "a length of zero and a coding",
                "Content-Length: 0\r\nTransfer-Encoding: chunked",
            ),
            (
                "length and an unknown coding",
                "Content-Length: 5\r\nTransfer-Encoding: cow",
            ),
            (
                "length and identity",
                "Content-Length: 5\r\nTransfer-Encoding: identity",
            ),
            ("coding gzip", "Transfer-Encoding: gzip"),
            ("coding cow", "Transfer-Encoding: cow"),
            ("coding identity", "Transfer-Encoding: identity"),
            ("coding gzip, chunked", "Transfer-Encoding: gzip, chunked"),
            ("coding chunked, gzip", "Transfer-Encoding: chunked, gzip"),
            (
                "coding chunked twice",
                "Transfer-Encoding: chunked, chunked",
            ),
            (
                "two coding fields",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            ),
            (
                "two coding fields, one unknown",
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
            ),
            ("coding xchunked", "Transfer-Encoding: xchunked"),
            ("coding with a parameter", "Transfer-Encoding: chunked;a=b"),
            ("coding in quotes", "Transfer-Encoding: \"chunked\""),
            (
                "coding with a vertical tab",
                "Transfer-Encoding: \x0bchunked",
            ),
            ("an empty coding", "Transfer-Encoding:"),
        ]
        .map(|(name, fields)| {
            bad_answer(
                format!("answer with {name}"),
                "RFC 9112 6.1, 6.3",
                WHY,
                ok(fields, "5\r\nhello\r\n0\r\n\r\n"),
            )
        }),
    );
    rows.push(bad_answer(
        "HTTP/1.0 answer with a coding",
        "RFC 9112 6.1",
        "framing is faulty",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ));
    for (name, fields) in [
        (
            "two equal lengths",
            "Content-Length: 5\r\nContent-Length: 5",
        ),
        ("a list of equal lengths", "Content-Length: 5, 5"),
    ] {
        rows.push(answered(
            format!("answer with {name}"),
            "RFC 9110 8.6",
            "refused or made one",
            GET,
            ok(fields, "hello"),
            Then::Keep,
            or_502(body("hello")),
        ));
    }
    run("doubtful framing of answers", rows);
}
