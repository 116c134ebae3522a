//! Which backend a request goes to when one fails, and what happens when the listener goes.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::harness::Place::{Alive, Dead};
use crate::harness::*;

const S: &str = "semantics 6, RFC 9110 9.2.2";
const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello";

/// The next connection to any of the backends that are alive.
fn any(lane: &Lane<'_>, indexes: &[usize]) -> Result<(usize, Wire)> {
    let started = std::time::Instant::now();
    while started.elapsed() < patience() {
        for &index in indexes {
            if let Some(wire) = lane.backend_within(index, Duration::from_millis(1))? {
                return Ok((index, wire));
            }
        }
    }
    bail!("no connection comes to any backend")
}

fn request(method: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: test\r\n\r\n")
}

#[test]
fn connecting() {
    run(
        "connecting",
        vec![
            row("a dead backend, GET", S, "on connect failure the next is tried, always", |lane| {
                for _ in 0..4 {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend_of(1)?;
                    backend.request()?;
                    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
                    client.answer("GET")?.status(200)?;
                }
                Ok(())
            }).pool(&[Dead, Alive]),
            row("a dead backend, POST with a body", S, "on connect failure the next is tried, always", |lane| {
                for _ in 0..4 {
                    let mut client = lane.client_sends(POST)?;
                    let mut backend = lane.backend_of(1)?;
                    backend.request()?.body.is("hello")?;
                    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?;
                    client.answer("POST")?.status(200)?;
                }
                Ok(())
            }).pool(&[Dead, Alive]),
            row("two dead backends", S, "each once, at most three", |lane| {
                let mut client = lane.client_sends(POST)?;
                let mut backend = lane.backend_of(2)?;
                backend.request()?.body.is("hello")?;
                backend.send(OK)?;
                client.answer("POST")?.status(200).map(|_| ())
            }).pool(&[Dead, Dead, Alive]),
            row("only a dead backend", "semantics 6, RFC 9110 15.6.3", "connect failed: 502", |lane| {
                let mut client = lane.client_sends(GET)?;
                let answer = client.answer("GET")?;
                answer.status(502)?.fields.is("server", "clbd")?;
                Ok(())
            }).pool(&[Dead]),
            row("four dead backends", "semantics 6, RFC 9110 15.6.3", "connect failed: 502", |lane| {
                lane.client_sends(GET)?.answer("GET")?.status(502).map(|_| ())
            }).pool(&[Dead, Dead, Dead, Dead]),
            row("a 502 to a GET without body leaves the connection open or says close", "RFC 9112 9.3, 9.6", "what is said is done", |lane| {
                let mut client = lane.client_sends(GET)?;
                let answer = client.answer("GET")?;
                answer.status(502)?;
                if answer.fields.says_close() {
                    return client.expect_end();
                }
                client.send(GET)?;
                client.answer("GET")?.status(502).map(|_| ())
            }).pool(&[Dead]),
            row("no backend", "semantics 2, RFC 9110 15.6.4", "503", |lane| {
                let answer = lane.client_sends(GET)?.answer("GET")?;
                answer.status(503)?.fields.is("server", "clbd")?;
                ensure!(latin1(&answer.body.data).contains("503"));
                Ok(())
            }).pool(&[]),
            row("no backend, HEAD", "RFC 9110 9.3.2", "no answer to HEAD has a body", |lane| {
                let mut client = lane.client_sends("HEAD / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
                client.answer("HEAD")?.status(503)?;
                client.expect_end()
            }).pool(&[]),
            row("no backend, and a body that follows", "RFC 9112 9.3", "the body is not taken for a request", |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")?;
                client.answer("POST")?.status(503)?;
                client.half_close();
                client.expect_gone()
            }).pool(&[]),
        ],
    );
}

