//! What happens when somebody is silent or slow. The times are short but for the one side that
//! must not run out in a row; a slow machine makes these rows slower, not wrong.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::harness::*;

const S: &str = "interfaces: timeouts";
const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);

/// Sends a piece at a time, slowly, until something comes back or the pieces are used up; gives
/// back whether something came.
fn drip(client: &mut Wire, pieces: impl IntoIterator<Item = u8>) -> Result<bool> {
    for piece in pieces {
        client.try_send([piece]);
        std::thread::sleep(SHORT / 10);
        if !client.so_far()?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn slow_heads() {
    let settings = Settings {
        client_header: SHORT,
        ..Settings::default()
    };
    const WHY: &str =
        "client_header bounds a head from accept or its first octet to its end: 408 and close";
    run_with(
        "slow heads",
        settings,
        vec![
            row("half a head and silence", "RFC 9110 15.5.9", WHY, |lane| {
                let mut client = lane.client_sends("GET / HTTP/1.1\r\nHos")?;
                is_refused(&mut client, &[408])?;
                lane.nothing_reached()
            })
            .own(),
            row(
                "a request line and silence",
                "RFC 9110 15.5.9",
                WHY,
                |lane| {
                    let mut client = lane.client_sends("GET / HTTP/1.1\r\n")?;
                    is_refused(&mut client, &[408])?;
                    lane.nothing_reached()
                },
            )
            .own(),
            row("not an octet", S, "closed, with or without 408", |lane| {
                let mut client = lane.client()?;
                let (rest, _) = client.rest()?;
                ensure!(
                    rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
                    "{}",
                    rest.escape_ascii()
                );
                Ok(())
            })
            .own(),
            row(
                "only empty lines",
                S,
                "closed, with or without 408",
                |lane| {
                    let mut client = lane.client_sends("\r\n")?;
                    let (rest, _) = client.rest()?;
                    ensure!(
                        rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"),
                        "{}",
                        rest.escape_ascii()
                    );
                    Ok(())
                },
            )
            .own(),
            row(
                "a head octet by octet without end",
                S,
                "an octet now and then does not prolong the time",
                |lane| {
                    let mut client = lane.client_sends("GET / HTTP/1.1\r\nHost: test\r\nX-A: ")?;
                    ensure!(drip(&mut client, (0..100).map(|_| b'a'))?, "never refused");
                    is_refused(&mut client, &[408])?;
                    lane.nothing_reached()
                },
            )
            .own(),
            row(
                "half a second head and silence",
                "RFC 9110 15.5.9",
                "on a kept connection as on a new one",
                |lane| {
                    let (mut client, backend, _) = lane.exchange(GET, OK.as_bytes())?;
                    client.answer("GET")?.status(200)?;
                    client.send("GET / HT")?;
                    is_refused(&mut client, &[408])?;
                    lane.nothing_reached_over(Some(backend))
                },
            )
            .own(),
        ],
    );
}

#[test]
fn slow_bodies() {
    let settings = Settings {
        client_body: SHORT,
        ..Settings::default()
    };
    const WHY: &str = "client_body bounds the time between two reads: 408 and close; the backend never gets the whole";
    run_with(
        "slow bodies",
        settings,
        vec![
            row("half a body and silence", "RFC 9110 15.5.9", WHY, |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\nhello")?;
                is_refused(&mut client, &[408])?;
                lane.nothing_came_whole()
            }).own(),
            row("no body and silence", "RFC 9110 15.5.9", WHY, |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n")?;
                is_refused(&mut client, &[408])?;
                lane.nothing_came_whole()
            }).own(),
            row("half the chunks and silence", "RFC 9110 15.5.9", WHY, |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")?;
                is_refused(&mut client, &[408])?;
                lane.nothing_came_whole()
            }).own(),
            row("half a chunk and silence", "RFC 9110 15.5.9", WHY, |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")?;
                is_refused(&mut client, &[408])?;
                lane.nothing_came_whole()
            }).own(),
            row("a slow body is no silent one", S, "the time runs between two reads", |lane| {
                let mut client = lane.client_sends("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n")?;
                ensure!(!drip(&mut client, *b"01234567890123456789")?, "refused although it went on");
                let mut backend = lane.backend()?;
                backend.request()?.body.is("01234567890123456789")?;
                backend.send(OK)?;
                client.answer("POST")?.status(200).map(|_| ())
            }).own(),
            row("a client that never takes its answer", S, "client_body bounds the time between two writes too", |lane| {
                let client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                backend.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")?;
                let block = vec![b'x'; 1 << 20];
                for _ in 0..1000 {
                    if backend.send(&block).is_err() {
                        drop(client);
                        return Ok(());
                    }
                }
                anyhow::bail!("a thousand MiB were taken for a client that reads nothing")
            }).own(),
        ],
    );
}

