//! Answers that are unusual, and smuggling from the backend's side.

use anyhow::{Result, ensure};

use crate::answers::{GET, body, ok, or_502};
use crate::harness::*;

/// The client takes nothing of this for an answer of its own: it gets 502, or what `check` wants,
/// and never a second answer.
fn one_answer(
    name: &'static str,
    section: &'static str,
    why: &'static str,
    octets: &'static str,
    check: impl Fn(&Answer) -> Result<()> + Send + Sync + 'static,
) -> Row {
    row(name, section, why, move |lane| {
        let (mut client, backend, _) = lane.exchange(
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
            octets.as_bytes(),
        )?;
        let mut answer = client.answer("GET")?;
        while answer.status < 200 {
            answer = client.answer("GET")?;
        }
        if answer.status != 502 {
            check(&answer)?;
        }
        client.expect_gone()?;
        drop(backend);
        Ok(())
    })
}

#[test]
fn odd() {
    const NEVER: &str = "what is no part of the answer is never delivered";
    run(
        "odd answers",
        vec![
            one_answer(
                "an interim answer with a body",
                "RFC 9110 15.2",
                NEVER,
                "HTTP/1.1 103 E\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                |answer| anyhow::bail!("hello is no answer: {}", answer.status),
            ),
            one_answer(
                "two answers",
                "RFC 9112 9.3",
                NEVER,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
                |answer| answer.body.is("ok"),
            ),
            one_answer(
                "an interim answer behind the final one",
                "RFC 9110 15.2",
                NEVER,
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 103 E\r\n\r\n",
                |answer| answer.body.is("ok"),
            ),
            one_answer(
                "204 with a body",
                "RFC 9112 6.3",
                NEVER,
                "HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\nhello",
                |answer| answer.status(204).map(|_| ()),
            ),
            one_answer(
                "204 with a chunked body",
                "RFC 9112 6.3",
                NEVER,
                "HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                |answer| answer.status(204).map(|_| ()),
            ),
            one_answer(
                "304 with a body",
                "RFC 9112 6.3",
                NEVER,
                "HTTP/1.1 304 N\r\nContent-Length: 5\r\n\r\nhello",
                |answer| answer.status(304).map(|_| ()),
            ),
            one_answer(
                "204 with an answer as its body",
                "RFC 9112 6.3",
                NEVER,
                "HTTP/1.1 204 N\r\nContent-Length: 43\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong",
                |answer| answer.status(204).map(|_| ()),
            ),
            row("HEAD with a body", "RFC 9110 9.3.2", NEVER, |lane| {
                let (mut client, backend, _) = lane.exchange(
                    "HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                )?;
                client.answer("HEAD")?.status(200)?;
                client.expect_gone()?;
                drop(backend);
                Ok(())
            }),
            answered(
                "205 with a body",
                "RFC 9110 15.3.6",
                "a server must not: 502, or framed as it says",
                GET,
                "HTTP/1.1 205 R\r\nContent-Length: 5\r\n\r\nhello",
                Then::Close,
                or_502(|answer| {
                    ensure!(answer.status == 205 && answer.body.complete);
                    Ok(())
                }),
            ),
            answered(
                "an answer whose body looks like chunks",
                "RFC 9112 6.3",
                "the length decides",
                GET,
                ok("Content-Length: 15", "5\r\nhello\r\n0\r\n\r\n"),
                Then::Keep,
                body("5\r\nhello\r\n0\r\n\r\n"),
            ),
            answered(
                "an answer whose chunks look like an answer",
                "RFC 9112 7.1",
                "the sizes decide",
                GET,
                ok(
                    "Transfer-Encoding: chunked",
                    "13\r\nHTTP/1.1 200 OK\r\n\r\n\r\n0\r\n\r\n",
                ),
                Then::Keep,
                body("HTTP/1.1 200 OK\r\n\r\n"),
            ),
            answered(
                "two thousand chunks of one octet",
                "RFC 9112 7.1",
                "all of them",
                GET,
                ok(
                    "Transfer-Encoding: chunked",
                    &("1\r\nx\r\n".repeat(2000) + "0\r\n\r\n"),
                ),
                Then::Keep,
                |answer| answer.status(200)?.body.is("x".repeat(2000)),
            ),
            answered(
                "Content-Encoding is left alone",
                "RFC 9110 8.4",
                "end-to-end",
                GET,
                ok("Content-Encoding: gzip\r\nContent-Length: 5", "hello"),
                Then::Keep,
                |answer| {
                    answer.fields.is("content-encoding", "gzip")?;
                    answer.status(200)?.body.is("hello")
                },
            ),
            answered(
                "206 with its range",
                "RFC 9110 15.3.7",
                "a gateway that keeps nothing passes it on",
                GET,
                "HTTP/1.1 206 P\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello",
                Then::Keep,
                |answer| {
                    answer.fields.is("content-range", "bytes 0-4/10")?;
                    answer.status(206)?.body.is("hello")
                },
            ),
            answered(
                "a backend's own 4xx of framing",
                "RFC 9110 15.5",
                "an answer like any other",
                GET,
                "HTTP/1.1 400 Bad\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
                Then::Close,
                |answer| answer.status(400)?.body.is("no"),
            ),
            answered(
                "a TRACE answer",
                "RFC 9110 9.3.8",
                "passed on",
                "TRACE / HTTP/1.1\r\nHost: test\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: 5\r\n\r\nhello",
                Then::Keep,
                |answer| answer.status(200)?.body.is("hello"),
            )
            .own(),
        ],
    );
}