#[test]
fn retries() {
    const CLOSED: &str = "a request that a fresh backend did not answer goes to another only if it is idempotent and has no body";
    let mut rows = Vec::new();
    for method in ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        for reset in [false, true] {
            rows.push(
                row(
                    format!(
                        "{method} that is not answered ({})",
                        if reset { "reset" } else { "closed" }
                    ),
                    S,
                    CLOSED,
                    move |lane| {
                        let mut client = lane.client_sends(request(method))?;
                        let (first, mut backend) = any(lane, &[0, 1])?;
                        backend.request()?;
                        if reset {
                            backend.reset()?
                        } else {
                            drop(backend)
                        }
                        let (second, mut backend) = any(lane, &[0, 1])?;
                        ensure!(first != second, "the same backend again");
                        ensure!(backend.request()?.method == method);
                        backend.send("HTTP/1.1 204 N\r\n\r\n")?;
                        client.answer(method)?.status(204).map(|_| ())
                    },
                )
                .pool(&[Alive, Alive]),
            );
        }
    }
    let once = |name: &'static str, octets: String, said: &'static str| {
        row(name, S, CLOSED, move |lane| {
            let mut client = lane.client_sends(&octets)?;
            let (_, mut backend) = any(lane, &[0, 1])?;
            backend.request()?;
            backend.send(said)?;
            drop(backend);
            client.answer("GET")?.status(502)?;
            for index in [0, 1] {
                ensure!(
                    lane.backend_within(index, Duration::from_millis(20))?
                        .is_none(),
                    "tried again"
                );
            }
            Ok(())
        })
        .pool(&[Alive, Alive])
    };
    rows.extend([
        once(
            "POST without a body that is not answered",
            request("POST").replace("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
            "",
        ),
        once("PATCH that is not answered", request("PATCH"), ""),
        once(
            "an unknown method that is not answered",
            request("FROB"),
            "",
        ),
        once(
            "PUT with a body that is not answered",
            "PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_string(),
            "",
        ),
        once(
            "GET of which half an answer came",
            GET.to_string(),
            "HTTP/1.1 200 OK\r\nConte",
        ),
        once(
            "GET of which one octet of an answer came",
            GET.to_string(),
            "H",
        ),
        row(
            "one backend that does not answer",
            S,
            "each backend once: 502",
            |lane| {
                let mut client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                drop(backend);
                client.answer("GET")?.status(502)?;
                ensure!(
                    lane.backend_within(0, Duration::from_millis(20))?.is_none(),
                    "tried again"
                );
                Ok(())
            },
        )
        .own(),
        row(
            "five backends that do not answer",
            S,
            "at most three",
            |lane| {
                let mut client = lane.client_sends(GET)?;
                for _ in 0..3 {
                    any(lane, &[0, 1, 2, 3, 4])?.1.request()?;
                }
                client.answer("GET")?.status(502)?;
                for index in 0..5 {
                    ensure!(
                        lane.backend_within(index, Duration::from_millis(5))?
                            .is_none(),
                        "a fourth try"
                    );
                }
                Ok(())
            },
        )
        .pool(&[Alive; 5]),
        row(
            "an error answer is an answer",
            S,
            "5xx from a backend is not tried again",
            |lane| {
                let mut client = lane.client_sends(GET)?;
                let (_, mut backend) = any(lane, &[0, 1])?;
                backend.request()?;
                backend.send("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno")?;
                client.answer("GET")?.status(503)?.body.is("no")
            },
        )
        .pool(&[Alive, Alive]),
    ]);
    run("retries", rows);
}

