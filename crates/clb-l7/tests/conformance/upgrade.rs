//! Upgrades: WebSocket and others, as a tunnel after a valid 101 only.

use anyhow::{Result, ensure};

use crate::harness::*;

const S: &str = "RFC 9110 7.8, RFC 6455 4";
const ASK: &str = "GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nOrigin: http://test\r\n\r\n";
const YES: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Both ends of a tunnel.
fn tunnel(lane: &Lane<'_>) -> Result<(Wire, Wire)> {
    let mut client = lane.client_sends(ASK)?;
    let mut backend = lane.backend()?;
    let request = backend.request()?;
    ensure!(
        request.fields.members("upgrade") == ["websocket"],
        "{:?}",
        request.fields
    );
    ensure!(
        request
            .fields
            .members("connection")
            .contains(&"upgrade".to_string()),
        "{:?}",
        request.fields
    );
    request
        .fields
        .is("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")?;
    request.fields.is("sec-websocket-version", "13")?;
    backend.send(YES)?;
    let answer = client.answer_head("GET")?;
    answer.status(101)?;
    ensure!(answer.fields.members("upgrade") == ["websocket"]);
    ensure!(
        answer
            .fields
            .members("connection")
            .contains(&"upgrade".to_string())
    );
    answer
        .fields
        .is("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")?;
    Ok((client, backend))
}

/// A 101 that the gateway must not believe: 502, no tunnel.
fn not_believed(
    name: &str,
    section: &'static str,
    why: &'static str,
    request: &'static str,
    answer: &'static str,
) -> Row {
    row(name, section, why, move |lane| {
        let mut client = lane.client_sends(request)?;
        let mut backend = lane.backend()?;
        backend.request_head()?;
        backend.send(answer)?;
        client.answer("GET")?.status(502)?;
        client.try_send("tunnel?");
        let (seen, _) = backend.rest()?;
        ensure!(
            !seen.ends_with(b"tunnel?"),
            "the backend gets {}",
            seen.escape_ascii()
        );
        Ok(())
    })
}

