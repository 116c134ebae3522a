//! Which backend connections live on.

use anyhow::ensure;

use crate::harness::*;

const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

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