#[test]
fn silent_backends() {
    let settings = Settings {
        backend_response: SHORT,
        ..Settings::default()
    };
    const WHY: &str =
        "backend_response bounds the silence: 504, and the connection is not used again";
    let silent = |name: &'static str, request: &'static str, said: &'static str| {
        row(name, "RFC 9110 15.6.5", WHY, move |lane| {
            let mut client = lane.client_sends(request)?;
            let mut backend = lane.backend()?;
            backend.request()?;
            backend.send(said)?;
            let mut answer = client.answer("GET")?;
            if answer.status < 200 {
                answer = client.answer("GET")?;
            }
            answer.status(504)?;
            backend.expect_gone()
        })
        .own()
    };
    run_with(
        "silent backends",
        settings,
        vec![
            silent("no answer", GET, ""),
            silent(
                "no answer to a POST",
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
                "",
            ),
            silent("half a status line", GET, "HTTP/1.1 20"),
            silent("half a head", GET, "HTTP/1.1 200 OK\r\nContent-Le"),
            silent(
                "an interim answer and silence",
                GET,
                "HTTP/1.1 103 E\r\n\r\n",
            ),
            row(
                "half a body and silence",
                "RFC 9112 8",
                "the answer has begun: it is cut, visibly",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")?;
                    let answer = client.answer("GET")?;
                    ensure!(
                        answer.status == 200
                            && !answer.body.complete
                            && answer.body.data == b"hello"
                    );
                    backend.expect_gone()
                },
            )
            .own(),
            row(
                "half the chunks and silence",
                "RFC 9112 8",
                "the answer has begun: it is cut, visibly",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                    )?;
                    let answer = client.answer("GET")?;
                    ensure!(answer.status == 200 && !answer.body.complete);
                    backend.expect_gone()
                },
            )
            .own(),
            row(
                "until the end, and silence",
                "RFC 9112 8",
                "silence is no end of a body",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send("HTTP/1.1 200 OK\r\n\r\nhello")?;
                    let answer = client.answer("GET")?;
                    ensure!(answer.status == 200 && !answer.body.complete);
                    backend.expect_gone()
                },
            )
            .own(),
            row(
                "a slow answer is no silent one",
                S,
                "the time runs between two reads",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")?;
                    for piece in *b"01234567890123456789" {
                        backend.send([piece])?;
                        std::thread::sleep(SHORT / 10);
                    }
                    client.answer("GET")?.body.is("01234567890123456789")
                },
            )
            .own(),
            row(
                "the request's body takes longer than an answer may",
                S,
                "the time for the answer runs from the end of the request",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20\r\n\r\n",
                    )?;
                    ensure!(
                        !drip(&mut client, *b"01234567890123456789")?,
                        "answered although it went on"
                    );
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(OK)?;
                    client.answer("POST")?.status(200).map(|_| ())
                },
            )
            .own(),
        ],
    );
}

#[test]
fn idle() {
    let settings = Settings {
        client_keepalive: SHORT,
        drain_idle: SHORT / 2,
        backend_keepalive: SHORT,
        tunnel_idle: SHORT,
        ..Settings::default()
    };
    run_with(
        "idle connections",
        settings,
        vec![
            row("an idle client's connection ends", "RFC 9112 9.5", "in order, without an answer to nothing", |lane| {
                let (mut client, _backend, _) = lane.exchange(GET, OK.as_bytes())?;
                client.answer("GET")?.status(200)?;
                client.expect_end()
            }).own(),
            row("an idle client's connection when the listener goes", "semantics 7", "it ends in order after drain_idle", |lane| {
                let (mut client, _backend, _) = lane.exchange(GET, OK.as_bytes())?;
                client.answer("GET")?.status(200)?;
                lane.remove_listener()?;
                client.expect_end()
            }).own(),
            row("an idle backend's connection ends", "RFC 9112 9.5", "kept no longer than backend_keepalive", |lane| {
                let (mut client, mut backend, _) = lane.exchange(GET, OK.as_bytes())?;
                client.answer("GET")?.status(200)?;
                backend.expect_gone()
            }).own(),
            row("an idle tunnel ends on both sides", "interfaces: timeouts", "tunnel_idle", |lane| {
                let mut client = lane.client_sends("GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
                let mut backend = lane.backend()?;
                backend.request()?;
                backend.send("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")?;
                client.answer_head("GET")?.status(101)?;
                client.expect_gone()?;
                backend.expect_gone()
            }).own(),
            row("a request in flight is not idle", "interfaces: timeouts", "client_keepalive runs between requests", |lane| {
                let mut client = lane.client_sends(GET)?;
                let mut backend = lane.backend()?;
                backend.request()?;
                std::thread::sleep(SHORT * 2);
                backend.send(OK)?;
                client.answer("GET")?.status(200).map(|_| ())
            }).own(),
        ],
    );
}
