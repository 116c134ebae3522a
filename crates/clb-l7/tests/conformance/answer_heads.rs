//! The syntax of heads of answers.

use anyhow::{Result, ensure};

use crate::answers::{GET, body, ok, or_502};
use crate::harness::*;

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
