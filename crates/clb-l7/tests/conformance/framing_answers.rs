//! Backends' answers: framing, syntax, and what becomes of those that cannot be trusted.

use anyhow::{Result, ensure};

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n";

fn ok(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{body}")
}

fn body(expected: &'static str) -> impl Fn(&Answer) -> Result<()> + Send + Sync {
    move |answer| answer.status(200)?.body.is(expected)
}

/// 502 is as good.
fn or_502(
    check: impl Fn(&Answer) -> Result<()> + Send + Sync,
) -> impl Fn(&Answer) -> Result<()> + Send + Sync {
    move |answer| {
        if answer.status == 502 {
            Ok(())
        } else {
            check(answer)
        }
    }
}

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

#[test]
fn chunks() {
    const S: &str = "RFC 9112 7.1, 8";
    const WHY: &str = "chunks that are wrong or cut never look like a whole answer";
    let bad = [
        ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("a signed size", "+5\r\nhello\r\n0\r\n\r\n"),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
        ("a size with a letter", "5g\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        (
            "a size that overflows",
            "10000000000000005\r\nhello\r\n0\r\n\r\n",
        ),
        ("data longer than the size", "4\r\nhello\r\n0\r\n\r\n"),
        ("a LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("a LF behind the data", "5\r\nhello\n0\r\n\r\n"),
        ("nothing behind the data", "5\r\nhello0\r\n\r\n"),
        ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("a last chunk of minus zero", "5\r\nhello\r\n-0\r\n\r\n"),
        (
            "a second chunk that is none",
            "5\r\nhello\r\nxyz\r\n0\r\n\r\n",
        ),
        ("text", "hello"),
        (
            "a trailer with white space before the colon",
            "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        ),
        ("a trailer without colon", "5\r\nhello\r\n0\r\nX\r\n\r\n"),
    ];
    let cut = [
        ("no last chunk", "5\r\nhello\r\n"),
        ("half a chunk", "5\r\nhel"),
        ("no CRLF behind the data", "5\r\nhello"),
        ("half the last chunk's line", "5\r\nhello\r\n0"),
        ("no empty line at the end", "5\r\nhello\r\n0\r\n"),
        ("half a trailer", "5\r\nhello\r\n0\r\nX-T: y"),
        ("nothing", ""),
    ];
    let mut rows = Vec::new();
    for (name, chunks) in bad {
        rows.push(cut_answer(
            format!("answer's chunks: {name}"),
            S,
            WHY,
            ok("Transfer-Encoding: chunked", chunks),
            Then::Keep,
        ));
    }
    for (name, chunks) in cut {
        for then in [Then::Close, Then::Reset] {
            rows.push(cut_answer(
                format!("answer's chunks: {name}, {then:?}"),
                S,
                WHY,
                ok("Transfer-Encoding: chunked", chunks),
                then,
            ));
        }
    }
    for (name, octets) in [
        ("half", ok("Content-Length: 10", "hello")),
        ("nothing", ok("Content-Length: 10", "")),
        ("all but one", ok("Content-Length: 6", "hello")),
    ] {
        for then in [Then::Close, Then::Reset] {
            rows.push(cut_answer(
                format!("answer's length: {name}, {then:?}"),
                "RFC 9112 8",
                "a short body never looks whole",
                &octets,
                then,
            ));
        }
    }
    rows.push(
        cut_answer(
            "until the end, but reset",
            "RFC 9112 8",
            "a reset is no end of a body",
            ok("X: y", "hello"),
            Then::Reset,
        )
        .own(),
    );
    for (name, octets) in [
        ("nothing", ""),
        ("half a status line", "HTTP/1.1 20"),
        ("a status line", "HTTP/1.1 200 OK\r\n"),
        (
            "half the fields",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        ),
        ("only an interim answer", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ] {
        for then in [Then::Close, Then::Reset] {
            rows.push(row(
                format!("answer's head: {name}, {then:?}"),
                "RFC 9110 15.6.3",
                "no valid answer: 502",
                move |lane| {
                    let (mut client, backend, _) = lane.exchange(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n",
                        octets.as_bytes(),
                    )?;
                    if then == Then::Reset {
                        backend.reset()?;
                    } else {
                        drop(backend);
                    }
                    let mut answer = client.answer("POST")?;
                    if answer.status == 103 {
                        answer = client.answer("POST")?;
                    }
                    answer.status(502).map(|_| ())
                },
            ));
        }
    }
    run("cut and wrong answers", rows);
}

#[test]
fn heads() {
    const S: &str = "RFC 9112 4, RFC 9110 15.6.3";
    const WHY: &str = "what is no HTTP answer is a 502";
    let mut rows: Vec<Row> = [
        ("another protocol", "ICY 200 OK\r\n\r\n"),
        ("no HTTP", "hello, world\r\n\r\n"),
        ("HTTP/0.9", "<html></html>\r\n\r\n"),
        (
            "small letters",
            "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "version 2.0",
            "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        ("version 2", "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            "version 0.9",
            "HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a bad version",
            "HTTP/1.x 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a long version",
            "HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        ("no version", "HTTP 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            "two spaces before the status",
            "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a tab before the status",
            "HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        ("no status", "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            "a status of two digits",
            "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a status of four digits",
            "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a status with a letter",
            "HTTP/1.1 20x OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a signed status",
            "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a negative status",
            "HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        ("a request", "GET / HTTP/1.1\r\nHost: test\r\n\r\n"),
        (
            "NUL in the reason",
            "HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a bare CR in the reason",
            "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a control octet in the reason",
            "HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a field without colon",
            "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a field without name",
            "HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a space in a name",
            "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "NUL in a name",
            "HTTP/1.1 200 OK\r\nX\0: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "a parenthesis in a name",
            "HTTP/1.1 200 OK\r\nX(: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "white space before the first field",
            "HTTP/1.1 200 OK\r\n X: b\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "white space first",
            " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
    ]
    .into_iter()
    .map(|(name, octets)| bad_answer(format!("answer: {name}"), S, WHY, octets))
    .collect();
    rows.push(bad_answer(
        "answer: an octet above 127 in a name",
        S,
        WHY,
        b"HTTP/1.1 200 OK\r\nX\xe9: b\r\nContent-Length: 0\r\n\r\n",
    ));
    fn tidy(answer: &Answer) -> Result<()> {
        answer.status(200)?.body.is("hello")?;
        let value = answer.fields.one("x-a")?;
        ensure!(value.split_whitespace().eq(["b", "c"]), "X-A is {value:?}");
        Ok(())
    }
    rows.extend(
        [
            ("a folded field", "RFC 9112 5.2", "X-A: b\r\n c"),
            ("a field folded with a tab", "RFC 9112 5.2", "X-A: b\r\n\tc"),
            ("white space before a colon", "RFC 9112 5.1", "X-A : b c"),
            ("NUL in a value", "RFC 9110 5.5", "X-A: b\0c"),
            ("a bare CR in a value", "RFC 9112 2.2", "X-A: b\rc"),
        ]
        .map(|(name, section, field)| {
            answered(
                format!("answer: {name}"),
                section,
                "502, or made regular before it is passed on",
                GET,
                ok(&format!("{field}\r\nContent-Length: 5"), "hello"),
                Then::Keep,
                or_502(tidy),
            )
        }),
    );
    rows.extend([
        answered(
            "answer: white space before Content-Length's colon",
            "RFC 9112 5.1",
            "502, or the white space removed",
            GET,
            ok("Content-Length : 5", "hello"),
            Then::Keep,
            or_502(|answer| {
                ensure!(answer.body.framing == Framing::Length(5));
                answer.body.is("hello")
            }),
        ),
        answered(
            "answer: LF as line end",
            "RFC 9112 2.2",
            "502, or taken as line end",
            GET,
            "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
            Then::Close,
            or_502(body("hello")),
        ),
        answered(
            "answer: no reason and no space",
            "RFC 9112 4",
            "the space is required, many leave it out: 502, or made regular",
            GET,
            "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            or_502(body("hello")),
        ),
        answered(
            "answer: an empty reason",
            "RFC 9112 4",
            "the reason may be empty",
            GET,
            "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            body("hello"),
        ),
        answered(
            "answer: a reason in other words",
            "RFC 9112 4",
            "the reason has no meaning",
            GET,
            "HTTP/1.1 200 It is fine: really\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            body("hello"),
        ),
        answered(
            "answer: a reason with octets above 127",
            "RFC 9112 4",
            "obs-text is allowed",
            GET,
            b"HTTP/1.1 200 \xe9t\xe9\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            body("hello"),
        ),
        answered(
            "answer: HTTP/1.0 becomes HTTP/1.1",
            "RFC 9112 2.3",
            "a gateway sends its own version",
            GET,
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            Then::Close,
            body("hello"),
        ),
        answered(
            "answer: HTTP/1.2 becomes HTTP/1.1",
            "RFC 9110 2.5, RFC 9112 2.3",
            "a higher minor version is understood",
            GET,
            "HTTP/1.2 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            body("hello"),
        ),
        answered(
            "answer: an unknown status of a known class",
            "RFC 9110 15",
            "passed on",
            GET,
            "HTTP/1.1 299 Odd\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            |answer| answer.status(299)?.body.is("hello"),
        ),
        answered(
            "answer: 599",
            "RFC 9110 15",
            "passed on",
            GET,
            "HTTP/1.1 599 Odd\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            |answer| answer.status(599)?.body.is("hello"),
        ),
        answered(
            "answer: a status above 599",
            "RFC 9110 15",
            "invalid: treated as a server error",
            GET,
            "HTTP/1.1 600 Odd\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            |answer| {
                ensure!(answer.status >= 500, "got {}", answer.status);
                Ok(())
            },
        ),
        answered(
            "answer: a status below 100",
            "RFC 9110 15",
            "invalid: treated as a server error",
            GET,
            "HTTP/1.1 099 Odd\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            |answer| {
                ensure!(answer.status >= 500, "got {}", answer.status);
                Ok(())
            },
        ),
        answered(
            "answer: status 000",
            "RFC 9110 15",
            "invalid: treated as a server error",
            GET,
            "HTTP/1.1 000 Odd\r\nContent-Length: 5\r\n\r\nhello",
            Then::Keep,
            |answer| {
                ensure!(answer.status >= 500, "got {}", answer.status);
                Ok(())
            },
        ),
        answered(
            "answer: an underscore in a name",
            "RFC 9110 5.1",
            "a token",
            GET,
            ok("X_A: b\r\nContent-Length: 5", "hello"),
            Then::Keep,
            |answer| answer.fields.is("x_a", "b"),
        ),
        answered(
            "answer: obs-text in a value",
            "RFC 9110 5.5",
            "opaque data",
            GET,
            b"HTTP/1.1 200 OK\r\nX-A: \xe9\r\nContent-Length: 0\r\n\r\n",
            Then::Keep,
            |answer| answer.fields.is("x-a", "\u{e9}"),
        ),
    ]);
    run("heads of answers", rows);
}

#[test]
fn after_the_answer() {
    const S: &str = "RFC 9112 9.3, 6.3";
    const WHY: &str = "octets behind an answer belong to nobody";
    const EXTRA: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong";
    let mut rows: Vec<Row> = [
        ("a length", GET, ok("Content-Length: 2", "ok")),
        ("a length of zero", GET, ok("Content-Length: 0", "")),
        (
            "chunks",
            GET,
            ok("Transfer-Encoding: chunked", "2\r\nok\r\n0\r\n\r\n"),
        ),
        ("204", GET, "HTTP/1.1 204 N\r\n\r\n".to_string()),
        (
            "304",
            GET,
            "HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\n".to_string(),
        ),
        ("HEAD", HEAD, ok("Content-Length: 5", "")),
        (
            "HEAD with chunks",
            HEAD,
            ok("Transfer-Encoding: chunked", ""),
        ),
        (
            "401",
            GET,
            "HTTP/1.1 401 N\r\nContent-Length: 0\r\n\r\n".to_string(),
        ),
    ]
    .into_iter()
    .flat_map(|(name, request, answer)| {
        ["garbage", EXTRA, "\r\n", "0\r\n\r\n"].map(|extra| {
            let answer = answer.clone();
            row(
                format!("extra octets behind {name}: {}", extra.escape_default()),
                S,
                WHY,
                move |lane| {
                    let (mut client, mut backend, _) =
                        lane.exchange(request, format!("{answer}{extra}").as_bytes())?;
                    let method = request.split(' ').next().unwrap_or_default();
                    client.answer(method)?;
                    // The connection must not be used again, and the client's goes on (or ends).
                    client.try_send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n");
                    let mut fresh =
                        match lane.backend_within(0, std::time::Duration::from_millis(500))? {
                            Some(fresh) => fresh,
                            None => {
                                ensure!(
                                    backend.so_far()?.is_empty(),
                                    "the doubtful connection is used again"
                                );
                                return client.expect_gone();
                            }
                        };
                    ensure!(fresh.request()?.target == "/again");
                    fresh.send(OK)?;
                    client.answer("GET")?.status(200)?.body.is("ok")?;
                    drop(backend);
                    Ok(())
                },
            )
        })
    })
    .collect();
    rows.push(row(
        "an answer nobody asked for on a kept connection",
        S,
        WHY,
        |lane| {
            let (mut client, mut backend, _) = lane.exchange(GET, OK.as_bytes())?;
            client.answer("GET")?.body.is("ok")?;
            backend.send(EXTRA)?;
            // The gateway closes it, at once or when it would use it.
            client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
            let mut fresh = lane.backend()?;
            ensure!(fresh.request()?.target == "/again");
            fresh.send(OK)?;
            client.answer("GET")?.status(200)?.body.is("ok")?;
            backend.expect_gone()
        },
    ));
    rows.push(row(
        "a 408 on a kept connection",
        "RFC 9110 15.5.9, RFC 9112 9.3",
        "an unsolicited 408 and close are for nobody",
        |lane| {
            let (mut client, mut backend, _) = lane.exchange(GET, OK.as_bytes())?;
            client.answer("GET")?.body.is("ok")?;
            backend
                .send("HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            drop(backend);
            client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
            let mut fresh = lane.backend()?;
            ensure!(fresh.request()?.target == "/again");
            fresh.send(OK)?;
            client.answer("GET")?.status(200)?.body.is("ok")
        },
    ));
    run("after the answer", rows);
}