#[test]
fn kept_connections() {
    const WHY: &str = "a kept connection that was closed under the request: once more on a fresh one, if it may be repeated";
    /// A client and the kept connection that its first request left behind.
    fn kept(lane: &Lane<'_>) -> Result<(Wire, Wire)> {
        let (mut client, backend, _) = lane.exchange(GET, OK.as_bytes())?;
        client.answer("GET")?.status(200)?;
        Ok((client, backend))
    }
    fn again(lane: &Lane<'_>, client: &mut Wire) -> Result<()> {
        let mut fresh = lane.backend().context("a fresh connection must come")?;
        fresh.request()?;
        fresh.send(OK)?;
        client.answer("GET")?.status(200)?.body.is("ok")
    }
    let mut rows: Vec<Row> = ["GET", "OPTIONS", "PUT", "DELETE"]
        .into_iter()
        .flat_map(|method| {
            [false, true].map(|reset| {
                row(
                    format!("{method} on a kept connection that is closed under it ({reset})"),
                    "RFC 9112 9.3.1, semantics 6",
                    WHY,
                    move |lane| {
                        let (mut client, mut backend) = kept(lane)?;
                        client.send(request(method))?;
                        backend.request()?;
                        if reset {
                            backend.reset()?
                        } else {
                            drop(backend)
                        }
                        again(lane, &mut client)
                    },
                )
                .own()
            })
        })
        .collect();
    rows.extend([
        row(
            "POST with a body on a kept connection that is closed under it",
            "RFC 9110 9.2.2",
            "not repeated: 502",
            |lane| {
                let (mut client, mut backend) = kept(lane)?;
                client.send(POST)?;
                backend.request()?;
                drop(backend);
                client.answer("POST")?.status(502)?;
                ensure!(
                    lane.backend_within(0, Duration::from_millis(20))?.is_none(),
                    "tried again"
                );
                Ok(())
            },
        )
        .own(),
        row(
            "POST without a body on a kept connection that is closed under it",
            "RFC 9110 9.2.2",
            "not repeated: 502",
            |lane| {
                let (mut client, mut backend) = kept(lane)?;
                client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")?;
                backend.request()?;
                drop(backend);
                client.answer("POST")?.status(502)?;
                ensure!(
                    lane.backend_within(0, Duration::from_millis(20))?.is_none(),
                    "tried again"
                );
                Ok(())
            },
        )
        .own(),
        row(
            "PUT with a body that was sent on a kept connection that is closed under it",
            "semantics 6",
            "the body cannot be sent again: 502",
            |lane| {
                let (mut client, mut backend) = kept(lane)?;
                client.send("PUT / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")?;
                backend.request()?;
                drop(backend);
                client.answer("PUT")?.status(502).map(|_| ())
            },
        )
        .own(),
        row(
            "a fresh connection after a kept one is tried once",
            "semantics 6",
            "once more, not for ever",
            |lane| {
                let (mut client, mut backend) = kept(lane)?;
                client.send(GET)?;
                backend.request()?;
                drop(backend);
                let mut fresh = lane.backend()?;
                fresh.request()?;
                drop(fresh);
                client.answer("GET")?.status(502)?;
                ensure!(
                    lane.backend_within(0, Duration::from_millis(20))?.is_none(),
                    "a third try"
                );
                Ok(())
            },
        )
        .own(),
        row(
            "a kept connection that half an answer came on",
            "RFC 9110 9.2.2",
            "an answer has begun: 502",
            |lane| {
                let (mut client, mut backend) = kept(lane)?;
                client.send(GET)?;
                backend.request()?;
                backend.send("HTTP/1.1 2")?;
                drop(backend);
                client.answer("GET")?.status(502).map(|_| ())
            },
        )
        .own(),
    ]);
    for reset in [false, true] {
        rows.push(
            row(
                format!("POST when the kept connection was closed before it ({reset})"),
                "semantics 6",
                "validated before reuse: a fresh connection",
                move |lane| {
                    let (mut client, backend) = kept(lane)?;
                    if reset {
                        backend.reset()?
                    } else {
                        drop(backend)
                    }
                    client.send(POST)?;
                    let mut fresh = lane.backend()?;
                    fresh.request()?.body.is("hello")?;
                    fresh.send(OK)?;
                    client.answer("POST")?.status(200)?.body.is("ok")
                },
            )
            .own(),
        );
    }
    run("kept connections", rows);
}