#[test]
fn tunnels() {
    run(
        "tunnels",
        vec![
            row(
                "WebSocket",
                S,
                "after 101 octets pass both ways as they are",
                |lane| {
                    let (mut client, mut backend) = tunnel(lane)?;
                    client.send(b"\x81\x85\x00\x00\x00\x00hello")?;
                    backend.expect(b"\x81\x85\x00\x00\x00\x00hello")?;
                    backend.send(b"\x81\x05hello\x00\r\n\r\n")?;
                    client.expect(b"\x81\x05hello\x00\r\n\r\n")?;
                    client.send("GET / HTTP/1.1\r\n\r\n")?;
                    backend.expect("GET / HTTP/1.1\r\n\r\n")
                },
            ),
            row(
                "a tunnel's client ends its direction",
                "semantics 5",
                "half-close passes; the other direction goes on",
                |lane| {
                    let (mut client, mut backend) = tunnel(lane)?;
                    client.send("last words")?;
                    client.half_close();
                    backend.expect("last words")?;
                    backend.expect_end()?;
                    backend.send("answer to them")?;
                    drop(backend);
                    client.expect("answer to them")?;
                    client.expect_end()
                },
            )
            .own(),
            row(
                "a tunnel's backend ends its direction",
                "semantics 5",
                "half-close passes; the other direction goes on",
                |lane| {
                    let (mut client, mut backend) = tunnel(lane)?;
                    backend.send("last words")?;
                    backend.half_close();
                    client.expect("last words")?;
                    client.expect_end()?;
                    client.send("answer to them")?;
                    drop(client);
                    backend.expect("answer to them")?;
                    backend.expect_end()
                },
            )
            .own(),
            row(
                "a tunnel's backend closes",
                S,
                "the client sees the end",
                |lane| {
                    let (mut client, mut backend) = tunnel(lane)?;
                    backend.send("bye")?;
                    drop(backend);
                    client.expect("bye")?;
                    client.expect_gone()
                },
            ),
            row(
                "a tunnel's client resets",
                S,
                "the backend sees it",
                |lane| {
                    let (client, mut backend) = tunnel(lane)?;
                    client.reset()?;
                    backend.expect_gone()
                },
            ),
            row(
                "a tunnel's backend resets",
                S,
                "the client sees it",
                |lane| {
                    let (mut client, backend) = tunnel(lane)?;
                    backend.reset()?;
                    client.expect_gone()
                },
            ),
            row("much through a tunnel", S, "nothing is lost", |lane| {
                let (mut client, mut backend) = tunnel(lane)?;
                let data: Vec<u8> = (0..1_000_000u32).map(|at| (at % 251) as u8).collect();
                let up = client.send_aside(data.clone())?;
                let down = backend.send_aside(data.clone())?;
                backend.expect(&data)?;
                client.expect(&data)?;
                up.join().unwrap();
                down.join().unwrap();
                Ok(())
            }),
            row(
                "octets right behind the 101",
                S,
                "they belong to the tunnel",
                |lane| {
                    let mut client = lane.client_sends(ASK)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(format!("{YES}\u{1}hello"))?;
                    client.answer_head("GET")?.status(101)?;
                    client.expect("\u{1}hello")
                },
            ),
            row(
                "octets right behind the request",
                S,
                "they wait for the 101 and belong to the tunnel",
                |lane| {
                    let mut client = lane.client_sends(format!("{ASK}\u{1}early"))?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.send(YES)?;
                    client.answer_head("GET")?.status(101)?;
                    backend.expect("\u{1}early")
                },
            ),
            row(
                "octets right behind the request, and a refusal",
                "RFC 9110 7.8",
                "they are no tunnel; as a request they are refused",
                |lane| {
                    let mut client = lane.client_sends(format!("{ASK}\u{1}early\r\n\r\n"))?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    backend.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
                    client.answer("GET")?.status(200)?.body.is("ok")?;
                    is_refused(&mut client, &[400])?;
                    lane.nothing_reached_over(Some(backend))
                },
            )
            .own(),
            row(
                "a request right behind an upgrade that is refused",
                "RFC 9110 7.8",
                "it is a request like any other",
                |lane| {
                    let mut client = lane
                        .client_sends(format!("{ASK}GET /next HTTP/1.1\r\nHost: test\r\n\r\n"))?;
                    let mut backend = lane.backend()?;
                    backend.request_head()?;
                    ensure!(
                        backend.so_far()?.is_empty(),
                        "nothing more may reach the backend before its answer"
                    );
                    backend.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")?;
                    client.answer("GET")?.status(403)?.body.is("no")?;
                    let mut backend = lane.next_wire(backend)?;
                    ensure!(backend.request()?.target == "/next");
                    backend.send(OK)?;
                    client.answer("GET")?.status(200)?.body.is("ok")
                },
            ),
            row(
                "another protocol",
                "RFC 9110 7.8",
                "upgrades are not for WebSocket only",
                |lane| {
                    let mut client = lane.client_sends("GET / HTTP/1.1\r\nHost: test\r\nUpgrade: foo/2\r\nConnection: upgrade\r\n\r\n")?;
                    let mut backend = lane.backend()?;
                    let request = backend.request()?;
                    request.fields.is("upgrade", "foo/2")?;
                    backend.send(
                        "HTTP/1.1 101 S\r\nUpgrade: foo/2\r\nConnection: upgrade\r\n\r\nfoo",
                    )?;
                    client
                        .answer_head("GET")?
                        .status(101)?
                        .fields
                        .is("upgrade", "foo/2")?;
                    client.expect("foo")?;
                    client.send("bar")?;
                    backend.expect("bar")
                },
            ),
            row(
                "the backend chooses one of two protocols",
                "RFC 9110 7.8",
                "any that was asked for",
                |lane| {
                    let mut client = lane.client_sends("GET / HTTP/1.1\r\nHost: test\r\nUpgrade: foo/2, WebSocket\r\nConnection: upgrade\r\n\r\n")?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(
                        "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nfoo",
                    )?;
                    client.answer_head("GET")?.status(101)?;
                    client.expect("foo")
                },
            ),
            row(
                "Connection: keep-alive, Upgrade",
                S,
                "one option of several",
                |lane| {
                    let mut client = lane.client_sends(
                        ASK.replace("Connection: Upgrade", "Connection: keep-alive, upgrade"),
                    )?;
                    let mut backend = lane.backend()?;
                    ensure!(backend.request()?.fields.members("upgrade") == ["websocket"]);
                    backend.send(YES)?;
                    client.answer_head("GET")?.status(101).map(|_| ())
                },
            ),
            row(
                "100 before 101",
                "RFC 9110 7.8, 15.2",
                "an interim answer is not the final one",
                |lane| {
                    let mut client = lane.client_sends(ASK)?;
                    let mut backend = lane.backend()?;
                    backend.request()?;
                    backend.send(format!("HTTP/1.1 103 E\r\n\r\n{YES}hello"))?;
                    let mut answer = client.answer_head("GET")?;
                    if answer.status == 103 {
                        answer = client.answer_head("GET")?;
                    }
                    answer.status(101)?;
                    client.expect("hello")
                },
            )
            .own(),
        ],
    );
}

