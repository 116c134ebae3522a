//! Content-Length beside Transfer-Encoding, and bodies that are cut.

use anyhow::ensure;

use crate::harness::*;

/// Behind every doubtful request lies one that must never be taken for a request.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{body}")
}

#[test]
fn both() {
    const S: &str = "RFC 9112 6.1, 6.3";
    const WHY: &str =
        "Transfer-Encoding beside Content-Length can be read in two ways: refused, and closed";
    let rows = [
        ("length first", "Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("coding first", "Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
        ("length zero", "Content-Length: 0\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("the length is right for the chunks", "Content-Length: 15\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("a request within the length", "Content-Length: 43\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("a coding in other case", "Content-Length: 5\r\ntransfer-encoding: CHUNKED", "0\r\n\r\n"),
        ("a coding with a tab", "Content-Length: 5\r\nTransfer-Encoding:\tchunked", "0\r\n\r\n"),
        ("identity", "Content-Length: 5\r\nTransfer-Encoding: identity", "hello"),
        ("an unknown coding", "Content-Length: 5\r\nTransfer-Encoding: cow", "hello"),
        ("an empty coding", "Content-Length: 5\r\nTransfer-Encoding:", "hello"),
        ("a quoted coding", "Content-Length: 5\r\nTransfer-Encoding: \"chunked\"", "hello"),
        ("xchunked", "Content-Length: 5\r\nTransfer-Encoding: xchunked", "hello"),
        ("chunked behind a vertical tab", "Content-Length: 5\r\nTransfer-Encoding: \x0bchunked", "hello"),
        ("white space before the coding's colon", "Content-Length: 5\r\nTransfer-Encoding : chunked", "hello"),
        ("white space before the length's colon", "Transfer-Encoding: chunked\r\nContent-Length : 5", "0\r\n\r\n"),
        ("two codings and a length", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: cow", "hello"),
        ("two lengths and a coding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n"),
        ("a bad length", "Content-Length: x\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("an empty length", "Content-Length:\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("a coding in a folded line", "Content-Length: 5\r\nX: y\r\n Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("chunked; q=1", "Content-Length: 5\r\nTransfer-Encoding: chunked;q=1", "hello"),
        ("Connection names the coding", "Connection: Transfer-Encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Connection names the length", "Connection: Content-Length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
    ]
    .map(|(name, fields, chunks)| {
        let octets = post(fields, &format!("{chunks}{SMUGGLED}"));
        refused_by(format!("length and coding: {name}"), S, WHY, &[400, 501], octets)
    });
    run("length and coding", rows.into());
}

#[test]
fn cut_bodies() {
    const S: &str = "RFC 9112 8";
    const WHY: &str = "a request that the client cut is never whole at the backend";
    let rows = [
        (
            "a length that is not reached",
            post("Content-Length: 10", "hello"),
        ),
        (
            "a length of which nothing comes",
            post("Content-Length: 10", ""),
        ),
        ("a length less one", post("Content-Length: 6", "hello")),
        (
            "chunks without the last",
            post("Transfer-Encoding: chunked", "5\r\nhello\r\n"),
        ),
        (
            "half a chunk",
            post("Transfer-Encoding: chunked", "5\r\nhel"),
        ),
        (
            "a chunk without its CRLF",
            post("Transfer-Encoding: chunked", "5\r\nhello"),
        ),
        (
            "half a chunk line",
            post("Transfer-Encoding: chunked", "5\r\nhello\r\n0"),
        ),
        (
            "the last chunk without the empty line",
            post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n"),
        ),
        (
            "half the last CRLF",
            post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r"),
        ),
        (
            "half a trailer",
            post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-T: a"),
        ),
        ("no chunk at all", post("Transfer-Encoding: chunked", "")),
    ]
    .map(|(name, octets)| {
        row(format!("cut body: {name}"), S, WHY, move |lane| {
            let mut client = lane.client_sends(&octets)?;
            client.half_close();
            let (rest, _) = client.rest()?;
            ensure!(
                !rest.starts_with(b"HTTP/1.1 2"),
                "the client gets {}",
                rest.escape_ascii()
            );
            lane.nothing_came_whole()
        })
    });
    run("cut bodies of requests", rows.into());
}
