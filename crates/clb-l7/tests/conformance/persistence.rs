//! Which connections live on, and the order of pipelined requests.

use anyhow::ensure;

use crate::harness::*;
use crate::pipelining::echo_targets;

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
