//! Line ends, and heads that are cut.

use anyhow::{Result, ensure};

use crate::harness::*;

#[test]
fn line_ends() {
    const S: &str = "RFC 9112 2.2";
    const LF: &str = "a recipient may take a single LF as line end, or refuse it; nothing else";
    fn plain(request: &Request) -> Result<()> {
        ensure!(request.target == "/", "the target is {}", request.target);
        request.fields.is("host", "test")?;
        request.fields.is("x-a", "b")
    }
    run(
        "line ends",
        vec![
            either(
                "LF after the request line",
                S,
                LF,
                &[400],
                "GET / HTTP/1.1\nHost: test\r\nX-A: b\r\n\r\n",
                plain,
            ),
            either(
                "LF after a field",
                S,
                LF,
                &[400],
                "GET / HTTP/1.1\r\nHost: test\nX-A: b\r\n\r\n",
                plain,
            ),
            either(
                "LF everywhere",
                S,
                LF,
                &[400],
                "GET / HTTP/1.1\nHost: test\nX-A: b\n\n",
                plain,
            ),
            either(
                "LF as the empty line",
                S,
                LF,
                &[400],
                "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n\n",
                plain,
            ),
            either(
                "LF before the empty line",
                S,
                LF,
                &[400],
                "GET / HTTP/1.1\r\nHost: test\r\nX-A: b\n\r\n",
                plain,
            ),
            refused(
                "CR alone everywhere",
                S,
                "a bare CR is no line end",
                "GET / HTTP/1.1\rHost: test\rX-A: b\r\r\r\n\r\n",
            ),
            refused(
                "LF CR",
                S,
                "a line that begins with CR is no field",
                "GET / HTTP/1.1\n\rHost: test\n\r\n\r\r\n\r\n",
            ),
            passed(
                "an empty line before the request",
                S,
                "a server SHOULD ignore at least one",
                "\r\nGET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n\r\n",
                plain,
            ),
            either(
                "several empty lines before the request",
                S,
                "a server ignores at least one; more is its choice",
                &[400],
                "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n\r\n",
                plain,
            ),
            either(
                "a LF before the request",
                S,
                LF,
                &[400],
                "\nGET / HTTP/1.1\r\nHost: test\r\nX-A: b\r\n\r\n",
                plain,
            ),
            refused(
                "a space and an empty line before the request",
                S,
                "only empty lines are ignored",
                " \r\nGET / HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
            refused(
                "a CR before the request",
                S,
                "a bare CR is no empty line",
                "\rGET / HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
            refused(
                "a NUL before the request",
                "RFC 9112 3",
                "a request line begins with a token",
                "\0GET / HTTP/1.1\r\nHost: test\r\n\r\n",
            ),
        ],
    );
}

#[test]
fn cut_heads() {
    let rows = [
        ("nothing", ""),
        ("an empty line", "\r\n"),
        ("half a method", "GE"),
        ("a request line without version", "GET /\r\n"),
        ("a request line without its end", "GET / HTTP/1.1"),
        ("a request line", "GET / HTTP/1.1\r\n"),
        ("half a field", "GET / HTTP/1.1\r\nHos"),
        ("all but the empty line", "GET / HTTP/1.1\r\nHost: test\r\n"),
        ("all but the last LF", "GET / HTTP/1.1\r\nHost: test\r\n\r"),
    ]
    .map(|(name, octets)| {
        row(
            format!("the client ends after {name}"),
            "RFC 9112 8",
            "an incomplete request is not forwarded; the connection is closed, with or without 400",
            move |lane| {
                let mut client = lane.client_sends(octets)?;
                client.half_close();
                let (rest, _) = client.rest()?;
                ensure!(
                    rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"),
                    "the client gets {}",
                    rest.escape_ascii()
                );
                lane.nothing_reached()
            },
        )
    });
    run("cut heads", rows.into());
}
