//! Which connections live on, and the order of pipelined requests.

use anyhow::{Result, ensure};

use crate::harness::*;

const S: &str = "RFC 9112 9.3";
const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// The request is answered, and the connection ends in order after it.
fn ends(
    name: &str,
    section: &'static str,
    why: &'static str,
    request: &'static str,
    answer: &'static str,
) -> Row {
    row(name, section, why, move |lane| {
        let (mut client, backend, _) = lane.exchange(request, answer.as_bytes())?;
        if !answer.contains("Content-Length") && !answer.contains("chunked") {
            drop(backend);
        }
        let got = client.answer("GET")?;
        got.status(200)?;
        ensure!(
            got.body.data == b"ok" && got.body.complete,
            "{:?}",
            got.body
        );
        ensure!(
            got.fields.says_close() || request.contains("HTTP/1.0"),
            "RFC 9112 9.6: the last answer SHOULD say close"
        );
        client.expect_end()
    })
}

/// Answers what comes to the backend, in order, with the target as the body, until it ends.
fn echo_targets(lane: &Lane<'_>, expected: &[&str]) -> Result<()> {
    let mut backend = lane.backend()?;
    for target in expected {
        backend = lane.next_wire(backend)?;
        let request = backend.request()?;
        ensure!(
            request.target == *target,
            "expected {target}, got {}",
            request.target
        );
        let length = target.len();
        backend.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}"
        ))?;
    }
    Ok(())
}

