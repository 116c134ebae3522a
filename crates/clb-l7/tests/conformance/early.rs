//! Answers that come while the client still sends, and backends that go away.

use anyhow::{Context as _, Result, ensure};

use crate::harness::*;

const S: &str = "RFC 9112 9.3, 9.6";

/// The client has `sent` on its way and more to come when the backend answers.
fn early(name: &str, answer: &'static str, closes: bool, chunks: bool) -> Row {
    row(
        name,
        S,
        "an answer that comes before the request is complete reaches the client whole; no reset eats it",
        move |lane| {
            let head = if chunks {
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n"
            } else {
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8388608\r\n\r\n"
            };
            let mut client = lane.client_sends(head)?;
            let mut backend = lane.backend()?;
            backend.request_head()?;
            let sending =
                client.send_aside(vec![b'x'; if chunks { 8 << 20 } else { (8 << 20) - 1 }])?;
            backend.read_some(1)?;
            backend.send(answer)?;
            if closes {
                drop(backend);
            } else {
                // What still comes is thrown away, until the gateway gives up or the body ends.
                std::thread::spawn(move || backend.rest());
            }
            let answer = client
                .answer("POST")
                .context("the early answer must reach the client")?;
            answer.status(413)?.body.is("no")?;
            client.half_close();
            client.expect_gone()?;
            sending.join().unwrap();
            Ok(())
        },
    )
}

#[test]
fn early_answers() {
    const CLOSE: &str = "HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    const KEEP: &str = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno";
    /// Sends the head and much behind it before it looks for an answer.
    fn refused_loudly(lane: &Lane<'_>, head: &str, statuses: &'static [u16]) -> Result<()> {
        let mut client = lane.client_sends(head)?;
        // Fits into the buffers, so that this does not wait for the gateway to read it.
        client.try_send(vec![b'x'; 100_000]);
        is_refused(&mut client, statuses).map(|_| ())
    }
    run(
        "early answers",
        vec![
            early("413 and close while the client sends", CLOSE, true, false),
            early(
                "413 and close while the client sends chunks",
                CLOSE,
                true,
                true,
            ),
            early(
                "413 while the client sends, the backend reads on",
                KEEP,
                false,
                false,
            ),
            early(
                "413 while the client sends chunks, the backend reads on",
                KEEP,
                false,
                true,
            ),
            row(
                "an early answer and the rest of the body",
                S,
                "the rest is not taken for a request: read to its end, or the connection is closed",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 48\r\n\r\nhello",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.expect("hello")?;
                    backend.send(KEEP)?;
                    client.answer("POST")?.status(413)?.body.is("no")?;
                    client.try_send("xxxxx\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n");
                    client.half_close();
                    drop(backend);
                    client.rest()?;
                    lane.nothing_came_whole()
                },
            ),
            row(
                "a refusal before much that follows",
                "RFC 9112 9.6",
                "lingering close: the refusal is not lost to a reset",
                |lane| {
                    refused_loudly(
                        lane,
                        "POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n",
                        &[400],
                    )
                },
            ),
            row(
                "a refusal of a coding before much that follows",
                "RFC 9112 9.6",
                "lingering close: the refusal is not lost to a reset",
                |lane| {
                    refused_loudly(
                        lane,
                        "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: cow\r\n\r\n",
                        &[400, 501],
                    )
                },
            ),
            row(
                "a 502 before much that follows",
                "RFC 9112 9.6",
                "lingering close: the answer is not lost to a reset",
                |lane| {
                    refused_loudly(
                        lane,
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000\r\n\r\n",
                        &[502],
                    )
                },
            )
            .pool(&[Place::Dead]),
            row(
                "a 503 before much that follows",
                "RFC 9112 9.6",
                "lingering close: the answer is not lost to a reset",
                |lane| {
                    refused_loudly(
                        lane,
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 200000\r\n\r\n",
                        &[503],
                    )
                },
            )
            .pool(&[]),
        ],
    );
}

#[test]
fn lost_backends() {
    const L: &str = "RFC 9110 15.6.3";
    const WHY: &str = "no answer came: 502";
    const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nhello";
    run(
        "lost backends",
        vec![
            row(
                "the backend ends within the request's body",
                L,
                WHY,
                |lane| {
                    let mut client = lane.client_sends(POST)?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.expect("hello")?;
                    drop(backend);
                    client.answer("POST")?.status(502).map(|_| ())
                },
            ),
            row(
                "the backend resets within the request's body",
                L,
                WHY,
                |lane| {
                    let mut client = lane.client_sends(POST)?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.expect("hello")?;
                    backend.reset()?;
                    client.answer("POST")?.status(502).map(|_| ())
                },
            ),
            row(
                "the backend answers half a head within the request's body and ends",
                L,
                WHY,
                |lane| {
                    let mut client = lane.client_sends(POST)?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.expect("hello")?;
                    backend.send("HTTP/1.1 200 OK\r\nContent")?;
                    drop(backend);
                    client.answer("POST")?.status(502).map(|_| ())
                },
            ),
            row(
                "after a 502 with the body half sent",
                "RFC 9112 9.3",
                "the rest of the body is not taken for a request",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 43\r\n\r\nhello",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.expect("hello")?;
                    backend.reset()?;
                    client.answer("POST")?.status(502)?;
                    client.try_send("GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n");
                    client.half_close();
                    client.rest()?;
                    lane.nothing_reached()
                },
            ),
            row(
                "the backend only half-closes after its answer",
                "RFC 9112 9.6",
                "the answer is whole",
                |lane| {
                    let mut client = lane.client_sends("GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send("HTTP/1.1 200 OK\r\n\r\nhello")?;
                    backend.half_close();
                    let answer = client.answer("GET")?;
                    answer.status(200)?.body.is("hello")?;
                    ensure!(answer.body.complete);
                    Ok(())
                },
            ),
        ],
    );
}