#[test]
fn refusals() {
    const GET: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    run(
        "upgrades that do not happen",
        vec![
            row("the backend answers 200", "RFC 9110 7.8", "a server may ignore Upgrade; the connection lives on as HTTP", |lane| {
                let (mut client, backend, _) = lane.exchange(ASK, OK.as_bytes())?;
                client.answer("GET")?.status(200)?.body.is("ok")?;
                lane.lives(&mut client, backend).map(|_| ())
            }),
            row("the backend answers 403", S, "an ordinary answer", |lane| {
                let (mut client, backend, _) = lane.exchange(ASK, b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n")?;
                client.answer("GET")?.status(403)?.body.is("no")?;
                lane.lives(&mut client, backend).map(|_| ())
            }),
            row("the backend answers 426", "RFC 9110 15.5.22", "an ordinary answer", |lane| {
                let (mut client, backend, _) = lane.exchange(ASK, b"HTTP/1.1 426 U\r\nUpgrade: foo\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno")?;
                client.answer("GET")?.status(426)?.body.is("no")?;
                lane.lives(&mut client, backend).map(|_| ())
            }),
            not_believed("101 that nobody asked for", "RFC 9110 7.8, 15.2.2", "a server must not switch to what was not asked for", GET, YES),
            not_believed("101 for an Upgrade that Connection does not name", "RFC 9110 7.8", "such an Upgrade asks for nothing", "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\n\r\n", YES).own(),
            not_believed("101 for Connection: Upgrade alone", "RFC 9110 7.8", "nothing was asked for", "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n\r\n", YES),
            not_believed("101 to HTTP/1.0", "RFC 9110 7.8, 15.2", "Upgrade in HTTP/1.0 is ignored, and 1xx is not for it", "GET / HTTP/1.0\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", YES).own(),
            not_believed("101 with another protocol", "RFC 9110 7.8", "a server must not switch to what was not asked for", ASK, "HTTP/1.1 101 S\r\nUpgrade: foo/1\r\nConnection: Upgrade\r\n\r\n"),
            not_believed("101 without Upgrade", "RFC 9110 7.8, 15.2.2", "101 must name the protocol", ASK, "HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n"),
            not_believed("101 to h2c", "RFC 9113 3.1", "h2c is never passed on", "GET / HTTP/1.1\r\nHost: test\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", "HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n").own(),
            passed_once("Upgrade from HTTP/1.0 is not passed on", "RFC 9110 7.8", "a server must ignore Upgrade in HTTP/1.0", "GET / HTTP/1.0\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", |request| request.fields.lack(&["upgrade"])).own(),
            row("an upgrade with a doubtful body", "RFC 9112 6.3", "the rules of framing hold for upgrades too", |lane| {
                let mut client = lane.client_sends("GET /chat HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")?;
                lane.client_hears_first(&mut client)?;
                is_refused(&mut client, &[400, 501])?;
                lane.nothing_reached()
            }),
        ],
    );
}