#[test]
fn client_side() {
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    const UNTIL_END: &str = "HTTP/1.1 200 OK\r\n\r\nok";
    const OLD_KEEP: &str = "GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n";
    let lives_after = |name: &'static str, request: &'static str, answer: &'static str| {
        row(name, S, "HTTP/1.1 connections persist", move |lane| {
            let (mut client, backend, _) = lane.exchange(request, answer.as_bytes())?;
            let method = request.split(' ').next().unwrap_or_default();
            let got = client.answer(method)?;
            ensure!(!got.fields.says_close(), "close is said");
            lane.lives(&mut client, backend).map(|_| ())
        })
    };
    run(
        "persistence of client connections",
        vec![
            lives_after("lives after a length", GET, OK),
            lives_after("lives after chunks", GET, CHUNKED),
            lives_after(
                "lives after an empty answer",
                GET,
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
            lives_after("lives after 204", GET, "HTTP/1.1 204 N\r\n\r\n"),
            lives_after("lives after 304", GET, "HTTP/1.1 304 N\r\n\r\n"),
            lives_after(
                "lives after 304 with a length",
                GET,
                "HTTP/1.1 304 N\r\nContent-Length: 100\r\n\r\n",
            ),
            lives_after(
                "lives after HEAD",
                "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
            ),
            lives_after(
                "lives after HEAD with chunks",
                "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            lives_after(
                "lives after an error",
                GET,
                "HTTP/1.1 500 E\r\nContent-Length: 0\r\n\r\n",
            ),
            lives_after(
                "lives after a POST",
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
                OK,
            ),
            lives_after(
                "lives after a chunked POST",
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                OK,
            ),
            lives_after(
                "lives with Connection: keep-alive",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive\r\n\r\n",
                OK,
            ),
            lives_after(
                "lives with another option that resembles close",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: closed, xclose\r\n\r\n",
                OK,
            ),
            row(
                "lives after an answer until the end",
                "RFC 9112 7.1",
                "chunked towards the client, so the connection lives",
                |lane| {
                    let (mut client, backend, _) = lane.exchange(GET, UNTIL_END.as_bytes())?;
                    drop(backend);
                    client.answer("GET")?.status(200)?.body.is("ok")?;
                    client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(OK)?;
                    client.answer("GET")?.status(200).map(|_| ())
                },
            )
            .own(),
            ends(
                "Connection: close",
                "RFC 9112 9.6",
                "closed after the answer",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                OK,
            ),
            ends(
                "Connection: close after chunks",
                "RFC 9112 9.6",
                "closed after the answer",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                CHUNKED,
            ),
            ends(
                "Connection: close, until the end",
                "RFC 9112 9.6",
                "closed after the answer",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                UNTIL_END,
            ),
            ends(
                "Connection: CLOSE",
                "RFC 9110 7.6.1",
                "options are case-insensitive",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: CLOSE\r\n\r\n",
                OK,
            ),
            ends(
                "close in a list",
                "RFC 9110 7.6.1",
                "one option of several",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: x, close ,y\r\n\r\n",
                OK,
            ),
            ends(
                "close in a second field",
                "RFC 9110 7.6.1, 5.3",
                "fields of one name are one list",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: x\r\nConnection: close\r\n\r\n",
                OK,
            ),
            ends(
                "close and keep-alive",
                S,
                "close comes first",
                "GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, close\r\n\r\n",
                OK,
            ),
            ends(
                "HTTP/1.0",
                S,
                "does not persist unless asked",
                "GET / HTTP/1.0\r\nHost: test\r\n\r\n",
                OK,
            ),
            ends(
                "HTTP/1.0 with chunks from the backend",
                "RFC 9112 7, 6.1",
                "never chunked to HTTP/1.0: until the end",
                "GET / HTTP/1.0\r\nHost: test\r\n\r\n",
                CHUNKED,
            ),
            ends(
                "HTTP/1.0, until the end",
                "RFC 9112 6.3",
                "until the end",
                "GET / HTTP/1.0\r\nHost: test\r\n\r\n",
                UNTIL_END,
            ),
            ends(
                "HTTP/1.0 keep-alive with chunks from the backend",
                "RFC 9112 7, 9.3",
                "without a length the connection must end",
                OLD_KEEP,
                CHUNKED,
            ),
            ends(
                "HTTP/1.0 keep-alive, until the end",
                "RFC 9112 6.3, 9.3",
                "without a length the connection must end",
                OLD_KEEP,
                UNTIL_END,
            ),
            ends(
                "HTTP/1.0 keep-alive and close",
                S,
                "close comes first",
                "GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive, close\r\n\r\n",
                OK,
            ),
            row(
                "HTTP/1.0 never gets chunks",
                "RFC 9112 6.1",
                "no Transfer-Encoding to HTTP/1.0",
                |lane| {
                    let (mut client, _backend, _) = lane.exchange(OLD_KEEP, CHUNKED.as_bytes())?;
                    let answer = client.answer("GET")?;
                    answer.fields.lack(&["transfer-encoding"])?;
                    answer.body.is("ok")
                },
            ),
            row(
                "HTTP/1.0 keep-alive",
                "RFC 9112 C.2.2, semantics 6",
                "persists when asked, and says so",
                |lane| {
                    let (mut client, backend, _) = lane.exchange(OLD_KEEP, OK.as_bytes())?;
                    let answer = client.answer("GET")?;
                    answer.status(200)?.body.is("ok")?;
                    ensure!(
                        answer
                            .fields
                            .members("connection")
                            .contains(&"keep-alive".to_string()),
                        "keep-alive is not said"
                    );
                    client.send(OLD_KEEP)?;
                    let mut backend = lane.next_wire(backend)?;
                    backend.request()?;
                    backend.send(OK)?;
                    client.answer("GET")?.body.is("ok")
                },
            ),
            row(
                "the client ends its direction after the request",
                "RFC 9112 9.6, semantics 6",
                "it still gets its answer",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    client.half_close();
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(OK)?;
                    client.answer("GET")?.status(200)?.body.is("ok")?;
                    client.expect_end()
                },
            ),
            row(
                "the client ends its direction after the backend has the request",
                "RFC 9112 9.6",
                "it still gets its answer",
                |lane| {
                    let mut client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request()?.body.is("abc")?;
                    client.half_close();
                    // A second round trip: the end has reached the gateway before the answer does.
                    backend
                        .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n")?;
                    backend.send("1\r\nk\r\n0\r\n\r\n")?;
                    client.answer("POST")?.status(200)?.body.is("ok")?;
                    client.expect_end()
                },
            ),
            row(
                "the client ends its direction after two requests",
                "RFC 9112 9.3.2",
                "both are answered",
                |lane| {
                    let mut client = lane.client_sends("GET /1 HTTP/1.1\r\nHost: test\r\n\r\nGET /2 HTTP/1.1\r\nHost: test\r\n\r\n")?;
                    client.half_close();
                    echo_targets(lane, &["/1", "/2"])?;
                    client.answer("GET")?.body.is("/1")?;
                    client.answer("GET")?.body.is("/2")?;
                    client.expect_end()
                },
            ),
            row(
                "a client's reset aborts the request",
                "RFC 9112 8, 9.5",
                "the backend's work is not wanted any more",
                |lane| {
                    let client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    client.reset()?;
                    backend.expect_gone()
                },
            ),
            row(
                "a client's reset within its body aborts the request",
                "RFC 9112 8",
                "the backend sees that it was cut",
                |lane| {
                    let client = lane.client_sends(
                        "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\nabc",
                    )?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.expect("abc")?;
                    client.reset()?;
                    backend.expect_gone()
                },
            ),
            row(
                "a client's reset within the answer aborts it",
                "RFC 9112 8",
                "the backend's connection is closed",
                |lane| {
                    let mut client = lane.client_sends(GET)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nabc")?;
                    client.answer_head("GET")?;
                    client.reset()?;
                    let pieces = vec![b'x'; 1 << 20];
                    for _ in 0..100 {
                        if backend.send(&pieces).is_err() {
                            return Ok(());
                        }
                    }
                    backend.expect_gone()
                },
            ),
        ],
    );
}

#[test]
fn pipelining() {
    const P: &str = "RFC 9112 9.3.2";
    fn get(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n")
    }
    let in_order = |name: &'static str, octets: String, expected: Vec<&'static str>| {
        row(
            name,
            P,
            "answers come in the order of the requests",
            move |lane| {
                let mut client = lane.client_sends(&octets)?;
                echo_targets(lane, &expected)?;
                for target in &expected {
                    client.answer("GET")?.status(200)?.body.is(target)?;
                }
                Ok(())
            },
        )
    };
    let stops = |name: &'static str, section: &'static str, why: &'static str, octets: String| {
        row(name, section, why, move |lane| {
            let mut client = lane.client_sends(&octets)?;
            echo_targets(lane, &["/1"])?;
            client.answer("GET")?.status(200)?.body.is("/1")?;
            client.expect_end()?;
            lane.nothing_reached()
        })
    };
    let refused_second = |name: &'static str, second: &'static str| {
        let octets = format!("{}{second}{}", get("/1"), get("/3"));
        row(
            name,
            "RFC 9112 9.3.2, 2.2",
            "the first is answered, the second refused, the third never read",
            move |lane| {
                let mut client = lane.client_sends(&octets)?;
                echo_targets(lane, &["/1"])?;
                client.answer("GET")?.status(200)?.body.is("/1")?;
                is_refused(&mut client, &[400, 501, 505])?;
                lane.nothing_reached()
            },
        )
    };
    run(
        "pipelining",
        vec![
            in_order("two GETs", get("/1") + &get("/2"), vec!["/1", "/2"]),
            in_order("five GETs", ["/1", "/2", "/3", "/4", "/5"].map(get).concat(), vec!["/1", "/2", "/3", "/4", "/5"]),
            in_order("a POST between GETs", get("/1") + "POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello" + &get("/3"), vec!["/1", "/2", "/3"]),
            in_order("a chunked POST between GETs", get("/1") + "POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + &get("/3"), vec!["/1", "/2", "/3"]),
            in_order("chunks with trailers and a GET", "POST /1 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: a\r\n\r\n".to_string() + &get("/2"), vec!["/1", "/2"]),
            in_order("a body that looks like a request and a GET", format!("POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 38\r\n\r\n{}{}", "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n", get("/2")), vec!["/1", "/2"]),
            in_order("an empty line between requests", get("/1") + "\r\n" + &get("/2"), vec!["/1", "/2"]),
            in_order("an empty line behind a POST's body", "POST /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello\r\n".to_string() + &get("/2"), vec!["/1", "/2"]),
            in_order("a GET with a body and a GET", "GET /1 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello".to_string() + &get("/2"), vec!["/1", "/2"]),
            row("fifty GETs at once", P, "answers come in the order of the requests", |lane| {
                let targets: Vec<String> = (0..50).map(|number| format!("/{number}")).collect();
                let octets: String = targets.iter().map(|target| get(target)).collect();
                let mut client = lane.client_sends(octets)?;
                echo_targets(lane, &targets.iter().map(String::as_str).collect::<Vec<_>>())?;
                for target in &targets {
                    client.answer("GET")?.status(200)?.body.is(target)?;
                }
                Ok(())
            }),
            row("octet by octet", "RFC 9112 2.1", "a message is not where a segment ends", |lane| {
                let mut client = lane.client()?;
                client.send_each(get("/1") + "POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + &get("/3"))?;
                echo_targets(lane, &["/1", "/2", "/3"])?;
                for target in ["/1", "/2", "/3"] {
                    client.answer("GET")?.status(200)?.body.is(target)?;
                }
                Ok(())
            }),
            stops("a request behind Connection: close", "RFC 9112 9.6", "nothing behind close is processed", format!("GET /1 HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n{}", get("/2"))),
            stops("a request behind HTTP/1.0", S, "nothing follows on a connection that ends", format!("GET /1 HTTP/1.0\r\nHost: test\r\n\r\n{}", get("/2"))),
            refused_second("a second request without Host", "GET /2 HTTP/1.1\r\n\r\n"),
            refused_second("a second request with length and coding", "POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            refused_second("a second request with a bad length", "POST /2 HTTP/1.1\r\nHost: test\r\nContent-Length: +5\r\n\r\nhello"),
            refused_second("a second request of an unknown coding", "POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: cow\r\n\r\nhello"),
            refused_second("garbage as the second request", "garbage\r\n\r\n"),
            refused_second("a second request of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ],
    );
}

#[test]
fn backend_side() {
    const REUSE: &str = "a kept connection serves the next request";
    let reused = |name: &'static str, request: &'static str, answer: &'static str| {
        row(name, "RFC 9112 9.3, semantics 6", REUSE, move |lane| {
            let (mut client, mut backend, _) = lane.exchange(request, answer.as_bytes())?;
            let method = request.split(' ').next().unwrap_or_default();
            client.answer(method)?;
            client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
            let second = backend.request()?;
            ensure!(second.target == "/again");
            backend.send(OK)?;
            client.answer("GET")?.body.is("ok")
        })
        .own()
    };
    let not_reused = |name: &'static str, section: &'static str, answer: &'static str| {
        row(
            name,
            section,
            "the connection does not persist",
            move |lane| {
                let (mut client, mut backend, _) = lane.exchange(GET, answer.as_bytes())?;
                client.answer("GET")?.status(200)?;
                client.send("GET /again HTTP/1.1\r\nHost: test\r\n\r\n")?;
                backend.expect_gone()?;
                let mut fresh = lane.backend()?;
                ensure!(fresh.request()?.target == "/again");
                fresh.send(OK)?;
                client.answer("GET")?.body.is("ok")
            },
        )
    };
    run(
        "persistence of backend connections",
        vec![
            reused("reused after a length", GET, OK),
            reused(
                "reused after chunks",
                GET,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ),
            reused("reused after 204", GET, "HTTP/1.1 204 N\r\n\r\n"),
            reused(
                "reused after 304",
                GET,
                "HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
            ),
            reused(
                "reused after HEAD",
                "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            ),
            reused(
                "reused after POST",
                "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc",
                OK,
            ),
            not_reused(
                "not reused after close",
                "RFC 9112 9.6",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            ),
            not_reused(
                "not reused after Close in a list",
                "RFC 9112 9.6, RFC 9110 7.6.1",
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, Close\r\n\r\nok",
            ),
            not_reused(
                "not reused after HTTP/1.0",
                "RFC 9112 9.3",
                "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            ),
            not_reused(
                "not reused after HTTP/1.0 and close",
                "RFC 9112 9.3",
                "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            ),
            row(
                "a client's close is not passed to the backend",
                "RFC 9110 7.6.1",
                "the backend's connection has its own life",
                |lane| {
                    let (mut client, _backend, request) = lane.exchange(
                        "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n",
                        OK.as_bytes(),
                    )?;
                    ensure!(!request.fields.says_close());
                    client.answer("GET")?.body.is("ok")
                },
            )
            .own(),
            row(
                "a client of HTTP/1.0 does not end the backend's connection",
                "RFC 9112 2.3, 9.3",
                "the backend's connection has its own life",
                |lane| {
                    let (mut client, mut backend, _) =
                        lane.exchange("GET / HTTP/1.0\r\nHost: test\r\n\r\n", OK.as_bytes())?;
                    client.answer("GET")?.body.is("ok")?;
                    let mut other = lane.client_sends(GET)?;
                    backend.request()?;
                    backend.send(OK)?;
                    other.answer("GET")?.body.is("ok")
                },
            )
            .own(),
            row(
                "two clients, two connections",
                "RFC 9112 9.2",
                "answers are matched by connection: none is shared while it is used",
                |lane| {
                    let mut one = lane.client_sends("GET /one HTTP/1.1\r\nHost: test\r\n\r\n")?;
                    let mut first = lane.backend()?;
                    ensure!(first.request()?.target == "/one");
                    let mut two = lane.client_sends("GET /two HTTP/1.1\r\nHost: test\r\n\r\n")?;
                    let mut second = lane.backend()?;
                    ensure!(second.request()?.target == "/two");
                    second.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")?;
                    two.answer("GET")?.body.is("two")?;
                    first.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")?;
                    one.answer("GET")?.body.is("one")
                },
            ),
        ],
    );
}
